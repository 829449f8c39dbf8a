"""One JSON-RPC message: what it is, how it is read, made and written.

Agents' bodies come through `parse` (`mcp.reading`), upstream's through `read`. What was
read is what is decided on and what is sent, so that nobody behind the gateway sees
another message than policy saw. Knows no method names.
"""

from enum import Enum
from typing import Any, TypeAlias

import msgspec

from openmcp.errors import UpstreamBroken
from openmcp.mcp import strict
from openmcp.mcp.strict import Json, JsonObject, ParseLimits

__all__ = [
    "Id",
    "Json",
    "JsonObject",
    "Kind",
    "Message",
    "ParseLimits",
    "canonical",
    "encode",
    "error",
    "notification",
    "parse",
    "read",
    "request",
    "result",
]

Id: TypeAlias = str | int
"""The id of a request, chosen by its sender."""


class Kind(Enum):
    """What a message is, in the words of JSON-RPC 2.0."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESULT = "result"
    ERROR = "error"

    def __init__(self, word: str) -> None:
        # Plain attributes: asked many times per exchange, and looking a member up in its class costs far more.
        self.is_request = word == "request"
        self.is_notification = word == "notification"
        self.is_result = word == "result"
        self.is_reply = word in ("result", "error")
        """Whether it answers a request."""


class Message(msgspec.Struct, frozen=True):
    """One JSON-RPC message. The body is shared between copies: never change it in place."""

    kind: Kind
    method: str
    """`""` for replies."""

    id: Id | None
    """`None` for notifications, and for an error whose request could not be read."""

    body: JsonObject
    """The whole message, `jsonrpc` included."""

    @property
    def params(self) -> JsonObject:
        """The parameters; empty where there are none."""
        params = self.body.get("params")
        return params if isinstance(params, dict) else {}

    @property
    def result(self) -> JsonObject | None:
        """The result; `None` for anything but a result."""
        result = self.body.get("result")
        return result if isinstance(result, dict) else None

    @property
    def error(self) -> JsonObject | None:
        """The error; `None` for anything but an error."""
        error = self.body.get("error")
        return error if isinstance(error, dict) else None

    @property
    def meta(self) -> JsonObject:
        """`_meta` of the parameters or of the result; empty where there is none."""
        holder = self.result if self.kind.is_reply else self.params
        meta = holder.get("_meta") if holder is not None else None
        return meta if isinstance(meta, dict) else {}

    @property
    def progress_token(self) -> Id | None:
        """The token under which the sender of this request wants progress."""
        token = self.meta.get("progressToken")
        return token if isinstance(token, str | int) and not isinstance(token, bool) else None

    def with_params(self, params: JsonObject) -> "Message":
        """Return the same message with other parameters."""
        return self._with({**self.body, "params": params})

    def with_id(self, id: Id) -> "Message":
        """Return the same request or reply under another id."""
        return Message(self.kind, self.method, id, {**self.body, "id": id})

    def with_result(self, value: JsonObject) -> "Message":
        """Return a reply to the same request that is this result, whatever it was before."""
        body = {key: item for key, item in self.body.items() if key != "error"}
        return Message(_RESULT, "", self.id, {**body, "result": value})

    def with_error(self, value: JsonObject) -> "Message":
        """Return a reply to the same request that is this error, whatever it was before."""
        body = {key: item for key, item in self.body.items() if key != "result"}
        return Message(_ERROR, "", self.id, {**body, "error": value})

    def _with(self, body: JsonObject) -> "Message":
        return Message(self.kind, self.method, self.id, body)


def parse(raw: bytes, limits: ParseLimits = strict.DEFAULT_LIMITS) -> Message:
    """Return the one message that an agent's body can mean.

    Raises: NotJson, BatchRefused, Malformed, BodyTooLarge (more nodes or keys than allowed).
    """
    body = strict.envelope(strict.value(raw, limits))
    # The envelope was checked, so the types hold.
    method: Any = body.get("method")
    id: Any = body.get("id")
    if method is not None:
        return Message(_REQUEST if "id" in body else _NOTIFICATION, method, id, body)
    return Message(_RESULT if "result" in body else _ERROR, "", id, body)


def read(raw: bytes) -> Message:
    """Return the message that a server sent.

    Duplicate keys collapse to the one that is inspected and sent on; members that
    JSON-RPC does not have at the top level are dropped, and so are names below that a
    lenient agent would take for those that are decided on. Raises: UpstreamBroken.
    """
    decoded = strict.upstream_value(raw)
    if not isinstance(decoded, dict):
        raise UpstreamBroken(detail="the message is not a JSON object")
    if decoded.get("jsonrpc") != "2.0":
        raise UpstreamBroken(detail="the message has no jsonrpc 2.0")
    if not strict.TOP_LEVEL.issuperset(decoded):
        decoded = {key: item for key, item in decoded.items() if key in strict.TOP_LEVEL}
    return _reply_from_upstream(decoded) if "method" not in decoded else _call_from_upstream(decoded)


def encode(message: Message) -> bytes:
    """Return the message as compact UTF-8 JSON, keys in the order they were read."""
    return _encode(message.body)


def canonical(value: Json) -> bytes:
    """Return compact UTF-8 JSON with sorted keys, for digests."""
    return _encode_sorted(value)


def request(id: Id, method: str, params: JsonObject | None = None) -> Message:
    """Return a request of our own."""
    body: JsonObject = {"jsonrpc": "2.0", "id": id, "method": method}
    if params is not None:
        body["params"] = params
    return Message(_REQUEST, method, id, body)


def notification(method: str, params: JsonObject | None = None) -> Message:
    """Return a notification of our own."""
    body: JsonObject = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        body["params"] = params
    return Message(_NOTIFICATION, method, None, body)


def result(id: Id, value: JsonObject) -> Message:
    """Return the result of the request `id`."""
    return Message(_RESULT, "", id, {"jsonrpc": "2.0", "id": id, "result": value})


def error(id: Id | None, code: int, text: str, *, data: Json = None) -> Message:
    """Return the error that answers the request `id`; `None` where the request could not be read."""
    value: JsonObject = {"code": code, "message": text}
    if data is not None:
        value["data"] = data
    return Message(_ERROR, "", id, {"jsonrpc": "2.0", "id": id, "error": value})


_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode

# Looking a member up in its class costs more than the rest of making a message.
_REQUEST, _NOTIFICATION, _RESULT, _ERROR = Kind


def _call_from_upstream(body: JsonObject) -> Message:
    method, params = body["method"], body.get("params")
    if not isinstance(method, str) or not method or "result" in body or "error" in body:
        raise UpstreamBroken(detail="the message is neither a request nor a reply")
    if params is None and "params" in body:
        # Some servers write the absence out; agents' SDKs refuse the null.
        body = {key: item for key, item in body.items() if key != "params"}
    elif params is not None and not isinstance(params, dict):
        raise UpstreamBroken(detail="params is not an object")
    elif params is not None:
        body = _plain(body, "params", params, names=strict.PARAMS)
    if "id" not in body:
        return Message(_NOTIFICATION, method, None, body)
    id = body["id"]
    if not strict.is_id(id):
        raise UpstreamBroken(detail="the id of a request is neither a short string nor an integer of 64 bits")
    return Message(_REQUEST, method, id, body)


def _plain(body: JsonObject, member: str, held: JsonObject, *, names: frozenset[str]) -> JsonObject:
    plain = strict.without_lookalikes(held, names)
    return body if plain is held else {**body, member: plain}


def _reply_from_upstream(body: JsonObject) -> Message:
    is_result = "result" in body
    if is_result == ("error" in body):
        raise UpstreamBroken(detail="the message is neither a request nor one reply")
    member = "result" if is_result else "error"
    held = body[member]
    if not isinstance(held, dict):
        raise UpstreamBroken(detail="what a reply holds is not an object")
    body = _plain(body, member, held, names=strict.RESULT if is_result else strict.ERROR)
    id = body.get("id")
    if strict.is_id(id) or (id is None and not is_result):
        return Message(_RESULT if is_result else _ERROR, "", id, body)
    raise UpstreamBroken(detail="the id of a reply is neither a short string nor an integer of 64 bits")
