"""Message bodies for the log: how much of one is kept, and without what.

Encoding a body is work for the writer's thread, so a record queues a `BodyLine` and the
rest happens there. Knows what must never be written: `requestState` is replaced by its
keyed digest wherever it stands.
"""

from base64 import urlsafe_b64encode
from binascii import hexlify
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from openmcp.audit.record import BODY_BYTES, encode
from openmcp.mcp.message import Json, JsonObject
from openmcp.telemetry.harmless import json_line

_STATE: Final = "requestState"
_STATE_MARK: Final = b'"requestState"'
"""How the key stands in what `encode` wrote, which escapes no letter: without it there is nothing to look for."""


class BodyLine:
    """A line that waits for its body."""

    __slots__ = ("_body", "_hashing", "_size", "_start")

    def __init__(self, start: bytes, body: JsonObject, *, size: int, hashing: Callable[[str, bytes], bytes]) -> None:
        """`start` is the line without its closing brace; `body` is never changed by anybody."""
        self._start = start
        self._body = body
        self._size = size
        self._hashing = hashing

    def __len__(self) -> int:
        return self._size + len(self._start)

    def encoded(self) -> bytes:
        """Return the whole line."""
        try:
            raw = encode(self._body)
            body, is_changed = raw, False
            if _STATE_MARK in raw:
                kept, is_changed = _without_secrets(self._body, self._hashing)
                body = encode(kept)
        except (RecursionError, UnicodeError, ValueError, TypeError, OverflowError):
            # What cannot be written again was not sent on either; the line still says that it came.
            return self._start + b',"bodyState":"unencodable"}'
        if is_changed:
            # A plain digest would let a reader try values for what was taken out.
            digest = b'"bodyHmac":"%b"' % _keyed(self._hashing, "audit-body", raw)
        else:
            digest = b'"bodySha256":"%b"' % hexlify(sha256(raw).digest())
        if len(body) > BODY_BYTES:
            return b'%b,"bodyState":"too-long",%b}' % (self._start, digest)
        return b'%b,%b,"body":%b}' % (self._start, digest, json_line(body))


def _without_secrets(value: Json, hashing: Callable[[str, bytes], bytes]) -> tuple[Json, bool]:
    """Return the value with secrets replaced, and whether there were any; nothing is changed in place."""
    match value:
        case dict():
            copy: dict[str, Json] = {}
            is_changed = False
            for key, item in value.items():
                if key == _STATE:
                    copy[key], is_item_changed = f"hmac:{_keyed(hashing, 'audit-secret', encode(item)).decode()}", True
                else:
                    copy[key], is_item_changed = _without_secrets(item, hashing)
                is_changed = is_changed or is_item_changed
            return (copy, True) if is_changed else (value, False)
        case list():
            pairs = [_without_secrets(item, hashing) for item in value]
            return ([item for item, _ in pairs], True) if any(changed for _, changed in pairs) else (value, False)
        case _:
            return value, False


def _keyed(hashing: Callable[[str, bytes], bytes], purpose: str, data: bytes) -> bytes:
    return urlsafe_b64encode(hashing(purpose, data)).rstrip(b"=")
