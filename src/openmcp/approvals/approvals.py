"""Obtains the yes of humans for a call that needs one, and sees that it is used as it was given.

Called by the gateway after inspection, and again around the moment of forwarding. The first call
without a grant opens a review; repeats attach to it; the call is held for a while, and then the
agent is told to ask again. Made anew with each snapshot; what outlives one is in `Desk`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol

from openmcp.approvals.draft import Draft
from openmcp.approvals.flow import Flow
from openmcp.approvals.grants import Grants
from openmcp.approvals.review import Review, Status
from openmcp.approvals.reviews import Reviews
from openmcp.approvals.scope import Hashing, Question, question
from openmcp.approvals.use import Use
from openmcp.approvals.wording import pending, refused
from openmcp.errors import ApprovalRefused
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.catalogue import Definition
from openmcp.model.decision import ApprovalNeeded, Decision, Permitted
from openmcp.model.grant import Grant
from openmcp.model.server import Server

_TICK_S: Final = 10.0
"""How often the agent is shown that its call is alive."""

_NOTHING_TO_USE: Final = nullcontext()

_POLL_S: Final = 1.0
"""How late at most an answer is seen whose hint was lost."""


class Waiter(Protocol):
    """The agent's side of a held call."""

    @property
    def can_wait(self) -> bool:
        """Whether the agent takes a stream, so that it can be shown that something goes on."""
        ...

    @property
    def wants_progress(self) -> bool:
        """Whether it sent a progress token."""
        ...

    def tick(self, text: str) -> None:
        """Show that nobody has answered yet."""


class Opener(Protocol):
    """Told when a review was opened, so that people get to know of it."""

    async def opened(self, review: Review) -> None:
        """Tell people."""


class Unheard:
    """Tells nobody: reviews are found in the console and by the command line."""

    async def opened(self, review: Review) -> None:
        """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What approvals keep over snapshots."""

    reviews: Reviews
    grants: Grants
    hashing: Hashing
    opener: Opener
    clock: Callable[[], float]
    is_draining: Callable[[], bool] = lambda: False
    holds_per_agent: int = 20


