"""What was asked in a flow and what came of it: one `Call` per exchange, for comparing and for replaying."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from openmcp.audit.reading.bodies import Bodies, BodyMissing
from openmcp.audit.reading.entries import Entry
from openmcp.audit.record import Direction, Line, OutcomePart

_FROM_AGENT, _, _FROM_SERVER, _TO_AGENT = (direction.value for direction in Direction)


@dataclass(slots=True)
class Said:
    """One message that went to the agent."""

    kind: str
    body: bytes
    """As the agent got it, with the log's redactions; empty where the log has none."""

    is_redacted: bool = False


@dataclass(slots=True)
class Call:
    """One exchange: the message of the agent, and everything that the agent got."""

    exchange: str
    server: str = ""
    session: str = ""
    version: str = ""
    http_method: str = ""
    method: str = ""
    name: str = ""
    kind: str = ""
    """Of the agent's message: `request`, `notification`, `result`, `error`; empty for GET and DELETE."""

    asked: bytes = b""
    hidden: tuple[str, ...] = ()
    """JSONPaths of what was asked that the log does not have."""

    said: list[Said] = field(default_factory=list[Said])
    decision: str = ""
    """Effect and rule, in words."""

    reason: str = ""
    decision_id: str = ""
    outcome: OutcomePart | None = None
    is_gateways: bool = False
    missing: list[str] = field(default_factory=list[str])
    """Bodies that are named and not there."""


def calls(entries: Iterable[Entry], bodies: Bodies) -> Iterator[Call]:
    """Yield each exchange when its last line comes; those without one at the end."""
    open_ones: dict[str, _Building] = {}
    for entry in entries:
        line = entry.line
        if not line.exchange:
            continue
        building = open_ones.get(line.exchange)
        if building is None:
            building = open_ones[line.exchange] = _Building(line.exchange, bodies)
        building.take(line)
        if line.type == "exchange":
            yield building.made()
            del open_ones[line.exchange]
    for building in open_ones.values():
        yield building.made()


class _Building:
    """A call whose lines are being read; holds those of one exchange."""

    def __init__(self, exchange: str, bodies: Bodies) -> None:
        self._call = Call(exchange)
        self._bodies = bodies
        self._lines: dict[str, Line] = {}
        self._order: list[Line] = []
        """What the agent got, or would have got."""

        self._replaced: set[str] = set()

    def take(self, line: Line) -> None:
        """Learn from one more line."""
        call = self._call
        call.server = line.server or call.server
        if line.http is not None:
            call.http_method = line.http.method
        if line.agent is not None:
            call.is_gateways = line.agent.id == "gateway" and line.agent.method == "own"
        if line.mcp is not None:
            call.session, call.version = line.mcp.session or call.session, line.mcp.version or call.version
        match line.type:
            case "message":
                self._message(line)
            case "decision" if line.decision is not None and not call.decision:
                decision = line.decision
                by = f"{decision.policy}/{decision.rule}" if decision.policy or decision.rule else "default"
                call.decision, call.reason, call.decision_id = f"{decision.effect} by {by}", decision.reason, line.id
            case "exchange":
                call.outcome = line.outcome or call.outcome
                if line.mcp is not None:
                    call.method, call.name = line.mcp.method or call.method, line.mcp.name or call.name
            case _:
                pass

    def made(self) -> Call:
        """Return the call."""
        for line in self._order:
            if line.id not in self._replaced and "dropped" not in line.flags:
                body, is_redacted = self._body(line)
                self._call.said.append(Said(line.kind, body, is_redacted))
        return self._call

    def _message(self, line: Line) -> None:
        call = self._call
        self._lines[line.id] = line
        if line.dir == _FROM_AGENT and not call.kind:
            call.kind, call.asked = line.kind, self._body(line)[0]
            call.hidden = tuple(part.path for part in line.redactions)
            if line.mcp is not None:
                call.method, call.name = line.mcp.method, line.mcp.name or ""
        elif line.dir in (_FROM_SERVER, _TO_AGENT):
            self._order.append(line)
            if line.dir == _TO_AGENT or "dropped" in line.flags:
                self._replaced.add(line.base)

    def _body(self, line: Line) -> tuple[bytes, bool]:
        base = self._lines.get(line.base) if line.base else None
        try:
            return self._bodies.of(line, base), bool(line.redactions or (base is not None and base.redactions))
        except BodyMissing as error:
            self._call.missing.append(str(error))
            return b"", False
