"""Small changes that a gateway owes to results: whose cache they may enter, and which revisions it speaks.

Pure functions over messages; called by the gateway for everything that goes to an agent.
"""

from typing import NamedTuple, TypeGuard

from openmcp.mcp import methods, revisions, strict
from openmcp.mcp.message import Json, JsonObject, Message
from openmcp.mcp.revisions import Revision

MAX_TTL_MS = 60_000
"""Longest time a list may be cached: a change of policy must show within it."""

INPUT_REQUIRED = "input_required"
_ENTRY = frozenset({"method", "params"})
URL_ELICITATION_REQUIRED = -32042
"""Code of 2025-11-25 by which an error asks for what `elicitation/create` asks."""


def asks_for_input(result: Json) -> TypeGuard[JsonObject]:
    """Whether a result of 2026-07-28 is a round of a multi-round call."""
    return isinstance(result, dict) and result.get("resultType") == INPUT_REQUIRED


class InputRequest(NamedTuple):
    """What a reply asks of the agent."""

    method: str
    """`""` where the entry names none, which no rule allows."""

    params: JsonObject


def input_requests(reply: Message) -> tuple[InputRequest, ...]:
    """Return the requests that a reply holds: in an `input_required` result, or in an error."""
    result = reply.result
    if reply.error is not None:
        data = reply.error.get("data")
        params = data if isinstance(data, dict) else {}
        return (InputRequest(methods.ELICITATION_CREATE, params),) if _elicits(reply.error) else ()
    if not asks_for_input(result):
        return ()
    asked = result.get("inputRequests")
    if not isinstance(asked, dict):
        return ()
    return tuple(map(_input_request, asked.values()))


def private_list(message: Message, revision: Revision) -> Message:
    """Return a list result that only this agent may cache, and not for long.

    Legacy results have no cache of their own to forbid: there only what stands in them is changed.
    """
    result = message.result
    if result is None or not (revision.is_modern or "cacheScope" in result or "ttlMs" in result):
        return message
    ttl = result.get("ttlMs")
    limited = min(ttl, MAX_TTL_MS) if isinstance(ttl, int | float) and not isinstance(ttl, bool) else MAX_TTL_MS
    return message.with_result({**result, "cacheScope": "private", "ttlMs": limited})


def private(message: Message) -> Message:
    """Return a result that no cache gives to another agent: who may have it was decided for this one."""
    result = message.result
    if result is None or result.get("cacheScope", "private") == "private":
        return message
    return message.with_result({**result, "cacheScope": "private"})


def speakable(message: Message) -> Message:
    """Return a `server/discover` result with the revisions that both the server and the gateway speak."""
    result = message.result
    offered = result.get("supportedVersions") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(offered, list):
        return message
    both = [version for version in offered if isinstance(version, str) and version in revisions.REVISIONS]
    return message.with_result({**result, "supportedVersions": list(both)})


def _elicits(error: JsonObject) -> bool:
    """Whether an error makes the agent open a page for its user, whatever its code says."""
    data = error.get("data")
    if error.get("code") == URL_ELICITATION_REQUIRED:
        return True
    return isinstance(data, dict) and "elicitations" in map(strict.folded, data)


def _input_request(entry: Json) -> InputRequest:
    if not isinstance(entry, dict) or strict.without_lookalikes(entry, _ENTRY) is not entry:
        return InputRequest("", {})
    method, params = entry.get("method"), entry.get("params")
    return InputRequest(method if isinstance(method, str) else "", params if isinstance(params, dict) else {})
