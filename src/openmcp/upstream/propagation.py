"""Tells a replica which trace a request belongs to: in the header and, where the protocol has it, in `_meta`.

W3C Trace Context; MCP 2026-07-28 keeps it unprefixed in `params._meta`. What the agent
said of its own trace is replaced: the server's parent is the gateway's try. `baggage`
stays where it is.
"""

from openmcp.mcp import headers
from openmcp.mcp.message import Json, JsonObject, Message
from openmcp.model.decision import Permitted
from openmcp.telemetry.spans import Attempt

_NAMES = frozenset({headers.TRACEPARENT, headers.TRACESTATE})


def carry(attempt: Attempt, permitted: Permitted) -> tuple[Message | None, tuple[tuple[str, str], ...]]:
    """Return the message and the headers that name the attempt as their parent."""
    told = {headers.TRACEPARENT: attempt.traceparent, headers.TRACESTATE: attempt.tracestate}
    told = {name: value for name, value in told.items() if value}
    kept = [(name, value) for name, value in permitted.headers if name not in _NAMES]
    return _in_meta(permitted, told), (*kept, *told.items())


def _in_meta(permitted: Permitted, told: dict[str, str]) -> Message | None:
    message = permitted.message
    if message is None or message.kind.is_reply:
        return message
    meta = message.meta
    if not permitted.arrival.revision.is_modern and headers.TRACEPARENT not in meta:
        return message
    carried: JsonObject = {name: value for name, value in meta.items() if name not in _NAMES}
    values: dict[str, Json] = dict(told)
    return message.with_params({**message.params, "_meta": {**carried, **values}})
