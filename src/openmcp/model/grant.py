"""The answer of a human, with an end. Made by `approvals/`, checked at the moment of forwarding."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grant:
    """Permission for what one rule gates."""

    id: str
    policy: str
    rule: str
    expires_at: float
    """Unix seconds; never used after it."""
