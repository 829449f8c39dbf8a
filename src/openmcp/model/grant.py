"""The answer of a human, with an end. Made by `approvals/`, checked at the moment of forwarding."""

from enum import Enum

import msgspec


class GrantStatus(Enum):
    """Where a grant stands; all but the first are ends."""

    ACTIVE = "active"
    CONSUMED = "consumed"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """Permission for what one rule gates."""

    id: str
    """The review's."""

    policy: str
    rule: str
    expires_at: float
    """Unix seconds; never used after it."""

    key: str = ""
    """Under which the store has it: a keyed digest of whom it is for and what it covers."""

    agent: str = ""
    """Name, for people."""

    server: str = ""
    subject: str = ""
    """The tool, prompt or resource, for people; empty where more than one is covered."""

    flow: str = ""
    scope: str = ""
    rule_digest: str = ""
    definition: str = ""
    """Digest of the tool's definition that was approved; empty if there was none."""

    created_at: float = 0.0
    approvers: tuple[str, ...] = ()
    reason: str = ""
    max_uses: int | None = None
    """`None` = as often as its life allows."""

    used: int = 0
    reserved: tuple[str, ...] = ()
    """Uses under way. One whose node died is never given back: it counts as used."""

    revoked_at: float = 0.0
    revoked_by: str = ""

    def status(self, now: float) -> GrantStatus:
        """Return where it stands at this time."""
        if self.revoked_at:
            return GrantStatus.REVOKED
        if self.max_uses is not None and self.used >= self.max_uses:
            return GrantStatus.CONSUMED
        return GrantStatus.ACTIVE if now < self.expires_at else GrantStatus.EXPIRED

    @property
    def has_use_left(self) -> bool:
        """Whether one more use may begin."""
        return self.max_uses is None or self.used + len(self.reserved) < self.max_uses
