"""Every place of a message where text can hide, and how to change it.

Used by `inspection/` and by policy on content. Walks all that a message carries rather
than a list of known places: a place that a new revision, an extension or an attacker
adds is covered too. Knows nothing of what is looked for.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, cast

import msgspec

from openmcp.mcp.message import Json, JsonObject, Message

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the message down: `("result", "content", 0, "text")`."""

CARRIERS: Final = ("params", "result", "error")
"""Members of a message that carry content, `_meta` included."""


class Text(NamedTuple):
    """One string, key or number of a message."""

    path: Path
    """Where it stands; for a key, the place of its value."""

    value: str
    is_key: bool = False
    is_number: bool = False
    """Whether it is a number, here as it is written in JSON."""

    @property
    def key(self) -> str:
        """The nearest key above, which says what a value is; empty where there is none."""
        return next((step for step in reversed(self.path) if isinstance(step, str)), "")


def texts(message: Message) -> Iterator[Text]:
    """Return every string, key and number of params, result and error, in the order of the message."""
    found: list[Text] = []
    for carrier in CARRIERS:
        if carrier in message.body:
            _collect((carrier,), message.body[carrier], found)
    return iter(found)


def texts_of(value: Json) -> list[Text]:
    """Return every string, key and number of a value, in its order."""
    found: list[Text] = []
    _collect((), value, found)
    return found


def replace(message: Message, values: Mapping[Path, Json]) -> Message:
    """Return the message with other values at these places; what is not changed is shared.

    Raises: LookupError, if there is no such place.
    """
    if not values:
        return message
    body = cast("JsonObject", replaced(message.body, values))
    return Message(message.kind, message.method, message.id, body)


def replaced(value: Json, values: Mapping[Path, Json]) -> Json:
    """Return the value with others at these places; what is not changed is shared.

    Raises: LookupError, if there is no such place.
    """
    if () in values:
        return values[()]
    copies: dict[Path, Json] = {(): _copy(value)}
    for path, item in values.items():
        _put(_own(path[:-1], copies), path[-1], item)
    return copies[()]


def json_path(path: Path) -> str:
    """Return the place as a JSONPath (RFC 9535): `$.params.arguments["due date"][0]`."""
    return "$" + "".join(map(_step, path))


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _collect(path: Path, value: Json, found: list[Text]) -> None:
    # Plain recursion: reading has bounded the depth, and this is the hottest loop of inspection.
    if isinstance(value, str):
        found.append(Text(path, value))
    elif isinstance(value, dict):
        for key, item in value.items():
            place = (*path, key)
            found.append(Text(place, key, True))
            _collect(place, item, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _collect((*path, index), item, found)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found.append(Text(path, msgspec.json.encode(value).decode(), is_number=True))


def _own(path: Path, copies: dict[Path, Json]) -> Json:
    """Return the container at `path`, copied once, together with all above it."""
    if path not in copies:
        parent = _own(path[:-1], copies)
        value = _at(parent, path[-1])
        copies[path] = _copy(value)
        _put(parent, path[-1], copies[path])
    return copies[path]


def _copy(value: Json) -> Json:
    return dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else value


def _at(container: Json, step: str | int) -> Json:
    match container, step:
        case dict(), str():
            return container[step]
        case list(), int():
            return container[step]
        case _:
            raise LookupError("no such place in the message")


def _put(container: Json, step: str | int, value: Json) -> None:
    _at(container, step)
    cast("Any", container)[step] = value


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _NAME.fullmatch(step) else f"[{msgspec.json.encode(step).decode()}]"
