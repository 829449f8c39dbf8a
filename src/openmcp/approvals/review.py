"""One question to humans: the `Review`, the `Vote`s on it, and the table of what it can become.

Pure: values in, values out, the time is handed in. `reviews` keeps them in the state store,
where vote, tally and transition are one compare-and-set, because all three are one value.
"""

from enum import Enum, IntEnum
from typing import Final

import msgspec

from openmcp.approvals.flow import Flow, Tally, Voter
from openmcp.errors import VoteRefused


class Status(Enum):
    """Where a review stands. All but the first are ends."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    """Nobody answered in time, which is a no."""

    CANCELLED = "cancelled"
    """Withdrawn by an operator, or its agent or server is gone."""

    SUPERSEDED = "superseded"
    """The rule or the tool's definition has changed: what was asked is not what would be done."""


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    status: frozenset(Status) - {Status.PENDING} if status is Status.PENDING else frozenset() for status in Status
}
"""What a review can become. An end is one."""


class Verdict(IntEnum):
    """What a vote says."""

    DENY = 0
    APPROVE = 1


class Asker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who asks, as verified when the review was opened."""

    name: str
    binding: str
    """`Principal.binding`: what the grant will be bound to."""

    principal: str
    source: str
    method: str
    trust: str
    owner: str = ""
    """E-mail of the person who answers for the agent; may not approve its reviews."""

    on_behalf_of: str = ""
    email: str = ""
    """Verified e-mail of the user it acts for, where the credential named one."""

    is_configured: bool = False


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What shall be done."""

    server: str
    method: str
    kind: str
    """`tool`, `prompt`, `resource`; empty for a method that names none."""

    subject: str
    arguments: str
    """Digest of the arguments as they would be sent."""

    shown: str = ""
    """The arguments as JSON, redacted as in the audit log; cut if they are long."""

    shown_bytes: int = 0
    """Length of the redacted arguments before they were cut."""

    redactions: tuple[str, ...] = ()
    """`path detector length`, one for each."""

    definition: str = ""
    """Digest of the tool's definition; empty if there is none."""


class Needed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which rule wants it, and what a yes is good for."""

    policy: str
    rule: str
    digest: str
    """Of the rule as it was written."""

    flow: str
    ttl_s: float
    scope: str
    scope_key: str
    max_uses: int | None = None
    reason: str = ""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where the state store has what belongs to a review."""

    question: str
    """The question that it answers; the newest review of each is found there."""

    agent: str
    """The agent's open reviews."""

    grant: str
    """The grant, in the rule's scope."""

    grant_once: str
    """The grant for just the arguments that were shown."""


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an approver may want to know; facts, no score."""

    is_first_use: bool = False
    """This agent has never been granted this before."""

    has_changed: bool = False
    """The definition is another than at the last grant."""

    earlier: tuple[str, ...] = ()
    """Earlier answers to the same question, newest first: `2026-11-23T10:00:00Z approved by carol@…`."""


class Vote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One person's answer."""

    voter: Voter
    verdict: Verdict
    at: float
    """Unix seconds."""

    channel: str
    reason: str = ""
    is_once: bool = False
    """Good for one call with just these arguments."""

    ttl_s: float | None = None
    """A shorter life than the rule's; `None` = the rule's."""


class Review(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question to humans, with all answers so far."""

    id: str
    code: str
    """Six characters to talk about it. Carries no authority."""

    status: Status = Status.PENDING
    created_at: float
    expires_at: float
    asker: Asker
    asked: Asked
    needed: Needed
    places: Places
    environment: str = ""
    agent_reason: str = ""
    """The agent's own words."""

    session: str = ""
    """Keyed digest of the legacy session; empty without one."""

    facts: Facts = Facts()
    repeats: int = 0
    """How often the agent asked again while it was open."""

    votes: tuple[Vote, ...] = ()
    closed_at: float = 0.0
    closed_because: str = ""
    """Reason of the deciding vote, or of the operator."""

    escalated: int = 0
    """Steps of the escalation that were taken."""

    @property
    def is_open(self) -> bool:
        """Whether votes still count."""
        return self.status is Status.PENDING

    def closed(self, status: Status, *, at: float, because: str = "") -> "Review":
        """Return the review at its end. Raises: VoteRefused if it has ended already."""
        if status not in TRANSITIONS[self.status]:
            raise VoteRefused(f"The review was {self.status.value} already.")
        return msgspec.structs.replace(self, status=status, closed_at=at, closed_because=because)

    def with_vote(self, vote: Vote, flow: Flow) -> "Review":
        """Return the review with one more vote, and at its end if that decides.

        Raises: VoteRefused, with a sentence for the voter, for every vote that must not count.
        """
        if not self.is_open:
            raise VoteRefused(f"The review was {self.status.value} already.")
        if vote.at >= self.expires_at:
            raise VoteRefused("The review has expired.")
        flow.admit(vote.voter, is_self=self.is_self(vote.voter))
        if any(vote.voter.is_same(given.voter) for given in self.votes):
            raise VoteRefused("You have voted on this review already.")
        if vote.ttl_s is not None and not 0 < vote.ttl_s <= self.needed.ttl_s:
            raise VoteRefused(f"An approval of this review holds for {self.needed.ttl_s:g} s at most.")
        if vote.verdict is Verdict.DENY and not vote.reason.strip():
            raise VoteRefused("A denial needs a reason: the agent is told.")
        voted = msgspec.structs.replace(self, votes=(*self.votes, vote))
        return voted._decided(flow, vote)

    def is_self(self, voter: Voter) -> bool | None:
        """Whether the voter is the agent's owner or the user it acts for; `None` where that cannot be told."""
        people = {voter_name.casefold() for voter_name in (self.asker.owner, self.asker.email) if voter_name}
        if voter.email in people or (self.asker.on_behalf_of and self.asker.on_behalf_of in voter.names):
            return True
        is_comparable = not self.asker.on_behalf_of or bool(self.asker.email)
        return False if is_comparable else None

    def is_still_approved(self, flow: Flow) -> bool:
        """Whether its votes would approve it now, too: approvers may have lost their part meanwhile."""
        return self.status is Status.APPROVED and self._tally(flow) is Tally.APPROVED

    def _decided(self, flow: Flow, vote: Vote) -> "Review":
        match self._tally(flow):
            case Tally.APPROVED:
                return self.closed(Status.APPROVED, at=vote.at, because=vote.reason)
            case Tally.DENIED:
                return self.closed(Status.DENIED, at=vote.at, because=vote.reason)
            case Tally.OPEN:
                return self

    def _tally(self, flow: Flow) -> Tally:
        approving = [vote.voter for vote in self.votes if vote.verdict is Verdict.APPROVE]
        denying = [vote.voter for vote in self.votes if vote.verdict is Verdict.DENY]
        return flow.tally(
            [voter for voter in approving if flow.counts(voter, is_self=self.is_self(voter))],
            [voter for voter in denying if flow.counts(voter, is_self=self.is_self(voter))],
        )
