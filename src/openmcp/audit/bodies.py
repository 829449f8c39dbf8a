"""Message bodies for the log: how much of one is kept, and without what.

Runs on the writer's thread, on what the exchange has let go: secrets are out already.
`requestState` is replaced by its keyed digest here, wherever it stands, because that takes
a look at the bytes only.
"""

from base64 import urlsafe_b64encode
from binascii import hexlify
from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec

from openmcp.audit.desk import Desk
from openmcp.audit.parts import encoded
from openmcp.audit.record import BODY_BYTES, BodyRef, ChangePart, encode
from openmcp.mcp.message import Json, JsonObject
from openmcp.telemetry.harmless import json_line

_STATE: Final = "requestState"
_STATE_MARK: Final = b'"requestState"'
"""How the key stands in what `encode` wrote, which escapes no letter: without it there is nothing to look for."""

_FAULTS: Final = (RecursionError, UnicodeError, ValueError, TypeError, OverflowError)


def body_members(desk: Desk, raw: JsonObject, kept: JsonObject) -> bytes:
    """Return what a line says of a body, with a comma in front: digest, and the body or where it is.

    `raw`: as it was seen; `kept`: what may be written of it, the same object if that is all.
    """
    try:
        whole = encode(raw)
        body, is_changed = (whole, False) if kept is raw else (encode(kept), True)
        if _STATE_MARK in body:
            stateless, has_state = _without_states(kept, desk.hashing)
            body, is_changed = encode(stateless), is_changed or has_state
    except _FAULTS:
        # What cannot be written again was not sent on either; the line still says that it came.
        return b',"bodyState":"unencodable"'
    digest = digest_member(desk.hashing, whole, is_changed=is_changed)
    line = json_line(body)
    if len(line) <= BODY_BYTES:
        return b'%b,"body":%b' % (digest, line)
    if desk.spool is None:
        return b'%b,"bodyState":"too-long"' % digest
    ref = BodyRef(sha256=desk.spool.put(line), bytes=len(line))
    return b'%b,"bodyRef":%b' % (digest, encode(ref))


def digest_member(hashing: Callable[[str, bytes], bytes], whole: bytes, *, is_changed: bool) -> bytes:
    """Return the digest of a body, with a comma in front."""
    if is_changed:
        # A plain digest would let a reader try values for what was taken out.
        return b',"bodyHmac":"%b"' % _keyed(hashing, "audit-body", whole)
    return b',"bodySha256":"%b"' % hexlify(sha256(whole).digest())


def digest_of(desk: Desk, body: JsonObject) -> bytes:
    """Return the keyed digest of a body that is not kept, with a comma in front; empty for what cannot be encoded."""
    try:
        return digest_member(desk.hashing, encode(body), is_changed=True)
    except _FAULTS:
        return b""


def changes_member(desk: Desk, changes: tuple[ChangePart, ...]) -> bytes:
    """Return how a message differs from its base, with a comma in front."""
    return b',"changes":%b' % encoded(tuple(_without_state(desk, change) for change in changes)) if changes else b""


def links(hashing: Callable[[str, bytes], bytes], body: JsonObject) -> tuple[str, ...]:
    """Return the keyed digests of what ties a message to others: a state that it gives or presents, a task."""
    held = body.get("params") or body.get("result")
    if not isinstance(held, dict):
        return ()
    task = held.get("task")
    named = (held.get(_STATE), held.get("taskId"), task.get("taskId") if isinstance(task, dict) else None)
    return tuple(_keyed(hashing, "audit-secret", encode(value)).decode() for value in named if isinstance(value, str))


def _without_state(desk: Desk, change: ChangePart) -> ChangePart:
    raw = bytes(change.value)
    if change.path.endswith(f".{_STATE}") and raw:
        return msgspec.structs.replace(change, value=msgspec.Raw(encode(_digest(desk.hashing, raw))))
    if _STATE_MARK in raw:
        kept, _ = _without_states(msgspec.json.decode(raw), desk.hashing)
        return msgspec.structs.replace(change, value=msgspec.Raw(encode(kept)))
    return change


def _without_states(value: Json, hashing: Callable[[str, bytes], bytes]) -> tuple[Json, bool]:
    """Return the value with states replaced, and whether there were any; nothing is changed in place."""
    match value:
        case dict():
            copy: dict[str, Json] = {}
            is_changed = False
            for key, item in value.items():
                if key == _STATE:
                    copy[key], is_item_changed = _digest(hashing, encode(item)), True
                else:
                    copy[key], is_item_changed = _without_states(item, hashing)
                is_changed = is_changed or is_item_changed
            return (copy, True) if is_changed else (value, False)
        case list():
            pairs = [_without_states(item, hashing) for item in value]
            return ([item for item, _ in pairs], True) if any(changed for _, changed in pairs) else (value, False)
        case _:
            return value, False


def _digest(hashing: Callable[[str, bytes], bytes], data: bytes) -> str:
    return f"hmac:{_keyed(hashing, 'audit-secret', data).decode()}"


def _keyed(hashing: Callable[[str, bytes], bytes], purpose: str, data: bytes) -> bytes:
    return urlsafe_b64encode(hashing(purpose, data)).rstrip(b"=")
