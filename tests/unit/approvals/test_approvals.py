"""Where no channel reaches a human, whatever needs one is refused."""

import pytest

from openmcp.approvals.approvals import Approvals
from openmcp.errors import ApprovalRefused
from openmcp.mcp import message as messages
from openmcp.mcp.revisions import LATEST
from openmcp.model.agent import ANONYMOUS
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Decision, Effect, RuleRef
from openmcp.model.grant import Grant
from openmcp.model.server import Authentication, Server

CALL = messages.request(7, "tools/call", {"name": "read"})
ARRIVAL = Arrival(http_method="POST", revision=LATEST, message=CALL, method=CALL.method)
SERVER = Server("desk", "/desk", (), Authentication(()))


class Waiting:
    """An agent that waits, and what it was told."""

    can_wait = wants_progress = True

    def __init__(self, told: list[str]) -> None:
        self.tick = told.append


async def obtained(effect: Effect, ticks: list[str]) -> tuple[Grant, ...]:
    decision = Decision(effect, RuleRef("p", "r"))
    return await Approvals().obtain(ANONYMOUS, SERVER, ARRIVAL, decision, None, waiter=Waiting(ticks))


async def test_what_needs_nobody_asks_nobody() -> None:
    ticks: list[str] = []
    assert await obtained(Effect.ALLOW, ticks) == ()
    assert ticks == []


async def test_what_needs_a_human_is_refused() -> None:
    ticks: list[str] = []
    with pytest.raises(ApprovalRefused):
        await obtained(Effect.REQUIRE_APPROVAL, ticks)
    assert ticks == []
