"""Flows: which there are, and the records of one.

`Filter` says which exchange is meant; a flow is listed when one of its exchanges is.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from openmcp.audit.reading.entries import Entry, Log
from openmcp.audit.reading.exchanges import Exchange, exchanges

_NAMES: Final = 20
"""So many agents, servers and tools of a flow are told by name."""

_SHORTEST: Final = 4
"""A flow may be called by its beginning, from this many characters."""


class FlowUnknown(Exception):
    """No flow of the log is called that, or several are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What an exchange has to be. `None` = anything."""

    agent: str | None = None
    """The agent's name, or its verified id."""

    sessions: frozenset[str] | None = None
    """Keyed digests of session ids."""

    server: str | None = None
    tool: str | None = None
    """Name of a tool, prompt or resource."""

    decision: str | None = None
    """`allow`, `deny` or `require-approval`."""

    since_ns: int | None = None
    until_ns: int | None = None

    def admits(self, exchange: Exchange) -> bool:
        """Whether the exchange is all of this."""
        agent, decision = exchange.agent, exchange.decision
        if self.agent is None:
            if exchange.is_own:
                return False
        elif agent is None or self.agent not in (agent.name, agent.id):
            return False
        return (
            (self.sessions is None or exchange.session in self.sessions)
            and self.server in (None, exchange.server)
            and self.tool in (None, exchange.name)
            and (self.decision is None or (decision is not None and decision.effect == self.decision))
            and (self.since_ns is None or exchange.last_ts >= self.since_ns)
            and (self.until_ns is None or exchange.first_ts < self.until_ns)
        )


@dataclass(slots=True)
class Flow:
    """What a list says of a flow; counts are of all its exchanges, whatever the filter."""

    id: str
    started: int
    ended: int = 0
    agents: dict[str, None] = field(default_factory=dict[str, None])
    servers: dict[str, None] = field(default_factory=dict[str, None])
    tools: Counter[str] = field(default_factory=Counter[str])
    decisions: Counter[str] = field(default_factory=Counter[str])
    exchanges: int = 0
    failures: int = 0
    """Exchanges that ended in a refusal or a failure."""

    version: str = ""
    session: str = ""
    is_meant: bool = False

    def take(self, exchange: Exchange) -> None:
        """Count one more exchange."""
        self.exchanges += 1
        self.started, self.ended = min(self.started, exchange.first_ts), max(self.ended, exchange.last_ts)
        _add(self.agents, exchange.agent.name if exchange.agent is not None else "")
        _add(self.servers, exchange.server)
        if exchange.name and (exchange.name in self.tools or len(self.tools) < _NAMES):
            self.tools[exchange.name] += 1
        if exchange.decision is not None:
            self.decisions[exchange.decision.effect] += 1
        if exchange.outcome is not None and exchange.outcome.kind != "ok":
            self.failures += 1
        self.version, self.session = exchange.version or self.version, exchange.session or self.session


def newest(log: Log, wanted: Filter, *, limit: int) -> list[Flow]:
    """Return the flows that the filter means, newest first, at most `limit`. Raises: LogNotReadable."""
    flows: dict[str, Flow] = {}
    for exchange in exchanges(log.entries()):
        flow = flows.get(exchange.flow)
        if flow is None:
            flow = flows[exchange.flow] = Flow(exchange.flow, exchange.first_ts)
        flow.take(exchange)
        flow.is_meant = flow.is_meant or wanted.admits(exchange)
    return heapq.nlargest(limit, (flow for flow in flows.values() if flow.is_meant), key=lambda flow: flow.ended)


@dataclass(slots=True)
class Found:
    """One flow of a log."""

    summary: Flow
    exchanges: set[str] = field(default_factory=set[str])
    agents: dict[str, Exchange] = field(default_factory=dict[str, Exchange])
    """An exchange of each agent that takes part, by the agent's verified id."""

    def take(self, exchange: Exchange) -> None:
        """Take one more exchange in."""
        self.summary.take(exchange)
        self.exchanges.add(exchange.id)
        if exchange.agent is not None and len(self.agents) < _NAMES:
            self.agents.setdefault(exchange.agent.id, exchange)

    def entries(self, log: Log) -> Iterator[Entry]:
        """Yield its records in order. Raises: LogNotReadable."""
        return (entry for entry in log.entries() if entry.line.exchange in self.exchanges)


def find(log: Log, name: str) -> Found:
    """Return the flow of that name, or that alone begins so, or that holds the exchange or decision of that id.

    Raises: FlowUnknown, LogNotReadable.
    """
    found: dict[str, Found] = {}
    owner = ""
    for exchange in exchanges(log.entries()):
        if exchange.id == name or name.startswith(f"{exchange.id}."):
            owner = exchange.flow
        if exchange.flow == name or (len(name) >= _SHORTEST and exchange.flow.startswith(name)):
            flow = found.setdefault(exchange.flow, Found(Flow(exchange.flow, exchange.first_ts)))
            flow.take(exchange)
    if name in found:
        return found[name]
    if owner:
        return find(log, owner)
    if len(found) > 1:
        raise FlowUnknown(f"{len(found)} flows begin with `{name}`: {', '.join(sorted(found)[:5])}")
    if not found:
        raise FlowUnknown(f"the log has no flow `{name}`; `openmcp flow list` shows what it has")
    return next(iter(found.values()))


def _add(names: dict[str, None], name: str) -> None:
    if name and len(names) < _NAMES:
        names[name] = None
