"""A refusal in the protocol's form: which HTTP status, which JSON-RPC body.

Called by the responder with any error of the house. The form depends on the error, on
what was asked, and on the revision; the tables stand here and nowhere else. Knows no
policy: what an agent may be told was decided by who raised the error.
"""

from typing import NamedTuple, cast

from openmcp.errors import (
    BodyTooLarge,
    Denied,
    ExpectationRefused,
    Form,
    HeadersTooLarge,
    HostRefused,
    InvalidParams,
    MethodNotAllowed,
    NotAcceptable,
    OpenMCPError,
    OriginRefused,
    RequestTimeout,
    Unauthenticated,
    UnknownMethod,
    UnknownPath,
    UnknownSession,
    UnsupportedMedia,
    UnsupportedVersion,
)
from openmcp.mcp import message as messages
from openmcp.mcp import methods
from openmcp.mcp.message import JsonObject, Kind, Message
from openmcp.mcp.methods import SubjectKind
from openmcp.mcp.revisions import Revision

DECISION_META = "openmcp.dev/decision"
"""Where a refused tool call says which decision refused it."""

REVIEW_META = "openmcp.dev/review"
"""Where a tool call that waits for humans says which review it waits for."""

RETRY_AFTER_S = 1

_BASE_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))

# Raised while the HTTP request is judged, before its message is. Here the status stands
# whatever the message is: it says nothing of what was asked, and 401 is how a client
# learns that its token has ended.
_OF_THE_HTTP_REQUEST = (
    BodyTooLarge,
    ExpectationRefused,
    HeadersTooLarge,
    HostRefused,
    MethodNotAllowed,
    NotAcceptable,
    OriginRefused,
    RequestTimeout,
    Unauthenticated,
    UnknownPath,
    UnknownSession,
    UnsupportedMedia,
    UnsupportedVersion,
)


PEEK_BYTES = 16 << 10
"""Longest body that is read only to refuse it: who is refused may be anybody."""


