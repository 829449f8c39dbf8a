"""What hits do to a message towards an agent: by what it is, as much of it as may stays.

Results keep what is not found in them; a definition leaves its list; a notification is
dropped; a server's request is declined; anything else becomes an error.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from openmcp.errors import Denied, Dropped, Withheld
from openmcp.inspection import marks, schema
from openmcp.inspection.changes import Changes, changes
from openmcp.inspection.hits import LISTS, Hit
from openmcp.mcp import content, methods
from openmcp.mcp import message as messages
from openmcp.mcp.message import Json, Message
from openmcp.mcp.revisions import Era
from openmcp.model.content import Action, Phase
from openmcp.model.decision import Permitted

Schemas: TypeAlias = Callable[[Permitted], bytes | None]
"""The schema (JSON) that a tool declared for its results; `None` = none, or not known."""

_INSTRUCTIONS: Final = ("result", "instructions")
_STRUCTURED: Final = ("result", "structuredContent")
_ASKS: Final = ("result", "inputRequests")


def no_schema(_: Permitted) -> bytes | None:
    """Return that nothing was declared."""
    return None


def concerns(message: Message) -> Callable[[Hit], bool]:
    """Return the test whether a rule is about the part of the message in which it hit."""
    return _of_server_request if message.kind.is_request else _of_answer


def _of_server_request(hit: Hit) -> bool:
    return hit.rule.phase is not Phase.LIST


def _of_answer(hit: Hit) -> bool:
    match hit.rule.phase:
        case Phase.RESPONSE:
            return True
        case Phase.CALL:
            return hit.text.path[:2] == _ASKS
        case Phase.LIST:
            return _entry(hit) is not None


def allowed(message: Message, permitted: Permitted, hits: Sequence[Hit], schemas: Schemas) -> Message:
    """Return what the agent may see. Raises: Withheld, Dropped."""
    acting = [hit for hit in hits if hit.changes]
    if not acting:
        return message
    if message.kind.is_notification:
        raise Dropped(_why(acting[0]))
    if message.kind.is_request:
        raise Dropped(_why(acting[0]), answer=_declined(message, permitted))
    return _reply(message, permitted, acting, schemas)


def _reply(message: Message, permitted: Permitted, hits: Sequence[Hit], schemas: Schemas) -> Message:
    removed: dict[str, set[int]] = defaultdict(set)
    rest: list[Hit] = []
    instructed: list[Hit] = []
    for hit in hits:
        entry = _entry(hit)
        if entry is not None:
            removed[entry[0]].add(entry[1])
        elif hit.text.path == _INSTRUCTIONS and not hit.text.is_key:
            instructed.append(hit)
        else:
            rest.append(hit)
    asked = next((hit for hit in rest if hit.text.path[:2] == _ASKS), None)
    changed = changes(rest)
    blocked = changed.blocked or asked
    if blocked is None and not _fits(message, permitted, changed, schemas):
        blocked = next(hit for hit in rest if hit.text.path[:2] == _STRUCTURED)
    if blocked is not None:
        return _withheld(message, permitted, blocked)
    values = {**changed.values, **_instructions(instructed)}
    return _without(content.replace(message, values), removed)


def _instructions(hits: Sequence[Hit]) -> dict[content.Path, Json]:
    """Return the instructions without what was found; a rule that blocks takes all of them."""
    blocking = next((hit for hit in hits if hit.rule.action is Action.BLOCK), None)
    if blocking is not None:
        return {_INSTRUCTIONS: marks.redacted(blocking.detector)}
    return dict(changes(hits).values)


def _without(message: Message, removed: dict[str, set[int]]) -> Message:
    result = message.result
    if not removed or result is None:
        return message
    kept: dict[str, Json] = dict(result)
    for name, gone in removed.items():
        entries = result[name]
        if isinstance(entries, list):
            kept[name] = [entry for at, entry in enumerate(entries) if at not in gone]
    return message.with_result(kept)


def _entry(hit: Hit) -> tuple[str, int] | None:
    """Return the list and the index of the definition that a hit is in; `None` if it is in none."""
    path = hit.text.path
    if len(path) < 3 or path[0] != "result":
        return None
    name, at = path[1], path[2]
    return (name, at) if isinstance(name, str) and name in LISTS and isinstance(at, int) else None


def _fits(message: Message, permitted: Permitted, changed: Changes, schemas: Schemas) -> bool:
    """Whether what is left of structured content is still what the tool declared: clients refuse anything else."""
    if not any(path[:2] == _STRUCTURED for path in changed.values):
        return True
    declared = schemas(permitted)
    if declared is None:
        return True
    result = content.replace(message, changed.values).result or {}
    return schema.fits(declared, result.get("structuredContent"))


def _withheld(message: Message, permitted: Permitted, hit: Hit) -> Message:
    """Raise where the request is at hand; on a stream that was resumed, return an answer that says no."""
    is_call = permitted.arrival.method == methods.TOOLS_CALL
    sentence = Withheld.sentence if is_call or permitted.message is None else _WITHHELD
    told = f"{sentence} {hit.rule.reason}" if hit.rule.reason else sentence
    if permitted.message is not None:
        raise Withheld(told, detail=_why(hit))
    return messages.error(message.id, Withheld.code, told)


_WITHHELD: Final = "The answer is withheld by policy."


def _declined(message: Message, permitted: Permitted) -> Message | None:
    """Return the answer to a server's request that does not go on; the modern era has none to answer."""
    if message.id is None or permitted.arrival.revision.era is Era.MODERN:
        return None
    if message.method == methods.ELICITATION_CREATE:
        return messages.result(message.id, {"action": "decline"})
    return messages.error(message.id, Denied.code, Denied.sentence)


def _why(hit: Hit) -> str:
    where = "a key" if hit.text.is_key else content.json_path(hit.text.path)
    return f"{hit.rule} found {hit.detector} in {where}"
