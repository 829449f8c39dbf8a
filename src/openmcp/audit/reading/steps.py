"""A flow step by step: each message with the four legs of its way, and each decision.

`in` is what the agent sent and `sent` what the server got; `received` is what the server
said and `out` what the agent got. Records lie in a spool, so a flow may be of any length.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from openmcp.audit.reading.bodies import Bodies, BodyMissing
from openmcp.audit.reading.entries import Entry
from openmcp.audit.reading.spool import Spool
from openmcp.audit.reading.timeline import Row, Timeline, excerpt, pretty, redactions
from openmcp.audit.record import Direction, Line
from openmcp.telemetry.harmless import text

LEGS: Final = ("in", "sent", "received", "out")
_FROM_AGENT, _TO_SERVER, _FROM_SERVER, _TO_AGENT = (direction.value for direction in Direction)


@dataclass(slots=True)
class Way:
    """Where the legs of one exchange lie in the spool."""

    asked: int | None = None
    sent: int | None = None
    decided: int | None = None
    ended: int | None = None
    has_reached: bool = False
    """Whether the server has got it."""


@dataclass(slots=True)
class Step:
    """One record to stop at."""

    place: int
    way: Way
    is_decision: bool = False
    out: int | None = None
    """Of a message of the server: what went out for it."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg as it is shown."""

    name: str
    note: str
    """Why there is no message, or what is to be said of it."""

    lines: list[str] = field(default_factory=list[str])
    redacted: list[str] = field(default_factory=list[str])


class Steps:
    """The steps of one flow."""

    def __init__(self, entries: Iterable[Entry], bodies: Bodies, spool: Spool) -> None:
        self._bodies = bodies
        self._spool = spool
        self._timeline = Timeline()
        self.steps: list[Step] = []
        self._ways: dict[str, Way] = {}
        self._by_id: dict[str, tuple[int, Step | None]] = {}
        for entry in entries:
            self._take(entry)

    def __len__(self) -> int:
        return len(self.steps)

    def row(self, number: int) -> Row:
        """Return the step in words; `number` counts from 0."""
        return self._timeline.row(self._spool.line(self.steps[number].place))

    def next_decision(self, number: int) -> int:
        """Return the next step that is a decision, the same step if there is none."""
        later = range(number + 1, len(self.steps))
        return next((other for other in later if self.steps[other].is_decision), number)

    def decision(self, number: int) -> Row | None:
        """Return the decision on the request of that step's exchange."""
        place = self.steps[number].way.decided
        return self._timeline.row(self._spool.line(place)) if place is not None else None

    def legs(self, number: int) -> Iterator[Leg]:
        """Yield the four legs."""
        step = self.steps[number]
        way, line = step.way, self._spool.line(step.place)
        asked = self._spool.line(way.asked) if way.asked is not None else None
        yield self._leg("in", asked, nothing="no message (GET or DELETE)" if way.asked is None else "")
        if way.sent is not None:
            yield self._leg("sent", self._spool.line(way.sent))
        elif way.has_reached:
            yield self._leg("sent", asked, note="as it came in")
        else:
            yield Leg("sent", "nothing was sent to the server")
        came = line if line.dir == _FROM_SERVER else None
        if came is None and line.base:
            came = self._line_of(line.base, direction=_FROM_SERVER)
        yield self._leg("received", came, nothing="")
        yield self._out(step, line, came)

    def _out(self, step: Step, line: Line, came: Line | None) -> Leg:
        if line.dir == _TO_AGENT:
            return self._leg("out", line)
        if step.out is not None:
            return self._leg("out", self._spool.line(step.out))
        if came is not None:
            is_dropped = "dropped" in came.flags
            return (
                Leg("out", "dropped: the agent got nothing")
                if is_dropped
                else self._leg("out", came, note="as received")
            )
        if line.type == "exchange" and line.outcome is not None:
            return Leg("out", text(f"HTTP {line.outcome.http or '-'}, {line.outcome.kind}"))
        return Leg("out", "")

    def _leg(self, name: str, line: Line | None, *, note: str = "", nothing: str = "") -> Leg:
        if line is None:
            return Leg(name, nothing)
        base = self._line_of(line.base) if line.base else None
        try:
            body = self._bodies.of(line, base)
        except BodyMissing as error:
            return Leg(name, text(str(error)))
        notes = [note, ", ".join(line.flags), _changes(line)]
        if not body:
            mcp = line.mcp
            about = " ".join(
                part for part in (line.kind, mcp.method if mcp else "", mcp.name or "" if mcp else "") if part
            )
            notes.append(
                f"{text(about)}: the log keeps no body{' (' + line.body_state + ')' if line.body_state else ''}"
            )
        lost = redactions(line) or (redactions(base) if base is not None else [])
        return Leg(name, text("; ".join(filter(None, notes))), pretty(body), lost)

    def _line_of(self, id: str, *, direction: str = "") -> Line | None:
        known = self._by_id.get(id)
        line = self._spool.line(known[0]) if known is not None else None
        return line if line is None or direction in ("", line.dir) else None

    def _take(self, entry: Entry) -> None:
        line, place = entry.line, self._spool.add(entry.raw)
        way = self._ways.setdefault(line.exchange, Way())
        step: Step | None = None
        match line.type, line.dir:
            case "message", direction if direction == _FROM_AGENT:
                way.asked = way.asked if way.asked is not None else place
            case "message", direction if direction == _TO_SERVER:
                way.sent, way.has_reached = place, True
            case "message", direction if direction == _FROM_SERVER:
                way.has_reached = True
            case "decision", _:
                way.decided = place
            case "exchange", _:
                way.ended = place
                way.has_reached = way.has_reached or (line.timing is not None and line.timing.upstream_sent is not None)
            case _:
                pass
        before = self._by_id.get(line.base, (0, None))[1] if line.dir == _TO_AGENT and line.base else None
        if before is not None:
            # Not a stop of its own: it is the other half of what the server said.
            before.out = place
        else:
            step = Step(place, way, is_decision=line.type == "decision")
            self.steps.append(step)
        if line.id and line.type == "message":
            self._by_id[line.id] = (place, step)


def _changes(line: Line) -> str:
    told = [
        f"{change.op} {text(change.path)}{' ' + text(change.name) if change.name else ''}" for change in line.changes
    ]
    return ", ".join(told[:8]) + (f" and {len(told) - 8} more" if len(told) > 8 else "")


__all__ = ["LEGS", "Leg", "Step", "Steps", "excerpt"]
