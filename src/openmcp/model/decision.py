"""What policy says of one message (`Decision`), and the proof that it may go (`Permitted`)."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property

import msgspec

from openmcp.mcp import methods
from openmcp.mcp.message import Message
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.content import ContentRule
from openmcp.model.facts import DecisionInput
from openmcp.model.grant import Grant
from openmcp.model.server import Server
from openmcp.model.session import Session


class Effect(IntEnum):
    """What a rule does; the strictest of all that match wins."""

    ALLOW = 1
    REQUIRE_APPROVAL = 2
    DENY = 3

    @cached_property
    def label(self) -> str:
        """The word used in configuration and records: `allow`, `require-approval`, `deny`."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class RuleRef:
    """Which rule, in which policy."""

    policy: str
    rule: str

    def __str__(self) -> str:
        return f"{self.policy}/{self.rule}"


class Verdict(Enum):
    """What came of one rule."""

    MATCHED = "matched"
    BY_ERROR = "matched-by-error"
    """A condition could not be evaluated, and the rule is not one that allows: an error never widens access."""

    NOT_MATCHED = "not-matched"
    POSSIBLE = "possible"
    """In lists: some argument would make it match."""

    NOT_ATTACHED = "not-attached"
    """It speaks of other servers or other agents."""


class Considered(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of an explanation: a rule, and why it matched or not."""

    rule: RuleRef
    effect: str
    """`allow`, `deny`, `require-approval`; `content` for a content rule."""

    verdict: Verdict
    because: str = ""
    """The part of the rule that settled it: `servers`, `agents`, `match.tools`, `match.arguments[0]`, `when[1]`,
    `unless[0]`, `phase`; empty where all of it held."""

    detail: str = ""
    """The engine's words where a part could not be evaluated. Names of fields, never a value."""

    level: str = "all"
    """Where the rule is visible: `all` servers, `server`, `agent` (pairs of agent and server)."""

    is_shadow: bool = False
    phase: str = "call"


@dataclass(frozen=True, slots=True)
class ApprovalNeeded:
    """What one matching `require-approval` rule asks for; a grant has to cover it."""

    rule: RuleRef
    flow: str
    ttl_s: float
    """How long a yes holds, in seconds."""

    scope: str
    """`call`, `session`, `agent`, `agent+tool`, `agent+tool+args`, `agent+rule`."""

    max_uses: int | None = None
    """`None` = as often as it is used within its life."""

    reason: str = ""
    digest: str = ""
    """Of the rule as it was written: a yes to another wording is no yes to this one."""


@dataclass(frozen=True)
class Decision:
    """The effect of all rules on one message, with the rule that made it."""

    effect: Effect
    rule: RuleRef | None
    """The deciding rule; `None` = no rule matched and the default decided."""

    reason: str = ""
    """Shown to the agent; empty = the subject stays hidden."""

    revision: str = ""
    """Revision of the snapshot that decided."""

    matched: tuple[RuleRef, ...] = ()
    would: tuple[tuple[RuleRef, Effect], ...] = ()
    """Shadow rules that matched, and what they would have done."""

    approvals: tuple[ApprovalNeeded, ...] = ()
    """What humans have to say yes to, one for each matching rule; empty where nobody is asked."""

    considered: tuple[Considered, ...] = ()
    """Rules whose `match` covers the message and whose conditions were looked at, and what came of them."""

    input: DecisionInput | None = None
    """What was looked at, where rules looked at more than agent, server, method and name."""

    request_rules: tuple[ContentRule, ...] = ()
    response_rules: tuple[ContentRule, ...] = ()

    @cached_property
    def is_allowed(self) -> bool:
        """Whether the message may go on (perhaps only after a human's yes)."""
        return self.effect is not Effect.DENY

    @cached_property
    def needs_approval(self) -> bool:
        """Whether a human has to say yes first."""
        return self.effect is Effect.REQUIRE_APPROVAL


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with every rule of the snapshot, and why it matched or not."""

    input: DecisionInput
    decision: Decision
    rules: tuple[Considered, ...]
    """All rules, in the order of the files; those that are not attached too."""


class Permitted(msgspec.Struct, frozen=True):
    """The proof that something may be sent upstream; `upstream/` accepts nothing else.

    Made by `admit` and `own` of `gateway.py` only (an AST check keeps it so).
    """

    server: Server
    arrival: Arrival
    headers: tuple[tuple[str, str], ...] = ()
    """What goes upstream beside framing, host and credentials."""

    agent: Agent | None = None
    """`None`: the gateway itself asks."""

    decision: Decision | None = None
    """`None` where the gateway itself asks."""

    grants: tuple[Grant, ...] = ()
    said: dict[str, str] = {}
    """What was said last in each field of the stream that answers this; changed in place by inspection."""

    @property
    def http_method(self) -> str:
        """`POST`, `GET` or `DELETE`."""
        return self.arrival.http_method

    @property
    def message(self) -> Message | None:
        """What is sent; `None` for GET and DELETE."""
        return self.arrival.message

    @property
    def session(self) -> Session | None:
        """The legacy session it belongs to."""
        return self.arrival.session

    @property
    def is_opening(self) -> bool:
        """Whether this is an `initialize`: answered as one body, because the session id goes before its result."""
        return self.arrival.method == methods.INITIALIZE

    @property
    def may_stream(self) -> bool:
        """Whether an answer that comes as a stream is passed on as one."""
        return not self.is_opening and (self.is_request or self.http_method == "GET")

    @property
    def is_request(self) -> bool:
        """Whether an answer is awaited."""
        message = self.arrival.message
        return message is not None and message.kind.is_request
