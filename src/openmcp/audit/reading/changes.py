"""The message that went out, out of the one that came in and what was changed in it.

Paths count in the message before all changes, but of what was added: there it counts
where the entry stands now.
"""

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from openmcp.audit.record import ChangePart
from openmcp.mcp.message import Json

_STEP: Final = re.compile(r"""\.([^.\[\]'"]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)

Path: TypeAlias = tuple[str | int, ...]


def parse_path(path: str) -> Path:
    """Return the members and places that a JSONPath names. Raises: ValueError for anything but a plain path."""
    if not path.startswith("$"):
        raise ValueError(f"`{path}` does not begin at the message")
    steps: list[str | int] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise ValueError(f"`{path}` is no plain path")
        name, index, single, double = match.groups()
        quoted = single if single is not None else double
        steps.append(int(index) if index is not None else name if name is not None else _ESCAPE.sub(r"\1", quoted))
        at = match.end()
    return tuple(steps)


def changed(body: Json, changes: Iterable[ChangePart]) -> Json:
    """Return a copy of the message with the changes. A change that fits nowhere is left out."""
    copy: Json = msgspec.json.decode(msgspec.json.encode(body))
    holder: dict[str, Json] = {"$": copy}
    told = [(change, ("$", *parse_path(change.path))) for change in changes]
    for change, path in told:
        if change.op == "replaced":
            _put(holder, path, _value(change))
    # From the end, so that what is removed does not move what is removed next.
    for _, path in sorted(
        ((c, p) for c, p in told if c.op == "removed"), key=lambda item: _rank(item[1]), reverse=True
    ):
        _remove(holder, path)
    for change, path in told:
        if change.op == "added":
            _add(holder, path, _value(change))
    return holder["$"]


def _value(change: ChangePart) -> Json:
    value: Json = msgspec.json.decode(change.value) if change.value else None
    return value


def _rank(path: Path) -> list[tuple[int, int, str]]:
    return [(1, step, "") if isinstance(step, int) else (0, 0, step) for step in path]


def _parent(holder: Json, path: Path) -> Json:
    for step in path[:-1]:
        match holder, step:
            case dict(), str() if step in holder:
                holder = holder[step]
            case list(), int() if step < len(holder):
                holder = holder[step]
            case _:
                return None
    return holder


def _put(holder: Json, path: Path, value: Json) -> None:
    match _parent(holder, path), path[-1]:
        case dict() as members, str(name):
            members[name] = value
        case list() as items, int(place) if place < len(items):
            items[place] = value
        case _:
            pass


def _remove(holder: Json, path: Path) -> None:
    match _parent(holder, path), path[-1]:
        case dict() as members, str(name):
            members.pop(name, None)
        case list() as items, int(place) if place < len(items):
            del items[place]
        case _:
            pass


def _add(holder: Json, path: Path, value: Json) -> None:
    match _parent(holder, path), path[-1]:
        case dict() as members, str(name):
            members[name] = value
        case list() as items, int(place):
            items.insert(place, value)
        case _:
            pass
