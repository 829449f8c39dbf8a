"""What policy says of one message (`Decision`), and the proof that it may go (`Permitted`)."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import msgspec

from openmcp.mcp import methods
from openmcp.mcp.message import Message
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.content import ContentRule
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