class Refusal(NamedTuple):
    """An HTTP answer that says no."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    """Empty where nothing may be said (202)."""

    message: Message | None
    """What the body says; `None` if it is empty."""


def refusal(
    error: OpenMCPError,
    message: Message | None,
    revision: Revision,
    *,
    exchange_id: str,
    decision_id: str = "",
) -> Refusal:
    """Return the HTTP answer; `message` = what was asked, `None` if that is not known (GET, DELETE, not readable)."""
    status = _status(error, message, revision)
    if status == 202:
        return Refusal(202, (), b"", None)
    reply = _reply(error, message, revision, _data(error, exchange_id, decision_id))
    headers = (*_BASE_HEADERS, *error.headers)
    if status == 503 and not any(name.lower() == "retry-after" for name, _ in headers):
        headers = (*headers, ("Retry-After", str(RETRY_AFTER_S)))
    return Refusal(status, headers, messages.encode(reply), reply)


def peek(error: OpenMCPError, raw: bytes) -> Message | None:
    """Return what was asked, where nobody has read it and the form of the refusal depends on it.

    A message that is not well-formed has no say in that, and a long one is not worth the
    time: the answer then has the error's own status, and the id null.
    """
    if isinstance(error, _OF_THE_HTTP_REQUEST) or len(raw) > PEEK_BYTES:
        return None
    try:
        return messages.parse(raw)
    except OpenMCPError:
        return None


def in_stream(
    error: OpenMCPError,
    message: Message,
    revision: Revision,
    *,
    exchange_id: str,
    decision_id: str = "",
) -> bytes:
    """Return the same as the data of an event: the answer to the request `message` on a stream already begun."""
    return messages.encode(_reply(error, message, revision, _data(error, exchange_id, decision_id)))


def _status(error: OpenMCPError, message: Message | None, revision: Revision) -> int:
    if message is None or isinstance(error, _OF_THE_HTTP_REQUEST):
        return error.status
    if message.kind is not Kind.REQUEST:
        return _status_without_id(error, message)
    if isinstance(error, UnknownMethod) or _is_unknown_method(error, message):
        return revision.unknown_method_status
    is_status = error.form is Form.HTTP or (error.form is Form.CONNECT and message.method in methods.CONNECTING)
    return error.status if is_status else 200


def _status_without_id(error: OpenMCPError, message: Message) -> int:
    """202: common SDK clients lose their session over any other answer to a notification or a reply.

    `notifications/initialized` still connects: if it is lost, the session never works.
    """
    is_lost = error.form is Form.CONNECT and error.status >= 500
    return 503 if is_lost and message.method == methods.INITIALIZED else 202


def _reply(error: OpenMCPError, message: Message | None, revision: Revision, data: JsonObject) -> Message:
    if message is None or message.kind is not Kind.REQUEST or message.id is None:
        return messages.error(None, error.code, error.text, data=data)
    if error.form is Form.UNKNOWN:
        return _unknown(message, message.id, revision)
    if isinstance(error, UnknownMethod):
        return _unknown_method(message, message.id)
    is_outcome = error.form is Form.OUTCOME or (error.form is Form.CONNECT and message.method not in methods.CONNECTING)
    # A call that was to become a task is answered by a task or an error, never by a tool result.
    is_task = not revision.is_modern and "task" in message.params
    if is_outcome and message.method == methods.TOOLS_CALL and not is_task:
        return messages.result(message.id, _tool_result(error, revision, data))
    return messages.error(message.id, error.code, error.text, data=data)


def _data(error: OpenMCPError, exchange_id: str, decision_id: str) -> JsonObject:
    data: JsonObject = {"reason": error.kind, "exchangeId": exchange_id}
    if decision_id:
        data["decisionId"] = decision_id
    if error.status == 503:
        data["retryAfterMs"] = RETRY_AFTER_S * 1000
    return {**data, **cast("JsonObject", error.data)}


def _tool_result(error: OpenMCPError, revision: Revision, data: JsonObject) -> JsonObject:
    """Return a tool's result that tells the model what happened: it is the only form that models see."""
    value: JsonObject = {"content": [{"type": "text", "text": error.text}], "isError": True}
    if isinstance(error, Denied):
        value["_meta"] = {
            DECISION_META: {"id": data.get("decisionId", ""), "effect": "deny", "reason": error.text},
        }
    if "review" in data:
        value["_meta"] = {REVIEW_META: data["review"]}
    if revision.is_modern:
        value["resultType"] = "complete"
    return value


def _unknown(message: Message, id: messages.Id, revision: Revision) -> Message:
    """Return what a name that does not exist gets: nothing in it tells that there is more to know."""
    if _names_task(message):
        return messages.error(id, _INVALID_PARAMS, "Task not found")
    try:
        named = methods.subjects(message)
    except InvalidParams as fault:
        return messages.error(id, fault.code, fault.text)
    if not named:
        return _unknown_method(message, id)
    kind, name = named[0].kind, named[0].name
    if kind is SubjectKind.RESOURCE:
        return messages.error(id, revision.resource_not_found_code, "Resource not found", data={"uri": name})
    return messages.error(id, _INVALID_PARAMS, f"Unknown {kind.value}: {name}")


def _is_unknown_method(error: OpenMCPError, message: Message) -> bool:
    """Whether a hidden access has no name to hide, so that its method itself does not exist."""
    if error.form is not Form.UNKNOWN or _names_task(message):
        return False
    try:
        return not methods.subjects(message)
    except InvalidParams:
        return False


def _unknown_method(message: Message, id: messages.Id) -> Message:
    # As the SDKs' servers answer; nothing of ours, so that nobody learns what a rule hides.
    return messages.error(id, UnknownMethod.code, UnknownMethod.sentence, data=message.method)


def _names_task(message: Message) -> bool:
    return "taskId" in message.params and message.method.startswith("tasks/")


_INVALID_PARAMS = -32602
