"""Recorded decisions decided again under other policies: what would change, and what cannot be told.

What a decision looked at stands in its record; its arguments stand in the message that the
record points to. Where something is not there (bodies that were not kept, values that were
redacted), the rules are asked what that could change: if it could change the outcome, the
decision is undecidable, and is never guessed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import msgspec

from openmcp.audit.reading.bodies import Bodies, BodyMissing
from openmcp.audit.reading.entries import Entry
from openmcp.audit.record import DecisionPart, Line
from openmcp.mcp.message import Json, canonical
from openmcp.model.decision import ApprovalNeeded, Decision, Effect
from openmcp.model.facts import DecisionInput
from openmcp.rehearsal.arguments import arguments_of, takes_none
from openmcp.rehearsal.outlook import Outlooks
from openmcp.rehearsal.stage import Stage

_EFFECTS: Final = {effect.label: effect for effect in Effect}
_SAMPLES: Final = 5
"""Decisions of each group that are named, so that a person can look one up."""

_LINES: Final = 10_000
"""Lines that wait for others of their exchange; of a log that was cut, the oldest are forgotten."""


class Change(IntEnum):
    """How a decision would change, worst first."""

    DENIAL = 0
    """What was allowed, or could be approved, would be denied."""

    REVIEW = 1
    """A human would be asked where nobody was."""

    APPROVABLE = 2
    """What was denied could be approved by a human."""

    ALLOWANCE = 3
    """What was denied, or needed a human, would be allowed."""

    @property
    def label(self) -> str:
        """The word for it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What changed decisions are put together by."""

    change: Change
    rule: str
    """The rule that would decide now; `default` where none would."""

    former_rule: str
    agent: str
    server: str
    subject: str
    """Tool, prompt or resource; the method, where it names none."""


@dataclass(slots=True)
class Group:
    """Decisions that would change in the same way."""

    count: int = 0
    first_ts: int = 0
    last_ts: int = 0
    flow: str = ""
    """The approval flow that would be asked."""

    reviews: int = 0
    """Times that people would be asked, if each yes holds for its scope and life."""

    samples: list[str] = field(default_factory=list[str])
    """Ids of decisions."""


@dataclass(frozen=True, slots=True)
class GapKey:
    """Why decisions cannot be told."""

    why: str
    agent: str
    server: str
    subject: str


@dataclass(slots=True)
class Report:
    """What came of a backtest."""

    decided: int = 0
    unchanged: int = 0
    by_other_rule: int = 0
    """Unchanged ones that another rule would make."""

    changes: dict[GroupKey, Group] = field(default_factory=dict[GroupKey, Group])
    undecidable: dict[GapKey, Group] = field(default_factory=dict[GapKey, Group])

    @property
    def changed(self) -> int:
        """How many decisions would change."""
        return sum(group.count for group in self.changes.values())

    @property
    def undecided(self) -> int:
        """How many decisions cannot be told."""
        return sum(group.count for group in self.undecidable.values())

    def has(self, *changes: Change) -> bool:
        """Whether any decision would change in one of these ways."""
        return any(key.change in changes for key in self.changes)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which recorded decisions are looked at."""

    since_ns: int = 0
    until_ns: int = 1 << 63
    agent: str = ""
    server: str = ""

    def covers(self, line: Line) -> bool:
        """Whether this decision is."""
        if not self.since_ns <= line.ts < self.until_ns:
            return False
        agent = line.agent
        if self.agent and (agent is None or self.agent not in (agent.name, agent.id)):
            return False
        return self.server in ("", line.server)


