"""Who may approve, and how many: an `ApprovalFlow` with the groups it names, ready to judge votes.

Made anew with each snapshot, so that a vote is judged by what is configured when it is cast,
and once more when its grant is used. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

import msgspec

from openmcp.errors import VoteRefused


class Assurance(IntEnum):
    """How sure it is who voted, weakest first."""

    CODE = 1
    """A secret that was mailed to the voter."""

    CHAT = 2
    """A chat account, or the operating system's user on the gateway's own machine."""

    LOGIN = 3
    """A login with the identity provider."""

    @property
    def label(self) -> str:
        """The word used in configuration: `code`, `chat`, `login`."""
        return self.name.lower()


class Tally(Enum):
    """What the votes come to."""

    OPEN = "open"
    APPROVED = "approved"
    DENIED = "denied"


class Voter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who votes, as the channel has verified it."""

    email: str
    """Verified and in lower case; the one name by which people are told apart."""

    assurance: Assurance
    issuer: str = ""
    subject: str = ""
    """Of the login; empty in other channels."""

    groups: frozenset[str] = frozenset()
    """What the login's claims say; empty in other channels."""

    is_operator: bool = False
    """`operator@localhost`: whoever runs as the gateway's own user. In every group, while there is no login."""

    @property
    def names(self) -> frozenset[str]:
        """Every name under which an agent's credential may say that it acts for this person."""
        subject = {self.subject, f"{self.issuer}|{self.subject}"} if self.subject else set[str]()
        return frozenset({self.email, *subject})

    def is_same(self, other: "Voter") -> bool:
        """Whether it is the same person, by whatever channel."""
        is_same_login = bool(self.subject) and (self.issuer, self.subject) == (other.issuer, other.subject)
        return self.email == other.email or is_same_login


@dataclass(frozen=True, slots=True)
class Group:
    """People who may approve."""

    name: str
    members: frozenset[str] = frozenset()
    """E-mail addresses in lower case."""

    claims: frozenset[str] = frozenset()
    """Groups of the login whose members are members here."""

    def holds(self, voter: Voter) -> bool:
        """Whether the voter is a member now."""
        return voter.is_operator or voter.email in self.members or not self.claims.isdisjoint(voter.groups)


@dataclass(frozen=True, slots=True)
class Quorum:
    """So many of one group."""

    group: Group
    approvals: int


@dataclass(frozen=True, slots=True)
class Escalation:
    """Whom to tell when nobody has answered for a while."""

    after_s: float
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Who may approve, how, and by when."""

    name: str
    any_of: tuple[Quorum, ...]
    """Each with its own count; one that is full approves."""

    deny_at: int = 1
    allows_self: bool = False
    min_assurance: Assurance = Assurance.CHAT
    deadline_s: float = 1800.0
    hold_s: float = 25.0
    hold_with_progress_s: float = 25.0
    is_reason_required: bool = False
    """Whether the agent has to say why it asks."""

    escalation: tuple[Escalation, ...] = ()
    channels: tuple[str, ...] = ()
    open_per_agent: int = 10
    cooldown_s: float = 600.0

    def admit(self, voter: Voter, *, is_self: bool | None) -> None:
        """Return if the voter may vote.

        `is_self`: whether it is the agent's owner or user; `None` = that cannot be told, and only a login counts.
        Raises: VoteRefused, with a sentence for the voter.
        """
        if not any(quorum.group.holds(voter) for quorum in self.any_of):
            raise VoteRefused("You are not an approver of this review.")
        if voter.assurance < self.min_assurance:
            raise VoteRefused(f"This review wants a vote of assurance `{self.min_assurance.label}`: use the console.")
        if self.allows_self:
            return
        if is_self:
            raise VoteRefused("This agent is your own, or acts for you: somebody else has to decide.")
        if is_self is None and voter.assurance < Assurance.LOGIN:
            raise VoteRefused("Whether this agent acts for you cannot be told here: log in to the console to vote.")

    def counts(self, voter: Voter, *, is_self: bool | None) -> bool:
        """Whether a vote of theirs counts."""
        try:
            self.admit(voter, is_self=is_self)
        except VoteRefused:
            return False
        return True

    def tally(self, approving: Sequence[Voter], denying: Sequence[Voter]) -> Tally:
        """Return what these votes of different people come to; a denial weighs more."""
        if len(denying) >= self.deny_at:
            return Tally.DENIED
        for quorum in self.any_of:
            if sum(quorum.group.holds(voter) for voter in approving) >= quorum.approvals:
                return Tally.APPROVED
        return Tally.OPEN
