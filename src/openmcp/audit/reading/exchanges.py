"""Exchanges as the log tells them, each with the flow that it belongs to.

A flow is what a person replays: the session in the legacy era; else what the writer named
(a trace, a lineage), joined over writers where one principal goes on at one server
without a long pause. One pass, in the order of time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from openmcp.audit.reading.entries import Entry
from openmcp.audit.record import AgentPart, DecisionPart, HttpPart, Line, OutcomePart, TimingPart

KeyT = TypeVar("KeyT")
ItemT = TypeVar("ItemT")

IDLE_NS: Final = 300 * 10**9
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
    is_ended: bool = False
    """Whether its last line is there; not so for what is under way, and after a crash."""

    links: set[str] = field(default_factory=set[str])
    """What ties it to earlier and later exchanges: digests of states and tasks, ids of reviews."""

    def take(self, line: Line) -> None:
        """Learn from one more line."""
        self.last_ts = max(self.last_ts, line.ts)
        self.flow = line.flow or self.flow
        self.agent = line.agent or self.agent
        self.server = line.server or self.server
        self.replica = line.replica or self.replica
        self.http = line.http or self.http
        self.outcome = line.outcome if line.type == "exchange" else self.outcome
        self.timing = line.timing or self.timing
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
        exchange.take(line)
        if line.type == "exchange":
            del open_ones[line.exchange]
            naming.name(exchange)
            yield exchange
    for exchange in open_ones.values():
        naming.name(exchange)
        yield exchange


class Naming:
    """Gives each exchange the name of its flow."""

    def __init__(self, idle_ns: int = IDLE_NS) -> None:
        self._idle_ns = idle_ns
        self._names: dict[str, str] = {}
        """Name that a writer gave → name of the whole flow."""

        self._running: dict[tuple[str, str, str], tuple[str, int]] = {}
        self._links: dict[str, str] = {}

    def name(self, exchange: Exchange) -> None:
        """Set the flow; called for exchanges in the order of their ends."""
        given = exchange.flow or exchange.id
        if exchange.session or exchange.agent is None:
            exchange.flow = given
        else:
            exchange.flow = self._names.get(given) or self._linked(exchange) or self._continued(exchange, given)
            _keep(self._names, given, exchange.flow)
            key = self._key(exchange)
            last = max(self._running.pop(key, ("", 0))[1], exchange.last_ts)
            _keep(self._running, key, (exchange.flow, last))
        for link in exchange.links:
            _keep(self._links, link, exchange.flow)

    def _linked(self, exchange: Exchange) -> str | None:
        return next((self._links[link] for link in sorted(exchange.links) if link in self._links), None)

    def _continued(self, exchange: Exchange, given: str) -> str:
        flow, last_ts = self._running.get(self._key(exchange), ("", 0))
        return flow if flow and exchange.first_ts - last_ts <= self._idle_ns else given

    def _key(self, exchange: Exchange) -> tuple[str, str, str]:
        agent = exchange.agent
        return (agent.id if agent else "", (agent.on_behalf_of if agent else None) or "", exchange.server)


def _keep(table: dict[KeyT, ItemT], key: KeyT, value: ItemT) -> None:
    if key not in table and len(table) >= _LINKS:
        del table[next(iter(table))]
    table[key] = value
