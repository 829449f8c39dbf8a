"""How a message that goes out differs from the one that came in.

Every stage changes a message by copying what it changes and sharing the rest, so that
whatever is the same object is the same value: a difference costs as much as was changed.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from openmcp.audit.record import ChangePart, RedactionPart, encode
from openmcp.audit.redacting import Redactor, redact_value
from openmcp.mcp.message import Json, JsonObject

MOST: Final = 1_000
"""Differences told one by one; beyond it, the whole that holds them is told as replaced."""

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Difference(NamedTuple):
    """One place that is not as it was."""

    op: Literal["replaced", "removed", "added"]
    path: str
    """In the message before; of `added`, in the message after."""

    value: Json = None
    """What stands there now; `None` where it is gone."""

    name: str = ""
    """Of a list entry that is gone: its name or URI."""


def differences(before: JsonObject, after: JsonObject) -> tuple[Difference, ...]:
    """Return every difference; empty if both say the same."""
    found: list[Difference] = []
    for difference in _in_object(before, after, "$"):
        found.append(difference)
        if len(found) > MOST:
            return (Difference("replaced", "$", after),)
    return tuple(found)


def change_parts(
    before: JsonObject, after: JsonObject, redactor: Redactor | None, *, has_values: bool
) -> tuple[tuple[ChangePart, ...], tuple[RedactionPart, ...]]:
    """Return the differences as lines have them, and what was taken out of their values.

    Values are kept where there is a redactor, or with `has_values` as they are.
    """
    changes: list[ChangePart] = []
    redactions: list[RedactionPart] = []
    for op, path, given, name in differences(before, after):
        value = given
        if redactor is not None and op != "removed":
            value, taken = redact_value(path, given, redactor)
            redactions += taken
        changes.append(_part(op, path, value, name=name, has_value=has_values or redactor is not None))
    return tuple(changes), tuple(redactions)


def _part(op: str, path: str, value: Json, *, name: str, has_value: bool) -> ChangePart:
    part = ChangePart(op=op, path=path[:1024], name=name[:1024])
    if not has_value or op == "removed":
        return part
    try:
        return replace(part, value=msgspec.Raw(encode(value)))
    except (RecursionError, UnicodeError, ValueError, TypeError, OverflowError):
        return part


def _between(before: Json, after: Json, path: str) -> Iterator[Difference]:
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _in_object(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _in_list(before, after, path)
    elif before != after or type(before) is not type(after):
        yield Difference("replaced", path, after)


def _in_object(before: JsonObject, after: JsonObject, path: str) -> Iterator[Difference]:
    for key, value in before.items():
        if key in after:
            yield from _between(value, after[key], path + member(key))
        else:
            yield Difference("removed", path + member(key))
    for key, value in after.items():
        if key not in before:
            yield Difference("added", path + member(key), value)


def _in_list(before: Sequence[Json], after: Sequence[Json], path: str) -> Iterator[Difference]:
    if len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _between(old, new, f"{path}[{index}]")
        return
    # A list that lost entries keeps the others as the objects that they were, in their order.
    kept = 0
    for index, old in enumerate(before):
        if kept < len(after) and (after[kept] is old or (_name(old) and _name(old) == _name(after[kept]))):
            yield from _between(old, after[kept], f"{path}[{index}]")
            kept += 1
        else:
            yield Difference("removed", f"{path}[{index}]", name=_name(old))
    for index in range(kept, len(after)):
        yield Difference("added", f"{path}[{index}]", after[index])


def member(key: str) -> str:
    """Return how a JSONPath goes on to a member."""
    if _PLAIN.fullmatch(key):
        return f".{key}"
    quoted = key.replace('"', '\\"')
    return f'["{quoted}"]'


def _name(entry: Json) -> str:
    """Return what an entry of a list is called; empty for what has no name."""
    if isinstance(entry, str):
        return entry
    found = (entry.get("uri") or entry.get("uriTemplate") or entry.get("name")) if isinstance(entry, dict) else None
    return found if isinstance(found, str) else ""
