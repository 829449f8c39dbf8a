"""The door of this stage: applies the content rules of a decision to a message, in either direction.

Called by the gateway before a human is asked, and again for everything that comes back.
Without rules it returns at once. Nothing it raises or returns holds what was found.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from openmcp.inspection import examining, requests, responses
from openmcp.inspection.changes import changes, findings
from openmcp.inspection.examining import Question
from openmcp.inspection.hits import Hit, Plan
from openmcp.inspection.redaction import SightRedactor
from openmcp.inspection.responses import Schemas
from openmcp.inspection.tails import remember
from openmcp.mcp.message import Message
from openmcp.model.arrival import Arrival
from openmcp.model.content import ContentRule, Finding
from openmcp.model.decision import Permitted

Rules: TypeAlias = Callable[[Message, Permitted], Sequence[ContentRule]]
"""The rules about a message towards the agent, as they are now."""

Found: TypeAlias = Callable[[Sequence[Finding], SightRedactor], None]
"""Is told what was found, strictest first, and what takes it out of the record."""

Count: TypeAlias = Callable[[str, str, str], None]
"""Counts one finding: `(detector, direction, action)`."""

_ASIDE_BYTES: Final = 128 << 10
"""A longer message is looked at on another thread: the loop must not stand still for it."""

_AT_ONCE: Final = 2
"""Long messages that are looked at at the same time."""

_PLANS: Final = 4_096


class Inspector:
    """Inspects messages under one snapshot."""

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        schemas: Schemas = responses.no_schema,
        count: Count | None = None,
    ) -> None:
        self._rules = rules or _decided
        self._schemas = schemas
        self._count = count
        self._plans: dict[tuple[ContentRule, ...], Plan] = {}
        self._recent: dict[int, tuple[Sequence[ContentRule], Plan]] = {}
        self._aside = asyncio.Semaphore(_AT_ONCE)

    async def request(self, arrival: Arrival, rules: Sequence[ContentRule], *, found: Found) -> Arrival:
        """Return what may be sent; the same object if nothing had to change.

        Raises: Denied if a rule blocks it; Unavailable if it could not be looked at.
        """
        message = arrival.message
        if not rules or message is None:
            return arrival
        more = requests.headers(arrival)
        hits = await self._examine(Question(message, rules, self._plan(rules), requests.concerns, more))
        if not hits:
            return arrival
        self._tell(hits, "request", found, self._plan(rules))
        return requests.allowed(arrival, changes(hits))

    async def response(self, message: Message, permitted: Permitted, *, found: Found) -> Message:
        """Return the message that may be shown to the agent.

        Raises: Withheld if a rule blocks an answer; Dropped if it blocks anything else; Unavailable.
        """
        rules = self._rules(message, permitted)
        if not rules:
            return message
        said = permitted.said if message.kind.is_notification else None
        plan = self._plan(rules)
        hits = await self._examine(Question(message, rules, plan, responses.concerns(message), said=said))
        if hits:
            self._tell(hits, "response", found, plan)
            message = responses.allowed(message, permitted, hits, self._schemas)
        if said is not None:
            remember(message, examining.texts_of(message), said)
        return message

    async def _examine(self, question: Question) -> list[Hit]:
        raw = examining.raw_of(question.message, question.more)
        if len(raw) <= _ASIDE_BYTES:
            return examining.examine(question, raw)
        async with self._aside:
            return await asyncio.to_thread(examining.examine, question, raw)

    def _plan(self, rules: Sequence[ContentRule]) -> Plan:
        # Decisions are kept, and their rules with them: mostly it is the very same object.
        recent = self._recent.get(id(rules))
        if recent is not None and recent[0] is rules:
            return recent[1]
        key = tuple(rules)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            plan = self._plans[key] = Plan(key)
        if len(self._recent) >= _PLANS:
            self._recent.clear()
        self._recent[id(rules)] = (rules, plan)
        return plan

    def _tell(self, hits: Sequence[Hit], direction: str, found: Found, plan: Plan) -> None:
        told = findings(hits)
        found(told, SightRedactor(plan.scanner))
        if self._count is not None:
            for finding in told:
                action = f"would-{finding.action.value}" if finding.rule.is_shadow else finding.action.value
                self._count(finding.detector, direction, action)


def _decided(_: Message, permitted: Permitted) -> Sequence[ContentRule]:
    return permitted.decision.response_rules if permitted.decision is not None else ()
