"""From records to spans: what a trace tells of an exchange is what its record knows.

Asked by the records, and only where a tracer was given. Values in spans are those of the
record: names cut to size, session ids as keyed digests, never a body.
"""

from typing import NamedTuple

from openmcp.audit.parts import NAME_CHARS, SHORT_CHARS
from openmcp.audit.record import TracePart
from openmcp.mcp import headers, methods
from openmcp.mcp.message import Message
from openmcp.model.agent import Agent
from openmcp.model.decision import Decision
from openmcp.model.http import Request
from openmcp.model.server import Server
from openmcp.telemetry import conventions as names
from openmcp.telemetry import spans
from openmcp.telemetry.harmless import text
from openmcp.telemetry.spans import Attributes, Parent, Span, Tracer

_NAMED = frozenset({methods.TOOLS_CALL, methods.PROMPTS_GET})
_SUBJECTS = {methods.TOOLS_CALL: names.TOOL, methods.PROMPTS_GET: names.PROMPT, methods.RESOURCES_READ: names.RESOURCE}
_TRACE_CHARS = 32
_HEX = frozenset("0123456789abcdef")
_MAX_PARENT = 512
"""Longest `traceparent` or `tracestate` that is looked at, in characters (W3C Trace Context §3.3.1.5)."""


def begun(tracer: Tracer, request: Request, message: Message | None, server: Server | None, *, at_ns: int) -> Span:
    """Return the span of an exchange, and make it the current one of this task."""
    parent = _parent(request, message)
    span = tracer.begin(parent, is_continued=server is None or server.is_trace_continued, at_ns=at_ns)
    spans.enter(span)
    return span


def named(request: Request, message: Message) -> str:
    """Return the trace id that a request names for itself, 32 hex digits; empty if it names none."""
    parent = _parent(request, message)
    parts = parent.traceparent.split("-") if parent is not None else []
    trace = parts[1] if len(parts) > 3 else ""
    return trace if len(trace) == _TRACE_CHARS and _HEX.issuperset(trace) and trace.strip("0") else ""


def decided(span: Span, decision: Decision, *, at_ns: int) -> None:
    """Policy has decided."""
    rule = decision.rule
    about: Attributes = {names.EFFECT: decision.effect.label}
    if rule is not None:
        about = {**about, names.POLICY: rule.policy, names.RULE: rule.rule}
    span.event(names.DECISION_EVENT, about, at_ns=at_ns)


def part(span: Span) -> TracePart:
    """Return what each line of the exchange says of its trace."""
    return TracePart(trace=span.trace_id, span=span.span_id, is_sampled=span.is_sampled)


class Seen(NamedTuple):
    """What the record knows of a request when it ends."""

    request: Request
    server: Server | None
    agent: Agent | None
    exchange: str
    method: str
    name: str | None

    @property
    def span_name(self) -> str:
        """`METHOD NAME` for tools and prompts; URIs, and methods that are not the protocol's, are too many for it."""
        if self.method not in methods.METHODS:
            return "unknown" if self.method else self.request.method
        return f"{self.method} {text(self.name, SHORT_CHARS)}" if self.name and self.method in _NAMED else self.method

    def fault(self, outcome: str) -> str:
        """Return the outcome as OpenTelemetry has it; empty if all went well."""
        return {"ok": "", "tool-error": names.TOOL_ERROR}.get(outcome, outcome)


def about(seen: Seen, *, version: str, session: str, status: int) -> Attributes:
    """Return the attributes of the span."""
    method, name = seen.method, seen.name
    told: dict[str, str | int | bool] = {
        names.HTTP_METHOD: seen.request.method,
        names.HTTP_STATUS: status,
        names.PEER: seen.request.peer.address,
        names.SERVER: seen.server.name if seen.server is not None else "",
        names.AGENT: seen.agent.name if seen.agent is not None else "",
        names.EXCHANGE: seen.exchange,
        names.METHOD: text(method, SHORT_CHARS),
        names.OPERATION: names.EXECUTE_TOOL if method == methods.TOOLS_CALL else "",
        names.PROTOCOL_VERSION: version,
        names.SESSION: session,
    }
    if name is not None and method in _SUBJECTS:
        told[_SUBJECTS[method]] = text(name, NAME_CHARS)
    return {key: value for key, value in told.items() if value not in ("", 0)}


def _parent(request: Request, message: Message | None) -> Parent | None:
    """Return what the request says of its trace: in `_meta` (MCP 2026-07-28), else in the header."""
    meta = message.meta if message is not None and not message.kind.is_reply else {}
    given, state = meta.get(headers.TRACEPARENT), meta.get(headers.TRACESTATE)
    if given is None:
        given, state = request.headers.get(headers.TRACEPARENT), request.headers.get(headers.TRACESTATE)
    if not isinstance(given, str) or len(given) > _MAX_PARENT:
        return None
    return Parent(given, state if isinstance(state, str) and len(state) <= _MAX_PARENT else "")
