"""Exchanges as the log tells them, each with the flow that it belongs to.

A flow is what a person replays: the session in the legacy era; else what the writer named
(a trace, a lineage), joined over writers where one principal goes on at one server
without a long pause. One pass, in the order of time.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

from openmcp.audit.reading.entries import Entry
from openmcp.audit.record import AgentPart, DecisionPart, HttpPart, OutcomePart, TimingPart, TracePart

KeyT = TypeVar("KeyT")
ItemT = TypeVar("ItemT")

IDLE_NS: Final = 300 * 10**9
_LINK: Final = re.compile(rb'hmac:[A-Za-z0-9_-]{16,64}|"taskId":"[^"\\]{8,1024}"')
"""Digests of states, and ids of tasks: what an agent is given and brings again. Sealed, so that nobody guesses one."""

_LINKS: Final = 100_000
"""Remembered names and links; the oldest go first. A lost one only splits a flow in two."""


@dataclass(slots=True)
class Exchange:
    """What became of one HTTP request."""

    id: str
    number: int
    """In the order of first lines, from 1."""

    first_ts: int
    last_ts: int = 0
    flow: str = ""
    agent: AgentPart | None = None
    server: str = ""
    replica: str = ""
    method: str = ""
    name: str = ""
    version: str = ""
    session: str = ""
    http: HttpPart | None = None
    decision: DecisionPart | None = None
    """The first decision, on the request itself."""

    outcome: OutcomePart | None = None
    timing: TimingPart | None = None
    trace: TracePart | None = None
    is_ended: bool = False
    """Whether its last line is there; not so for what is under way, and after a crash."""

    links: set[str] = field(default_factory=set[str])
    """What ties it to earlier and later exchanges: digests of states and tasks, ids of reviews."""

    def take(self, entry: Entry) -> None:
        """Learn from one more record."""
        line = entry.line
        # Looking for the words first costs a tenth of looking for the form.
        if (line.body or line.changes) and (b"hmac:" in entry.raw or b'"taskId"' in entry.raw):
            self.links.update(match[0].decode() for match in _LINK.finditer(entry.raw))
        if line.review is not None:
            self.links.add(f"review:{line.review.id}")
        if line.grant is not None and line.grant.review:
            self.links.add(f"review:{line.grant.review}")
        self.last_ts = max(self.last_ts, line.ts)
        self.flow = line.flow or self.flow
        self.agent = line.agent or self.agent
        self.server = line.server or self.server
        self.replica = line.replica or self.replica
        self.http = line.http or self.http
        self.outcome = line.outcome if line.type == "exchange" else self.outcome
        self.timing, self.trace = line.timing or self.timing, line.trace or self.trace
        self.is_ended = self.is_ended or line.type == "exchange"
        if line.type == "decision" and self.decision is None:
            self.decision = line.decision
        if line.mcp is not None:
            self.version = line.mcp.version or self.version
            self.session = line.mcp.session or self.session
            if line.type == "exchange" or not self.method:
                self.method, self.name = line.mcp.method or self.method, line.mcp.name or self.name

    @property
    def duration_s(self) -> float:
        """From its first to its last line, in seconds."""
        sent_us = self.timing.sent if self.timing is not None else None
        return sent_us / 1e6 if sent_us is not None else (self.last_ts - self.first_ts) / 1e9

    @property
    def is_own(self) -> bool:
        """Whether the gateway itself asked."""
        return self.agent is not None and self.agent.id == "gateway" and self.agent.method == "own"


def exchanges(entries: Iterable[Entry], *, idle_ns: int = IDLE_NS) -> Iterator[Exchange]:
    """Yield each exchange when its last line comes; those without one at the end."""
    open_ones: dict[str, Exchange] = {}
    naming = Naming(idle_ns)
    number = 0
    for entry in entries:
        line = entry.line
        if not line.exchange:
            continue
        exchange = open_ones.get(line.exchange)
        if exchange is None:
            number += 1
            exchange = open_ones[line.exchange] = Exchange(line.exchange, number, line.ts)
        exchange.take(entry)
        if line.type == "exchange":
            del open_ones[line.exchange]
            naming.name(exchange)
            yield exchange
    for exchange in open_ones.values():
        naming.name(exchange)
        yield exchange


_Key: TypeAlias = tuple[str, str, str]
"""Agent, the user for whom it acts, and server."""


class Naming:
    """Gives each exchange the name of its flow."""

    def __init__(self, idle_ns: int = IDLE_NS) -> None:
        self._idle_ns = idle_ns
        self._names: dict[str, str] = {}
        """Name that a writer gave → name of the whole flow."""

        self._running: dict[_Key, tuple[str, int]] = {}
        self._links: dict[tuple[_Key, str], str] = {}

    def name(self, exchange: Exchange) -> None:
        """Set the flow; called for exchanges in the order of their ends."""
        given = exchange.flow or exchange.id
        is_named = bool(exchange.session) or given.startswith("trace-")
        if is_named or exchange.agent is None:
            exchange.flow = given
        else:
            exchange.flow = self._names.get(given) or self._linked(exchange) or self._continued(exchange, given)
            _keep(self._names, given, exchange.flow)
            key = self._key(exchange)
            last = max(self._running.pop(key, ("", 0))[1], exchange.last_ts)
            _keep(self._running, key, (exchange.flow, last))
        for link in exchange.links:
            _keep(self._links, (self._key(exchange), link), exchange.flow)

    def _linked(self, exchange: Exchange) -> str | None:
        key, links = self._key(exchange), self._links
        return next((links[key, link] for link in sorted(exchange.links) if (key, link) in links), None)

    def _continued(self, exchange: Exchange, given: str) -> str:
        flow, last_ts = self._running.get(self._key(exchange), ("", 0))
        return flow if flow and exchange.first_ts - last_ts <= self._idle_ns else given

    def _key(self, exchange: Exchange) -> _Key:
        agent = exchange.agent
        return (agent.id if agent else "", (agent.on_behalf_of if agent else None) or "", exchange.server)


def _keep(table: dict[KeyT, ItemT], key: KeyT, value: ItemT) -> None:
    if key not in table and len(table) >= _LINKS:
        del table[next(iter(table))]
    table[key] = value
