"""The headers that go upstream: rebuilt from the message that is sent, never relayed as a whole.

Everything else that an agent sent stays here: credentials, cookies, identity headers.
"""

from collections.abc import Mapping

from openmcp.mcp import headers
from openmcp.model.arrival import Arrival
from openmcp.model.catalogue import Definition
from openmcp.model.http import Request

Headers = tuple[tuple[str, str], ...]

# `host`: the agent's own, for servers whose `upstream.host` is `client`.
_PASSED_ON = (headers.ACCEPT, headers.TRACEPARENT, headers.TRACESTATE, "host")
_EITHER = (headers.ACCEPT, f"{headers.JSON}, {headers.EVENT_STREAM}")
_STREAM_ONLY = (headers.ACCEPT, headers.EVENT_STREAM)


def upstream_headers(request: Request, arrival: Arrival, definition: Definition | None) -> Headers:
    """Return what goes with a message of an agent."""
    found = request.headers
    passed = [(name, found[name]) for name in _PASSED_ON if name in found]
    if not arrival.revision.is_modern:
        return (*passed, *_legacy(arrival))
    declared: Mapping[str, tuple[str, ...]] = definition.param_headers if definition is not None else {}
    made = headers.routing_headers(
        arrival.message, arrival.revision, param_map=declared, unknown_params=arrival.param_headers
    )
    return (*passed, *made)


def own_headers(arrival: Arrival) -> Headers:
    """Return what goes with a message of the gateway itself."""
    accept = _STREAM_ONLY if arrival.http_method == "GET" else _EITHER
    if not arrival.revision.is_modern:
        return (accept, *_legacy(arrival))
    return (accept, *headers.routing_headers(arrival.message, arrival.revision))


def _legacy(arrival: Arrival) -> Headers:
    made = headers.routing_headers(arrival.message, arrival.revision)
    if arrival.session is not None:
        made = (*made, (headers.MCP_SESSION_ID, arrival.session.id))
    if arrival.last_event_id is not None:
        made = (*made, (headers.LAST_EVENT_ID, arrival.last_event_id))
    return made