class Backtest:
    """Decides again."""

    def __init__(self, stage: Stage, bodies: Bodies) -> None:
        self._stage = stage
        self._outlooks = Outlooks(stage.engine)
        self._bodies = bodies
        self._reviews: dict[tuple[object, ...], float] = {}
        self.report = Report()

    def run(self, entries: Iterable[Entry], wanted: Wanted) -> Report:
        """Return what would change, of decisions in the order of time."""
        for line, messages in _decisions(entries):
            if wanted.covers(line) and line.decision is not None:
                self._decide(line, line.decision, messages)
        return self.report

    def _decide(self, line: Line, former: DecisionPart, messages: dict[str, Line]) -> None:
        given = _input_of(former)
        if given is None:
            self._gap(line, "the record tells nothing of what was looked at")
            return
        unknown = _missing(line)
        args = self._arguments(line, given, messages)
        if args is None:
            unknown |= {"args"}
        given = self._now(msgspec.structs.replace(given, args={} if args is None else args))
        if not given.mcp.method:
            # A stream, or the end of a session: only whether the server may be used at all is decided.
            access = self._stage.engine.access(given.agent.agent(), given.server.server())
            self._compare(line, former, given=given, decision=access, effect=access.effect)
            return
        outlook = self._outlooks.of(given, frozenset(unknown))
        if outlook.effect is None:
            places = ", ".join(f"{rule.rule} ({rule.because})" for rule in outlook.possible)
            self._gap(line, f"{' and '.join(sorted(unknown))} not in the log; looked at by {places}")
            return
        self._compare(line, former, given=given, decision=outlook.decision, effect=outlook.effect)

    def _compare(
        self, line: Line, former: DecisionPart, *, given: DecisionInput, decision: Decision, effect: Effect
    ) -> None:
        report = self.report
        report.decided += 1
        was = _EFFECTS.get(former.effect)
        former_rule = f"{former.policy}/{former.rule}" if former.rule else "default"
        rule = str(decision.rule) if decision.rule is not None else "default"
        if was is effect or was is None:
            report.unchanged += 1
            report.by_other_rule += rule != former_rule
            return
        agent = line.agent.name if line.agent is not None else given.agent.name
        key = GroupKey(_change(was, effect), rule, former_rule, agent, line.server, _subject(given))
        group = report.changes.setdefault(key, Group(first_ts=line.ts))
        _count(group, line)
        if decision.approvals:
            group.flow = ", ".join(dict.fromkeys(needed.flow for needed in decision.approvals))
            group.reviews += sum(self._is_asked(needed, given) for needed in decision.approvals)

    def _is_asked(self, needed: ApprovalNeeded, given: DecisionInput) -> bool:
        """Whether people would be asked now, and not have answered already."""
        key = (given.agent.id, given.server.name, *_scope(needed, given))
        answered_at = self._reviews.get(key)
        if needed.scope != "call" and answered_at is not None and given.now < answered_at + needed.ttl_s:
            return False
        self._reviews[key] = given.now
        return True

    def _arguments(self, line: Line, given: DecisionInput, messages: dict[str, Line]) -> Json:
        """Return the arguments of a call; `None` where the log does not have them as they were."""
        if takes_none(given.mcp.method):
            return {}
        asked = messages.get(line.parent)
        if asked is None:
            return None
        base = messages.get(asked.base) if asked.base else None
        if any(_is_argument(part.path) for one in (asked, base) if one is not None for part in one.redactions):
            return None
        try:
            body = self._bodies.of(asked, base)
        except BodyMissing:
            return None
        return arguments_of(given.mcp.method, body) if body else None

    def _now(self, given: DecisionInput) -> DecisionInput:
        """Return the input with agent and server as the new policies' own configuration has them, if it has."""
        server, agent = given.server, given.agent
        if self._stage.knows_server(server.name):
            server = self._stage.server(server.name)
        if self._stage.knows_agent(agent.name):
            known = self._stage.agent(agent.name)
            agent = msgspec.structs.replace(agent, groups=known.groups, labels=known.labels)
        return msgspec.structs.replace(given, server=server, agent=agent)

    def _gap(self, line: Line, why: str) -> None:
        agent = line.agent.name if line.agent is not None else ""
        subject = (line.mcp.name or line.mcp.method) if line.mcp is not None else ""
        group = self.report.undecidable.setdefault(GapKey(why, agent, line.server, subject), Group(first_ts=line.ts))
        _count(group, line)


def _decisions(entries: Iterable[Entry]) -> Iterator[tuple[Line, dict[str, Line]]]:
    """Yield each decision on what an agent asked, with the messages of its exchange so far, by id."""
    open_ones: dict[str, dict[str, Line]] = {}
    for entry in entries:
        line = entry.line
        if not line.exchange:
            continue
        if line.type == "exchange":
            open_ones.pop(line.exchange, None)
            continue
        if line.type == "message":
            if len(open_ones) >= _LINES and line.exchange not in open_ones:
                open_ones.pop(next(iter(open_ones)))
            open_ones.setdefault(line.exchange, {})[line.id] = line
        elif line.type == "decision":
            yield line, open_ones.get(line.exchange, {})


def _input_of(decision: DecisionPart) -> DecisionInput | None:
    if not decision.input:
        return None
    try:
        return msgspec.json.decode(bytes(decision.input), type=DecisionInput)
    except msgspec.DecodeError:
        return None


def _missing(line: Line) -> set[str]:
    """Return the groups of variables that are not all in a decision's record."""
    paths = (part.path.removeprefix("$.decision.input.") for part in line.redactions)
    return {path.partition(".")[0].partition("[")[0] for path in paths} & {"agent", "request", "session", "tool"}


def _is_argument(path: str) -> bool:
    return not path.startswith("$.params._meta")


def _subject(given: DecisionInput) -> str:
    return given.mcp.uri or given.mcp.name or given.mcp.method


def _change(was: Effect, now: Effect) -> Change:
    if now is Effect.DENY:
        return Change.DENIAL
    if now is Effect.ALLOW:
        return Change.ALLOWANCE
    return Change.REVIEW if was is Effect.ALLOW else Change.APPROVABLE


def _scope(needed: ApprovalNeeded, given: DecisionInput) -> tuple[object, ...]:
    match needed.scope:
        case "agent":
            return ("agent",)
        case "agent+rule":
            return (needed.rule,)
        case "session":
            return (needed.rule, given.session.id)
        case "agent+tool":
            return (needed.rule, given.mcp.subject)
        case _:
            return (needed.rule, given.mcp.subject, canonical(given.args))


def _count(group: Group, line: Line) -> None:
    group.count += 1
    group.last_ts = max(group.last_ts, line.ts)
    if len(group.samples) < _SAMPLES:
        group.samples.append(line.id)
