"""Message bodies for the log: how much of one is kept, and without what.

Encoding a body is work for the writer's thread, so the recorder queues a `BodyLine` and
the rest happens there. Knows what must never be written: `requestState` is replaced by
its keyed digest wherever it stands.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec

from openmcp.audit.record import BODY_BYTES, DIR_HEADS, Direction, Line, encode
from openmcp.mcp.message import Json, Message
from openmcp.mcp.message import encode as encode_message
from openmcp.telemetry.harmless import json_line

_SECRET_KEYS: Final = frozenset({"requestState"})


class BodyLine:
    """A line that waits for its body."""

    __slots__ = ("_direction", "_hashing", "_line", "_message", "_size")

    def __init__(
        self, line: Line, direction: Direction, *, message: Message, size: int, hashing: Callable[[str, bytes], bytes]
    ) -> None:
        self._line = line
        self._direction = direction
        self._message = message
        self._size = size
        self._hashing = hashing

    def __len__(self) -> int:
        return self._size + 512

    def encoded(self) -> bytes:
        """Return the whole line."""
        return DIR_HEADS[self._direction] + json_line(encode(self._filled()))[1:]

    def _filled(self) -> Line:
        line = self._line
        try:
            raw = encode_message(self._message)
            kept, is_changed = _without_secrets(self._message.body, self._hashing)
            body = encode(kept) if is_changed else raw
        except (RecursionError, UnicodeError, ValueError, TypeError, OverflowError):
            # What cannot be written again was not sent on either; the line still says that it came.
            return msgspec.structs.replace(line, flags=(*line.flags, "unencodable"))
        digest = {"body_hmac": self._hmac(raw)} if is_changed else {"body_sha256": sha256(raw).hexdigest()}
        if len(body) > BODY_BYTES:
            return msgspec.structs.replace(line, flags=(*line.flags, "truncated"), **digest)
        return msgspec.structs.replace(line, body=msgspec.Raw(body), **digest)

    def _hmac(self, raw: bytes) -> str:
        return urlsafe_b64encode(self._hashing("audit-body", raw)).rstrip(b"=").decode()


def _without_secrets(value: Json, hashing: Callable[[str, bytes], bytes]) -> tuple[Json, bool]:
    """Return the value with secrets replaced, and whether there were any; nothing is changed in place."""
    match value:
        case dict():
            copy: dict[str, Json] = {}
            is_changed = False
            for key, item in value.items():
                if key in _SECRET_KEYS:
                    digest = urlsafe_b64encode(hashing("audit-secret", encode(item))).rstrip(b"=").decode()
                    copy[key], is_item_changed = f"hmac:{digest}", True
                else:
                    copy[key], is_item_changed = _without_secrets(item, hashing)
                is_changed = is_changed or is_item_changed
            return (copy, True) if is_changed else (value, False)
        case list():
            pairs = [_without_secrets(item, hashing) for item in value]
            return ([item for item, _ in pairs], True) if any(changed for _, changed in pairs) else (value, False)
        case _:
            return value, False
