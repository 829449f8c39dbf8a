"""What hits do to a message of an agent."""

from typing import Final

from msgspec.structs import replace

from openmcp.errors import Denied
from openmcp.inspection.changes import Changes
from openmcp.inspection.hits import Hit
from openmcp.mcp import content
from openmcp.mcp.content import Text
from openmcp.mcp.headers import decode_value
from openmcp.model.arrival import Arrival
from openmcp.model.content import Phase

_HEADERS: Final = "headers"


def headers(arrival: Arrival) -> tuple[Text, ...]:
    """Return the values of `Mcp-Param-*`, which are arguments too. Raises: HeaderMismatch for what cannot be read."""
    return tuple(Text((_HEADERS, name), decode_value(value)) for name, value in arrival.param_headers.items())


def concerns(hit: Hit) -> bool:
    """Whether a rule is about what agents send."""
    return hit.rule.phase is Phase.CALL


def allowed(arrival: Arrival, changed: Changes) -> Arrival:
    """Return what may be sent. Raises: Denied."""
    hit = changed.blocked
    if hit is not None:
        path = content.json_path(hit.text.path) if not hit.text.is_key else "a key"
        raise Denied(hit.rule.reason or None, detail=f"{hit.rule} found {hit.detector} in {path}")
    if not changed.values or arrival.message is None:
        return arrival
    of_headers = {str(path[1]): str(value) for path, value in changed.values.items() if path[:1] == (_HEADERS,)}
    of_body = {path: value for path, value in changed.values.items() if path[:1] != (_HEADERS,)}
    message = content.replace(arrival.message, of_body)
    return replace(arrival, message=message, param_headers={**arrival.param_headers, **of_headers})
