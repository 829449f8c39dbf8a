"""Every way to say no.

Raised by all stages, turned into the protocol's form by `mcp.refusals`, counted by
`kind`. An error knows its HTTP status, its JSON-RPC code and a sentence for the
agent; the true reason (`detail`) is for the record only. Whose fault it was is the
class: `Refused` (we said no), `UpstreamFailed` (they failed), `Misconfigured` (the
operator's files). This module imports nothing of the house.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, TypeAlias

Data: TypeAlias = Mapping[str, object]
"""The `data` member of a JSON-RPC error: JSON values only, never a secret or a matched value."""


class Form(Enum):
    """How a refusal reaches the agent, where the protocol leaves a choice."""

    HTTP = "http"
    """Always with the HTTP status: the request itself was wrong, no session is lost by it."""

    CONNECT = "connect"
    """The HTTP status while connecting (`initialize`, `server/discover`), afterwards an outcome.

    A bare 4xx or 5xx makes common SDK clients lose their whole session.
    """

    OUTCOME = "outcome"
    """HTTP 200: a tool result with `isError` for `tools/call`, else a JSON-RPC error."""

    UNKNOWN = "unknown"
    """HTTP 200: the very answer that a name which does not exist gets."""


class OpenMCPError(Exception):
    """The root of the family; raise one of the subclasses."""

    kind: ClassVar[str] = "internal"
    """Stable label for metrics, records and docs."""

    status: ClassVar[int] = 500
    code: ClassVar[int] = -32603
    form: ClassVar[Form] = Form.HTTP
    sentence: ClassVar[str] = "The gateway failed to handle this request."

    def __init__(
        self,
        sentence: str | None = None,
        *,
        detail: str = "",
        data: Data | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Say no.

        `sentence` is shown to the agent (default: the class's), `detail` is recorded and
        never shown, `data` joins the JSON-RPC error's data, `headers` join the HTTP answer.
        """
        self.text = sentence or type(self).sentence
        self.detail = detail or self.text
        self.data: Data = data or {}
        self.headers = tuple(headers)
        super().__init__(self.detail)


class Refused(OpenMCPError):
    """The gateway said no."""

    kind = "refused"
    status = 400
    code = -32600


class Malformed(Refused):
    """The body is not one well-formed JSON-RPC message, or the HTTP request around it is wrong."""

    kind = "malformed"
    sentence = "The request is not a valid MCP message."


class NotJson(Malformed):
    """The bytes are not JSON as this gateway reads it (MCP base protocol; RFC 8259, RFC 7493)."""

    kind = "not-json"
    code = -32700
    sentence = "The body is not valid JSON."


class InvalidParams(Malformed):
    """The parameters lack what the method or the revision demands."""

    kind = "invalid-params"
    code = -32602
    sentence = "The parameters are not valid."


class HeaderMismatch(Malformed):
    """A mirrored header is missing or differs from the body (MCP 2026-07-28, Streamable HTTP)."""

    kind = "header-mismatch"
    code = -32020
    sentence = "A header does not agree with the body."


class UnsupportedVersion(Malformed):
    """The `MCP-Protocol-Version` names a revision that is not spoken here."""

    kind = "unsupported-version"
    code = -32022
    sentence = "Unsupported protocol version."


class BatchRefused(Malformed):
    """The body is an array. Only 2025-03-26 knew batches, and its SDK servers refuse them."""

    kind = "batch"
    sentence = "JSON-RPC batches are not supported; send one message per request."


class BodyTooLarge(Refused):
    """The body is longer than `limits.requestBytes`, or costs more to read than its size allows."""

    kind = "body-too-large"
    status = 413
    sentence = "The request body is too large."


class HeadersTooLarge(Refused):
    """The request head is longer than `limits.headerBytes`."""

    kind = "headers-too-large"
    status = 431
    sentence = "The request headers are too large."


class UnsupportedMedia(Refused):
    """The content type is not JSON, or the body is compressed."""

    kind = "unsupported-media"
    status = 415
    sentence = "Send the body as uncompressed application/json."


class ExpectationRefused(Refused):
    """The client expects something that is unknown here (RFC 9110 §10.1.1)."""

    kind = "expectation-refused"
    status = 417
    sentence = "The expectation cannot be met."


class RequestTimeout(Refused):
    """The head or the body did not arrive in time."""

    kind = "request-timeout"
    status = 408
    sentence = "The request did not arrive in time."


class MethodNotAllowed(Refused):
    """The HTTP method has no meaning here; `Allow` says which have."""

    kind = "method-not-allowed"
    status = 405
    sentence = "This HTTP method is not allowed here."


class HostRefused(Refused):
    """The `Host` is none of ours (RFC 9110 §15.5.20; guards against DNS rebinding)."""

    kind = "host-refused"
    status = 421
    sentence = "This gateway does not answer for that host."


class OriginRefused(Refused):
    """A browser's `Origin` is not listed (MCP, Streamable HTTP, security warning)."""

    kind = "origin-refused"
    status = 403
    sentence = "Requests from this origin are not allowed."


class UnknownPath(Refused):
    """No server is configured at this path."""

    kind = "unknown-path"
    status = 404
    sentence = "No MCP server is known at this path."


class UnknownSession(Refused):
    """The session does not exist, has ended, or belongs to somebody else: one answer for all."""

    kind = "unknown-session"
    status = 404
    sentence = "Session not found."


class InvalidState(Refused):
    """A sealed value (`requestState`, event id) is foreign, altered, or past its end."""

    kind = "invalid-state"
    code = -32602
    sentence = "Invalid or expired requestState"


