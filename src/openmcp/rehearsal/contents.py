"""Content rules on written messages: what they would do to a call, or to its response."""

from collections.abc import Sequence
from typing import NamedTuple

from openmcp.mcp.message import Json, JsonObject
from openmcp.model.content import ContentRule
from openmcp.model.facts import DecisionInput
from openmcp.rehearsal.stage import Stage


class Touched(NamedTuple):
    """What a content rule did, at the first place where it did it."""

    policy: str
    rule: str
    detector: str
    path: str
    reason: str
    is_blocked: bool


class Contents:
    """The inspection stage, for messages that are not sent."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def request(self, given: DecisionInput, rules: Sequence[ContentRule]) -> tuple[Json, Touched | None]:
        """Return the arguments as they would be sent, and what was done to them."""
        return given.args, None

    async def response(self, given: DecisionInput, rules: Sequence[ContentRule], result: JsonObject) -> Touched | None:
        """Return what would be done to a result; `None` = nothing."""
        return None
