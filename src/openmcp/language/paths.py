"""Places in JSON, as rules name them: `$.env`, `$.items[*].id`, `$['odd name'][0]`.

A small part of JSONPath (RFC 9535): members by name, elements by index, `*` for all. No
filters, no `..`: a path leads to a number of values that can be foreseen.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Select: TypeAlias = Callable[[Json], list[Json]]
"""The values at a place; none where nothing is there."""

MAX_CHARS: Final = 256
_STEP = re.compile(
    r"\.([A-Za-z_][\w-]*)|\.(\*)|\[(\d{1,6})\]|\[(\*)\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]"
)
_ALL: Final = object()


def compile_path(text: str) -> Select:
    """Return what finds the values. Raises: ValueError for what is not such a path."""
    steps = tuple(_steps(text))

    def select(value: Json) -> list[Json]:
        found = [value]
        for step in steps:
            found = [below for item in found for below in _below(item, step)]
        return found

    return select


def _steps(text: str) -> Iterator[object]:
    if not text.startswith("$") or len(text) > MAX_CHARS:
        raise ValueError(f"`{text[:80]}` is not a path: begin with `$`, such as $.env or $.items[*].id")
    at = 1
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise ValueError(
                f"`{text[:80]}` is not a path from character {at + 1} on: write .name, ['name'], [0] or [*]"
            )
        name, any_member, index, any_element, single, double = step.groups()
        quoted = single if single is not None else double
        if any_member or any_element:
            yield _ALL
        elif index is not None:
            yield int(index)
        else:
            yield name if name is not None else re.sub(r"\\(.)", r"\1", quoted)
        at = step.end()


def _below(value: Json, step: object) -> Iterable[Json]:
    if isinstance(value, dict):
        if step is _ALL:
            return value.values()
        return (value[step],) if isinstance(step, str) and step in value else ()
    if isinstance(value, list):
        if step is _ALL:
            return value
        return (value[step],) if isinstance(step, int) and step < len(value) else ()
    return ()