class Holds:
    """How many calls of each agent are held by this process."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def enter(self, binding: str, limit: int) -> bool:
        """Take a place, if there is one."""
        if self._held.get(binding, 0) >= limit:
            return False
        self._held[binding] = self._held.get(binding, 0) + 1
        return True

    def leave(self, binding: str) -> None:
        """Give it back."""
        self._held[binding] -= 1
        if not self._held[binding]:
            del self._held[binding]


class Approvals:
    """Asks humans, and waits for them for a while."""

    def __init__(
        self,
        flows: Mapping[str, Flow] | None = None,
        *,
        desk: Desk | None = None,
        draft: Draft | None = None,
        holds: Holds | None = None,
    ) -> None:
        """`desk`: `None` where nothing needs approval."""
        self._flows = flows or {}
        self._desk = desk
        self._draft = draft
        self._holds = holds or Holds()

    async def obtain(
        self,
        agent: Agent,
        server: Server,
        arrival: Arrival,
        decision: Decision,
        definition: Definition | None,
        *,
        waiter: Waiter,
    ) -> tuple[Grant, ...]:
        """Return the grants that cover the call, none if it needs none.

        Raises: ApprovalPending when the agent shall ask again later, ApprovalRefused when the answer is no;
        StoreUnavailable.
        """
        if not decision.needs_approval:
            return ()
        call = self._call(agent, server, arrival, decision=decision, definition=definition)
        grants, reviews = await call.look()
        if reviews:
            grants = await self._wait(call, reviews, waiter)
        return grants

    def using(self, permitted: Permitted) -> AbstractAsyncContextManager[None]:
        """Hold one use of each grant while inside: used up if something was sent, given back if nothing was.

        Raises (on entry): ApprovalRefused if one has ended meanwhile; StoreUnavailable.
        """
        if not permitted.grants or self._desk is None:
            return _NOTHING_TO_USE
        return Use(self._desk.grants, permitted.grants)

    def _call(
        self, agent: Agent, server: Server, arrival: Arrival, *, decision: Decision, definition: Definition | None
    ) -> "_Call":
        if self._desk is None or self._draft is None:
            raise ApprovalRefused(detail=f"no approver can be reached for {decision.rule} on {server.name}")
        if arrival.message is None or not arrival.message.kind.is_request:
            raise ApprovalRefused(detail=f"{arrival.method or arrival.http_method} cannot be held")
        hashing = self._desk.hashing
        asked = [
            (needed, self._flow(needed), question(agent, server, arrival=arrival, needed=needed, hashing=hashing))
            for needed in decision.approvals
        ]
        return _Call(self._desk, self._draft, agent, arrival, definition, asked)

    def _flow(self, needed: ApprovalNeeded) -> Flow:
        flow = self._flows.get(needed.flow)
        if flow is None:
            raise ApprovalRefused(detail=f"{needed.rule} names the approval flow `{needed.flow}`, which there is not")
        return flow

    async def _wait(self, call: "_Call", reviews: Sequence[Review], waiter: Waiter) -> tuple[Grant, ...]:
        """Hold the call until all is granted. Raises: ApprovalPending when time is up."""
        assert self._desk is not None  # made by _call
        binding = call.agent.principal.binding
        hold_s = call.hold_s(waiter.wants_progress) if waiter.can_wait else 0.0
        if hold_s <= 0 or not self._holds.enter(binding, self._desk.holds_per_agent):
            raise pending(reviews[0], self._desk.clock())
        try:
            return await _hold(call, reviews, waiter, until_s=asyncio.get_running_loop().time() + hold_s)
        finally:
            self._holds.leave(binding)


class _Call:
    """One call, and what has to be granted for it."""

    def __init__(
        self,
        desk: Desk,
        draft: Draft,
        agent: Agent,
        arrival: Arrival,
        definition: Definition | None,
        asked: Sequence[tuple[ApprovalNeeded, Flow, Question]],
    ) -> None:
        self.desk = desk
        self.agent = agent
        self._draft = draft
        self._arrival = arrival
        self._definition = definition
        self._asked = asked

    def hold_s(self, wants_progress: bool) -> float:
        """Return for how long the call may be held: as long as the least patient of its flows."""
        return min(flow.hold_with_progress_s if wants_progress else flow.hold_s for _, flow, _ in self._asked)

    async def look(self) -> tuple[tuple[Grant, ...], list[Review]]:
        """Return the grants that there are, and the open reviews of what is not granted; opens what nobody asked yet.

        Raises: ApprovalRefused if an answer is no.
        """
        grants: list[Grant] = []
        reviews: list[Review] = []
        for needed, flow, asked in self._asked:
            found = await self._answer(needed, flow, asked)
            (grants if isinstance(found, Grant) else reviews).append(found)  # type: ignore[arg-type]
        return tuple(grants), reviews

    async def _answer(self, needed: ApprovalNeeded, flow: Flow, asked: Question) -> Grant | Review:
        digest = self._definition.digest if self._definition is not None else ""
        desk = self.desk
        grant = await desk.grants.find(asked, rule_digest=needed.digest, definition=digest)
        if grant is not None and await self._is_still_given(grant, flow):
            return grant
        newest = await desk.reviews.newest(asked.key)
        if newest is not None:
            standing = await self._standing(newest, asked, flow, definition=digest)
            if standing is not None:
                return standing
        draft = await self._draft.review(
            asked, needed, flow, agent=self.agent, arrival=self._arrival, definition=digest, earlier=newest
        )
        opened = await desk.reviews.open(draft.review, arguments=draft.arguments, limit=flow.open_per_agent)
        if opened.id == draft.review.id:
            await desk.opener.opened(opened)
        return opened

    async def _standing(self, review: Review, asked: Question, flow: Flow, *, definition: str) -> Grant | Review | None:
        """Return what an earlier review of the question says; `None` if it has to be asked anew."""
        desk, needed = self.desk, asked.needed
        is_other = review.needed.digest != needed.digest or review.asked.definition != definition
        match review.status:
            case Status.PENDING if is_other:
                await desk.reviews.close(review.id, Status.SUPERSEDED, because="The rule or the tool has changed.")
                return None
            case Status.PENDING:
                await desk.reviews.repeated(review.id)
                return review
            case Status.APPROVED if not is_other and review.is_still_approved(flow):
                # Whoever sees it first makes the grant; it may have ended already, or be narrower than the question.
                await desk.grants.make(review)
                return await desk.grants.find(asked, rule_digest=needed.digest, definition=definition)
            case Status.DENIED | Status.EXPIRED if desk.clock() < review.closed_at + flow.cooldown_s:
                raise refused(review)
            case _:
                return None

    async def _is_still_given(self, grant: Grant, flow: Flow) -> bool:
        review = await self.desk.reviews.get(grant.id)
        return review is not None and review.is_still_approved(flow)


async def _hold(call: _Call, reviews: Sequence[Review], waiter: Waiter, *, until_s: float) -> tuple[Grant, ...]:
    desk, loop = call.desk, asyncio.get_running_loop()
    ticked_s = loop.time()
    waiter.tick(_waiting(reviews[0]))
    while True:
        await _news(desk.reviews, reviews[0].id, min(_POLL_S, max(0.0, until_s - loop.time())))
        grants, reviews = await call.look()
        if not reviews:
            return grants
        now_s = loop.time()
        if now_s >= until_s or desk.is_draining():
            raise pending(reviews[0], desk.clock())
        if now_s - ticked_s >= _TICK_S:
            ticked_s = now_s
            waiter.tick(_waiting(reviews[0]))


def _waiting(review: Review) -> str:
    return f"waiting for approval {review.code}"


async def _news(reviews: Reviews, review_id: str, timeout_s: float) -> None:
    """Wait until the review may have changed, at most this long."""
    hints = reviews.watch(review_id)
    try:
        async with asyncio.timeout(timeout_s):
            await anext(hints, None)
    except TimeoutError:
        pass
    finally:
        close = getattr(hints, "aclose", None)
        if close is not None:
            await close()
