"""Lists hold only what the agent could be allowed to use.

The same rules as for calls, without arguments; the call is decided again. A filtered
list keeps its cursor: a page may become empty.
"""

from collections.abc import Callable

from openmcp.mcp.message import Json, JsonObject, Message
from openmcp.mcp.methods import PROMPTS_GET, RESOURCES_READ, TOOLS_CALL, Listing, Subject, SubjectKind

Allows = Callable[[str, Subject, JsonObject], bool]
"""`(method, subject, definition)` → whether some use could be allowed or approved."""

USE = {SubjectKind.TOOL: TOOLS_CALL, SubjectKind.PROMPT: PROMPTS_GET, SubjectKind.RESOURCE: RESOURCES_READ}


def filter_list(message: Message, listing: Listing, allows: Allows) -> tuple[Message, int]:
    """Return the list result without the entries the agent may not use, and how many were removed.

    An entry that is not an object or has no name is removed too: what cannot be decided is not shown.
    """
    result = message.result or {}
    entries = result.get(listing.key)
    if not isinstance(entries, list):
        return message, 0
    kept = [entry for entry in entries if _is_shown(entry, listing, allows)]
    if len(kept) == len(entries):
        return message, 0
    filtered: dict[str, Json] = {**result, listing.key: kept}
    return message.with_result(filtered), len(entries) - len(kept)


def _is_shown(entry: Json, listing: Listing, allows: Allows) -> bool:
    if not isinstance(entry, dict):
        return False
    name = entry.get(listing.name_field)
    return isinstance(name, str) and allows(USE[listing.kind], Subject(listing.kind, name), entry)
