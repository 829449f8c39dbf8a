"""Whether a human's yes covers what a rule asks for now. Pure: no clock, no store.

Asked when a call comes, and again at the moment of forwarding; by `rehearsal` on written
grants as well.
"""

from typing import NamedTuple

from openmcp.mcp.message import Json, canonical
from openmcp.mcp.methods import Subject
from openmcp.model.decision import ApprovalNeeded, RuleRef


class Use(NamedTuple):
    """What an agent wants to do now."""

    subject: Subject | None
    args: Json
    session: str
    """Name of its session; empty = none."""

    now: float
    """Unix seconds."""


class Yes(NamedTuple):
    """A yes that was given to this agent on this server."""

    rule: RuleRef
    scope: str
    subject: Subject | None
    args: Json
    session: str
    given_at: float
    ends_at: float
    uses_left: int | None
    """`None` = as often as it is used within its life."""


def covers(yes: Yes, needed: ApprovalNeeded, use: Use) -> bool:
    """Whether the yes is still good, and for this."""
    if not yes.given_at <= use.now < yes.ends_at or yes.uses_left == 0:
        return False
    if yes.scope == "agent":
        # All gated calls of the agent on the server, whichever rule asks.
        return True
    return yes.rule == needed.rule and _is_within(yes, use)


def _is_within(yes: Yes, use: Use) -> bool:
    match yes.scope:
        case "agent+rule":
            return True
        case "session":
            return bool(use.session) and yes.session == use.session
        case "agent+tool":
            return yes.subject == use.subject
        case "agent+tool+args" | "call":
            return yes.subject == use.subject and canonical(yes.args) == canonical(use.args)
        case _:
            # A scope that nobody knows is one for nothing.
            return False
