"""Small changes that a gateway owes to results: whose cache they may enter, and which revisions it speaks.

Pure functions over messages; called by the gateway for everything that goes to an agent.
"""

from typing import TypeGuard

from openmcp.mcp import revisions
from openmcp.mcp.message import Json, JsonObject, Message

MAX_TTL_MS = 60_000
"""Longest time a list may be cached: a change of policy must show within it."""

INPUT_REQUIRED = "input_required"


def asks_for_input(result: Json) -> TypeGuard[JsonObject]:
    """Whether a result of 2026-07-28 is a round of a multi-round call."""
    return isinstance(result, dict) and result.get("resultType") == INPUT_REQUIRED


def input_methods(result: Json) -> tuple[str, ...]:
    """Return the methods of the requests embedded in an `input_required` result.

    An entry without a method is named `""`, which no rule allows.
    """
    if not asks_for_input(result):
        return ()
    asked = result.get("inputRequests")
    if not isinstance(asked, dict):
        return ()
    return tuple(_method_of(entry) for entry in asked.values())


def private(message: Message) -> Message:
    """Return a list result that only this agent may cache, and not for long."""
    result = message.result
    if not isinstance(result, dict) or not ("cacheScope" in result or "ttlMs" in result):
        return message
    ttl = result.get("ttlMs")
    limited = min(ttl, MAX_TTL_MS) if isinstance(ttl, int | float) else MAX_TTL_MS
    return message.with_result({**result, "cacheScope": "private", "ttlMs": limited})


def speakable(message: Message) -> Message:
    """Return a `server/discover` result with the revisions that both the server and the gateway speak."""
    result = message.result
    offered = result.get("supportedVersions") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(offered, list):
        return message
    both = [version for version in offered if isinstance(version, str) and version in revisions.REVISIONS]
    return message.with_result({**result, "supportedVersions": list(both)})


def _method_of(entry: Json) -> str:
    method = entry.get("method") if isinstance(entry, dict) else None
    return method if isinstance(method, str) else ""
