"""Pieces of lines, made of the nouns of the model and cut to size. Used by the recorder only."""

import random
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

from openmcp.audit.record import AgentPart, DecisionPart, HttpPart, McpPart, OutcomePart, TimingPart, encode
from openmcp.mcp.message import Id
from openmcp.model.agent import Agent
from openmcp.model.decision import Decision
from openmcp.model.http import Request
from openmcp.telemetry.harmless import json_line, text

NAME_CHARS: Final = 1024
SHORT_CHARS: Final = 256
DETAIL_CHARS: Final = 500
_ALL_STEPS: Final = (
    b'{"received":%d,"authn":%d,"policy":%d,"upstreamSent":%d,"upstreamFirst":%d,"upstreamLast":%d,"sent":%d}'
)
_MATCHED: Final = 64
_CACHED: Final = 4096

# Integers that every reader of JSON takes for themselves.
_LEAST: Final = -(2**53)
_MOST: Final = 2**53

NounT = TypeVar("NounT")
KeyT = TypeVar("KeyT")


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
    piece = encode(part)
    # Nearly always true, and the encoder writes no raw newline: the slow way is for the rest.
    return piece if piece.isascii() and 0x7F not in piece else json_line(piece)


class Parts(Generic[NounT]):
    """Encodes each object once: agents and decisions come back in many lines."""

    def __init__(self, make: Callable[[NounT], bytes]) -> None:
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
        raw = self._make(value)
        self._known[id(value)] = (value, raw)
        return raw


class Pieces(dict[KeyT, bytes]):
    """Encodes each value once, by equality: what comes in with requests repeats, but as new objects."""

    def __init__(self, make: Callable[[KeyT], bytes]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: KeyT) -> bytes:
        # Senders choose some of the keys; the caller has cut them to size.
        if len(self) >= _CACHED:
            self.clear()
        piece = self[key] = self._make(key)
        return piece


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


HttpKey: TypeAlias = tuple[str, str, str, str, str, str]


def http_key(request: Request) -> HttpKey:
    """Return what is told of a request, without anything that could be a secret: no query, one header."""
    agent = request.headers.get("user-agent", "")[:SHORT_CHARS]
    path = request.path[:NAME_CHARS]
    return request.method[:SHORT_CHARS], path, request.http_version, request.peer.address, request.listener, agent


def http_piece(key: HttpKey) -> bytes:
    """Return the request as it stands in a line."""
    method, path, version, peer, listener, agent = key
    return encoded(
        HttpPart(
            method=text(method),
            path=text(path, NAME_CHARS),
            version=version,
            peer=peer,
            listener=listener,
            user_agent=text(agent),
        )
    )


McpKey: TypeAlias = tuple[str, str | None, str, str]
"""Method, name, version and session: what is told of a message beside its id, which never repeats."""


def mcp_start(key: McpKey) -> bytes:
    """Return the beginning of the message's part, up to where `mcp_piece` goes on."""
    method, name, version, session = key
    piece = encoded(McpPart(method=method, name=name, version=version, session=session))
    return piece[:-1] + b"," if len(piece) > 2 else piece[:-1]


def mcp_piece(start: bytes, id: Id | None) -> bytes:
    """Return the message's part as it stands in a line."""
    if isinstance(id, int) and _LEAST <= id <= _MOST:
        return b'%b"id":%d}' % (start, id)
    if id is None:
        return start[:-1] + b"}" if len(start) > 1 else b"{}"
    return b'%b"id":%b}' % (start, encoded(_short(id)))


OutcomeKey: TypeAlias = tuple[int, int, int | None, bool | None]


def outcome_piece(key: OutcomeKey) -> bytes:
    """Return the outcome of an exchange that was not refused."""
    http, upstream, jsonrpc, is_error = key
    kind = "ok" if http else "interrupted"
    return encoded(OutcomePart(http=http, upstream=upstream, jsonrpc=jsonrpc, is_error=is_error, kind=kind))


def timing_piece(start: int, authn: int, policy: int, sent: int, first: int, last: int, end: int) -> bytes:
    """Return when each step was reached, out of Unix nanoseconds; 0 = it was not."""
    if authn and policy and sent and first and last:
        # The common case, without a struct.
        return _ALL_STEPS % (
            start,
            (authn - start) // 1000,
            (policy - start) // 1000,
            (sent - start) // 1000,
            (first - start) // 1000,
            (last - start) // 1000,
            (end - start) // 1000,
        )
    return encode(
        TimingPart(
            received=start,
            authn=(authn - start) // 1000 if authn else None,
            policy=(policy - start) // 1000 if policy else None,
            upstream_sent=(sent - start) // 1000 if sent else None,
            upstream_first=(first - start) // 1000 if first else None,
            upstream_last=(last - start) // 1000 if last else None,
            sent=(end - start) // 1000,
        )
    )


def _short(id: Id) -> str:
    """Return an id that fits a line; its sender chose it, and readers of the log know 64 bits at best."""
    return id[:SHORT_CHARS] if isinstance(id, str) else f"{id:x}"[:SHORT_CHARS]
