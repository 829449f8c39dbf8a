"""What may not pass: a `ContentRule` that applies to a message, and a `Finding` that it made.

A decision carries the rules; `inspection/` turns them and a message into findings.
"""

from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """What a finding does to the message, strictest first."""

    BLOCK = "block"
    REDACT = "redact"
    MASK = "mask"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class ContentRule:
    """One rule about content."""

    policy: str
    rule: str
    detectors: tuple[str, ...]
    action: Action
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a detector saw what it looks for. Never holds the value."""

    rule: ContentRule
    detector: str
    path: str
    """JSON path: `$.result.content[0].text`."""

    length: int
    """Characters."""
