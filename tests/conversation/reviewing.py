"""Rules that need a human's yes, and people who give it, for tests of whole conversations."""

import asyncio
from typing import Any

from openmcp.approvals.compile import compile_flows
from openmcp.approvals.flow import Assurance, Voter
from openmcp.approvals.review import Review, Verdict, Vote
from openmcp.config.approving import FlowSpec, GroupSpec
from openmcp.config.snapshot import ApprovalSpec, MatchSpec, RuleSpec
from openmcp.model.decision import Effect
from tests.conversation.replica import WAIT_S
from tests.conversation.site import Site

CAROL, DAN = "carol@example.com", "dan@example.com"
LEADS = GroupSpec("leads", frozenset({CAROL, DAN}))


def flow(name: str = "leads", **changes: Any) -> FlowSpec:
    """An approval flow: one of the leads, and calls are not held."""
    settings: dict[str, Any] = {
        "any_of": (("leads", 1),),
        "deny_at": 1,
        "allows_self": False,
        "min_assurance": "chat",
        "deadline_s": 1800.0,
        "hold_s": 0.0,
        "hold_with_progress_s": 0.0,
        "is_reason_required": False,
        "escalation": (),
        "channels": (),
        "open_per_agent": 10,
        "cooldown_s": 600.0,
    }
    return FlowSpec(name=name, **{**settings, **changes})


def gated(*tools: str, scope: str = "agent+tool", id: str = "ask", **approval: Any) -> RuleSpec:
    """A rule that wants a human's yes for some tools."""
    spec = ApprovalSpec(flow="leads", ttl_s=approval.pop("ttl_s", 1800.0), scope=scope, **approval)
    return RuleSpec(id, Effect.REQUIRE_APPROVAL, MatchSpec(tools=tools), reason="It may hurt.", approval=spec)


def voter(email: str = CAROL, assurance: Assurance = Assurance.LOGIN) -> Voter:
    return Voter(email=email, assurance=assurance)


class People:
    """The approvers of a site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.reviews = site.runtime.desk.reviews

    async def open(self) -> Review:
        """The one open review, once it is there."""
        async with asyncio.timeout(WAIT_S):
            while True:
                found = [review async for review in self.reviews.open_ones()]
                if found:
                    (review,) = found
                    return review
                await asyncio.sleep(0)

    async def approves(self, email: str = CAROL, **vote: Any) -> Review:
        return await self._votes(email, Verdict.APPROVE, **vote)

    async def denies(self, email: str = CAROL, reason: str = "Not today.") -> Review:
        return await self._votes(email, Verdict.DENY, reason=reason)

    async def _votes(self, email: str, verdict: Verdict, **vote: Any) -> Review:
        review = await self.open()
        snapshot = self.site.runtime.snapshot
        flows = compile_flows(snapshot.flows, snapshot.groups)
        cast = Vote(voter=voter(email), verdict=verdict, at=self.site.clock(), channel="test", **vote)
        after, _ = await self.reviews.vote(review.id, cast, flows[review.needed.flow])
        return after
