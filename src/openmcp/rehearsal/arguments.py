"""The arguments of a recorded message, as a decision looks at them."""

import msgspec

from openmcp.mcp.message import Json
from openmcp.policy.asking import arguments


def takes_none(method: str) -> bool:
    """Whether `args` is empty for every message of this method, whatever it holds."""
    return arguments(method, {"arguments": {"any": 1}, "any": 1}) == {}


def arguments_of(method: str, body: bytes) -> Json:
    """Return what `args` stood for; `None` where the body holds no parameters that can be read."""
    try:
        message: Json = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
    if not isinstance(message, dict):
        return None
    params = message.get("params", {})
    return arguments(method, params) if isinstance(params, dict) else None
