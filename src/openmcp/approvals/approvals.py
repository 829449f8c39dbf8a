"""Obtains a human's yes for a decision that needs one.

Called by the gateway after inspection. Configuration that asks for approval is
refused at load for now, because no channel reaches a human yet; should a decision
need one all the same, it is refused.
"""

from collections.abc import Callable

from openmcp.errors import ApprovalRefused
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Decision
from openmcp.model.grant import Grant
from openmcp.model.server import Server


class Approvals:
    """Waits for humans."""

    async def obtain(
        self, agent: Agent, server: Server, *, arrival: Arrival, decision: Decision, tick: Callable[[str], None]
    ) -> tuple[Grant, ...]:
        """Return the grants that cover the call, none if it needs none.

        `tick` is told from time to time that nobody has answered yet.

        Raises: ApprovalPending when the agent shall ask again later, ApprovalRefused when the answer is no.
        """
        if not decision.needs_approval:
            return ()
        raise ApprovalRefused(detail=f"no approver can be reached for {decision.rule} on {server.name}")
