"""What of a request stays the same when it is asked again, as one digest.

Used where something is bound to a call: the rounds of a multi-round call, the yes of a
human, a recorded answer.
"""

import hashlib

from openmcp.mcp.message import JsonObject, Message, canonical

_UNBOUND_PARAMS = frozenset({"requestState", "inputResponses"})
_UNBOUND_META = frozenset({"progressToken", "traceparent", "tracestate", "baggage"})
_PROTOCOL_META = "io.modelcontextprotocol/"


def bound_params(message: Message) -> JsonObject:
    """Return the parameters without what differs from one sending to the next.

    Left out are the progress token, the place in a trace, what the protocol itself says in `_meta`, and the state and
    the answers of a multi-round call.
    """
    meta = {
        key: value
        for key, value in message.meta.items()
        if key not in _UNBOUND_META and not key.startswith(_PROTOCOL_META)
    }
    bound = {key: value for key, value in message.params.items() if key not in _UNBOUND_PARAMS and key != "_meta"}
    return {**bound, "_meta": meta}


def params_digest(message: Message) -> bytes:
    """Return the SHA-256 of the bound parameters with their keys sorted, numbers as they were written."""
    return hashlib.sha256(canonical(bound_params(message))).digest()
