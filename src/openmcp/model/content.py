"""What may not pass: a `ContentRule` that applies to a message, a `Finding` that it made, what was taken out for it.

Rules are data: they name what they look for (`Pattern`), and carry no compiled thing. A
decision carries the rules; `inspection/` turns them and a message into findings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from openmcp.mcp.message import Json

_CARRIERS = ("$.params", "$.result", "$.error")


class Action(Enum):
    """What a finding does to the message, strictest first."""

    BLOCK = "block"
    REDACT = "redact"
    MASK = "mask"
    LOG = "log"


class Phase(Enum):
    """Which messages a content rule looks at."""

    CALL = "call"
    """What the agent sends, and what the server asks of the agent."""

    RESPONSE = "response"
    """Everything towards the agent."""

    LIST = "list"
    """Definitions only: the entries of lists."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a `Detector` resource, or a rule itself, looks for."""

    name: str
    """Stands in `[REDACTED:name]`, records and metrics: the resource's name, or `regex` or `keywords` within a rule."""

    regex: tuple[str, ...] = ()
    """RE2."""

    keywords: tuple[str, ...] = ()
    """Words and phrases, found whole and whatever their case."""

    validator: str = "none"
    """`luhn`, `iban` or `none`: what a match has to pass to count."""


Detect: TypeAlias = str | Pattern
"""One thing to look for: the name of a built-in or installed detector, or a pattern."""


@dataclass(frozen=True, slots=True)
class ResponseFacts:
    """What a condition on a response may look at."""

    result: Json
    """The result, `None` where there is none."""

    is_error: bool
    """Whether a tool says that it failed, or the answer is an error."""

    findings: Mapping[str, int]
    """How often each detector of the rule found something."""


@dataclass(frozen=True, slots=True)
class ContentRule:
    """One rule about content."""

    policy: str
    rule: str
    detectors: tuple[Detect, ...]
    action: Action
    reason: str = ""
    """Told to the agent where something is blocked; empty = a sentence that names no rule."""

    phase: Phase = Phase.RESPONSE
    places: tuple[str, ...] = ()
    """JSONPaths below params, result or error (`$.content[*].text`); empty = every text and every key."""

    min_count: int = 1
    """Fewer findings in a message do nothing."""

    is_shadow: bool = False
    """Whether it only records what it would have done."""

    when: Callable[[ResponseFacts], bool] | None = field(default=None, compare=False)
    """Whether the rule applies to a response; `None` = always. Errors count as yes, and never leave it."""

    def __str__(self) -> str:
        return f"{self.policy}/{self.rule}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a detector saw what it looks for. Never holds the value."""

    rule: ContentRule
    detector: str
    path: str
    """JSONPath from the message: `$.result.content[0].text`; of a header `$.headers["mcp-param-region"]`."""

    length: int
    """Characters; 0 = what was to be inspected exceeded a budget."""

    action: Action = Action.LOG
    """What was done, or in shadow would have been done: stricter than the rule's where only that was possible."""

    @property
    def place(self) -> str:
        """The path as rules write it, below params, result or error: `$.content[0].text`."""
        carrier = next((c for c in _CARRIERS if self.path == c or self.path.startswith((f"{c}.", f"{c}["))), "")
        return f"${self.path[len(carrier) :]}" if carrier else self.path


@dataclass(frozen=True, slots=True)
class Redaction:
    """One place where something was taken out. Never holds the value."""

    path: str
    """JSONPath in what was redacted: `$.result.content[0].text`."""

    detector: str
    """What found it; `key:NAME` where the name of the key was enough."""

    length: int
    """Characters that were taken out."""