class UnknownMethod(Refused):
    """The method is unknown to the protocol and no rule names it: 404 in the modern era, 200 in the legacy one."""

    kind = "unknown-method"
    status = 404
    code = -32601
    sentence = "Method not found"


class LegacyOnly(Refused):
    """Modern clients probe with `server/discover`; this answer lets them fall back to `initialize`."""

    kind = "legacy-only"
    code = -32601
    sentence = "Method not found: this server speaks revisions with sessions only; send initialize."


class NotAcceptable(Refused):
    """A GET that does not accept an event stream."""

    kind = "not-acceptable"
    status = 406
    sentence = "Accept text/event-stream to open a stream."


class Unauthenticated(Refused):
    """No credential, or one that does not verify. One answer for all causes."""

    kind = "unauthenticated"
    status = 401
    code = -31001
    sentence = "Authentication is required."

    def __init__(
        self, *, detail: str = "", headers: Sequence[tuple[str, str]] = (), source: str = "", is_missing: bool = False
    ) -> None:
        """`source`: name of the identity source that said no; `is_missing`: nothing was presented. For metrics only."""
        super().__init__(detail=detail, headers=headers)
        self.source = source
        self.is_missing = is_missing


class Forbidden(Refused):
    """The agent may use nothing on this server."""

    kind = "forbidden"
    status = 403
    code = -31001
    form = Form.CONNECT
    sentence = "This agent may not use this server."


class Denied(Refused):
    """A rule that gives a reason denies this message."""

    kind = "denied"
    status = 403
    code = -31001
    form = Form.OUTCOME
    sentence = "Refused by policy."


class Hidden(Refused):
    """Denied without a reason, or not existing: the agent cannot tell which."""

    kind = "hidden"
    status = 404
    code = -32602
    form = Form.UNKNOWN
    sentence = "Unknown name."


class ApprovalPending(Refused):
    """A human was asked and has not answered yet."""

    kind = "approval-pending"
    status = 403
    code = -31002
    form = Form.OUTCOME
    sentence = "This call needs human approval."


class ApprovalRefused(Refused):
    """A human said no, nobody answered in time, or nobody can be asked."""

    kind = "approval-refused"
    status = 403
    code = -31003
    form = Form.OUTCOME
    sentence = "This call needs human approval, and it was refused. Do not retry."


class VoteRefused(Refused):
    """A vote that must not count; the sentence is for the person who voted."""

    kind = "vote-refused"
    status = 409
    code = -31001
    sentence = "This vote does not count."


class Withheld(Refused):
    """The call ran, and a content rule keeps its output back."""

    kind = "withheld"
    status = 403
    code = -31004
    form = Form.OUTCOME
    sentence = "The call ran, but its output is withheld by policy."


class Dropped(OpenMCPError):
    """A message of a server does not reach the agent; the exchange goes on without it."""

    kind = "dropped"

    def __init__(self, detail: str, *, answer: object = None) -> None:
        """`answer`: the message that tells the server so, where it waits for one; `None` otherwise."""
        super().__init__(detail=detail)
        self.answer = answer


class UpstreamFailed(OpenMCPError):
    """The server behind the gateway failed."""

    kind = "upstream-failed"
    status = 502
    code = -31005
    form = Form.CONNECT
    sentence = "The MCP server behind the gateway failed."


class UpstreamUnreachable(UpstreamFailed):
    """No replica took the request; nothing was sent."""

    kind = "upstream-unreachable"
    status = 503
    sentence = "The MCP server behind the gateway cannot be reached."


class UpstreamTimeout(UpstreamFailed):
    """The replica did not answer in time; the call may have run."""

    kind = "upstream-timeout"
    status = 504
    sentence = "The MCP server behind the gateway did not answer in time; the call may have run."


class UpstreamBroken(UpstreamFailed):
    """The replica answered with something that is not MCP, or refused the gateway's own credentials."""

    kind = "upstream-broken"
    sentence = "The MCP server behind the gateway gave an answer that cannot be used."


class OutcomeUnknown(UpstreamFailed):
    """The stream ended before the answer came."""

    kind = "outcome-unknown"
    form = Form.OUTCOME
    sentence = "The connection ended before the answer came: the outcome is unknown, the call may have run."


class Overloaded(OpenMCPError):
    """A limit on concurrent work is reached, or the node drains."""

    kind = "overloaded"
    status = 503
    code = -31006
    form = Form.CONNECT
    sentence = "The gateway is at its limit; try again shortly."


class Draining(Overloaded):
    """The node is stopping."""

    kind = "draining"
    sentence = "The gateway is restarting; try again shortly."


class Unavailable(OpenMCPError):
    """Evidence cannot be written, or state that this request needs cannot be read."""

    kind = "unavailable"
    status = 503
    code = -31007
    form = Form.CONNECT
    sentence = "The gateway cannot serve this request safely right now; try again later."


class Internal(OpenMCPError):
    """A fault of the gateway's own."""

    # A bare 500 would cost common SDK clients their session.
    form = Form.CONNECT


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in the configuration, with its place."""

    place: str
    """`file:line:column`, or `namespace/name field.path` for a Kubernetes object."""

    text: str
    """What is wrong and what to do."""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class Misconfigured(OpenMCPError):
    """The configuration cannot be used; carries every fault that was found."""

    kind = "misconfigured"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(detail="\n".join(map(str, faults)))


class StoreConflict(OpenMCPError):
    """A compare-and-set found another version than it expected."""

    kind = "store-conflict"


class StoreUnavailable(Unavailable):
    """The state store did not answer in time."""

    kind = "store-unavailable"


class AuditUnavailable(Unavailable):
    """The record of this exchange cannot be written."""

    kind = "audit-unavailable"
