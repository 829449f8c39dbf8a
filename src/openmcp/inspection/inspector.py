"""Applies the content rules of a decision to a message, in either direction.

Called by the gateway before a human is asked and again for everything that comes
back. Configuration that asks for content rules is refused at load for now, so no
decision carries one; should one arrive all the same, nothing passes.
"""

from collections.abc import Sequence

from openmcp.errors import Denied, Withheld
from openmcp.mcp.message import Message
from openmcp.model.arrival import Arrival
from openmcp.model.content import ContentRule
from openmcp.model.decision import Permitted


class Inspector:
    """Inspects messages."""

    def request(self, arrival: Arrival, rules: Sequence[ContentRule]) -> Arrival:
        """Return what may be sent; the same object if nothing had to change.

        Raises: Denied if a rule blocks it.
        """
        if rules:
            raise Denied(detail=f"no detector engine for {rules[0].policy}/{rules[0].rule}")
        return arrival

    def response(self, message: Message, permitted: Permitted) -> Message:
        """Return the message that may be shown to the agent.

        Raises: Withheld if a rule blocks it.
        """
        if permitted.decision is not None and permitted.decision.response_rules:
            raise Withheld(detail=f"no detector engine for {permitted.decision.response_rules[0].policy}")
        return message
