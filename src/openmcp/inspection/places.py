"""The places that a rule is about: JSONPaths below params, result or error, and all that is under them."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from openmcp.mcp.content import Path

Covers: TypeAlias = Callable[[Path], bool]
"""Whether a place, counted from params, result or error, belongs to a rule."""

_STEP: Final = re.compile(r"""\.([A-Za-z_][\w-]*)|(?:\.|\[)(\*)\]?|\[(\d{1,6})\]|\[(?:'([^']*)'|"([^"]*)")\]""")
_ALL: Final = object()


def compile_places(texts: Sequence[str]) -> Covers | None:
    """Return the test; `None` = everywhere. Raises: ValueError for what is no path."""
    wanted = tuple(tuple(_steps(text)) for text in texts)
    return (lambda path: any(_leads_to(way, path) for way in wanted)) if wanted else None


def _leads_to(way: Sequence[object], path: Path) -> bool:
    return len(path) >= len(way) and all(step is _ALL or step == taken for step, taken in zip(way, path, strict=False))


def _steps(text: str) -> Iterator[object]:
    at = 1
    while text.startswith("$") and at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            break
        name, every, index, single, double = step.groups()
        quoted = single if single is not None else double
        yield _ALL if every else int(index) if index is not None else name if name is not None else quoted
        at = step.end()
    if at != len(text):
        raise ValueError(f"`{text[:80]}` is not a path: write $.name, ['name'], [0] or [*]")
