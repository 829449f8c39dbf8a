"""Pieces of lines, made of the nouns of the model and cut to size. Used by the recorder only."""

import random
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from openmcp.audit.record import AgentPart, DecisionPart, HttpPart, encode
from openmcp.mcp.message import Id
from openmcp.model.agent import Agent
from openmcp.model.decision import Decision
from openmcp.model.http import Request
from openmcp.telemetry.harmless import json_line, text

NAME_CHARS: Final = 1024
SHORT_CHARS: Final = 256
DETAIL_CHARS: Final = 500
_MATCHED: Final = 64
_CACHED: Final = 4096

NounT = TypeVar("NounT")


class Ids:
    """Ids in the form of UUIDv7 (RFC 9562 §5.7) that sort by time. They name, they never authorise.

    The random tail is the process's, and a counter stands where more randomness could: that is
    enough to be unique, and costs a fifth.
    """

    def __init__(self) -> None:
        tail = random.getrandbits(62)
        self._tail = f"{0x8000 | tail >> 48:04x}-{tail & 0xFFFFFFFFFFFF:012x}"
        self._count = 0
        self._ms = -1
        self._head = ""

    def next(self, now_ns: int) -> str:
        """Return the next id."""
        ms = now_ns // 1_000_000
        if ms > self._ms:
            self._ms, self._count = ms, 0
            self._head = f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7"
        elif self._count == 0xFFF:
            # More than 4,096 in a millisecond, or a clock that went back: borrow from the next one.
            self._ms, self._count = self._ms + 1, 0
            self._head = f"{self._ms >> 16:08x}-{self._ms & 0xFFFF:04x}-7"
        else:
            self._count += 1
        return f"{self._head}{self._count:03x}-{self._tail}"


def encoded(part: object) -> bytes:
    """Return a part as JSON that cannot forge a line."""
    return json_line(encode(part))


class Parts(Generic[NounT]):
    """Encodes each object once: agents and decisions come back in many lines."""

    def __init__(self, make: Callable[[NounT], object]) -> None:
        self._make = make
        # By identity, since comparing costs more than encoding; holding the object keeps its identity its own.
        self._known: dict[int, tuple[NounT, bytes]] = {}

    def of(self, value: NounT) -> bytes:
        """Return the encoded part."""
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        if len(self._known) >= _CACHED:
            self._known.clear()
        raw = encoded(self._make(value))
        self._known[id(value)] = (value, raw)
        return raw


def agent_part(agent: Agent) -> AgentPart:
    """Return who asked; attributes of the credential stay out, they may be personal."""
    principal = agent.principal
    return AgentPart(
        name=text(agent.name, SHORT_CHARS),
        id=text(principal.id, NAME_CHARS),
        source=principal.source,
        method=principal.method,
        trust=principal.trust.label,
        fingerprint=principal.fingerprint,
        on_behalf_of=text(principal.on_behalf_of, NAME_CHARS) if principal.on_behalf_of else None,
    )


def decision_part(decision: Decision) -> DecisionPart:
    """Return what policy said."""
    rule = decision.rule
    return DecisionPart(
        effect=decision.effect.label,
        policy=rule.policy if rule else "",
        rule=rule.rule if rule else "",
        reason=text(decision.reason, DETAIL_CHARS),
        revision=decision.revision,
        matched=tuple(map(str, decision.matched[:_MATCHED])),
        would=tuple((str(ref), effect.label) for ref, effect in decision.would[:_MATCHED]),
    )


def http_part(request: Request) -> HttpPart:
    """Return the request without anything that could be a secret: no query, no header but the user agent."""
    return HttpPart(
        method=text(request.method, SHORT_CHARS),
        path=text(request.path, NAME_CHARS),
        version=request.http_version,
        peer=request.peer.address,
        listener=request.listener,
        user_agent=text(request.headers.get("user-agent", ""), SHORT_CHARS),
    )


def short_id(value: Id | None) -> Id | None:
    """Return a JSON-RPC id that fits a line; its sender chose it."""
    if isinstance(value, str):
        return value if len(value) <= SHORT_CHARS else text(value, SHORT_CHARS)
    if value is None or -(2**53) <= value <= 2**53:
        return value
    # Read by tools that know 64 bits at best.
    return f"{value:x}"[:SHORT_CHARS]
