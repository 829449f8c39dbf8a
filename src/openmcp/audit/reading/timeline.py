"""A flow as a person follows it: one row per record, with what happened in words.

Pure: the same rows go to a terminal and to a web page, which colour them by their tone.
All text from outside has been made harmless.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from openmcp.audit.reading.entries import Entry
from openmcp.audit.record import DecisionPart, FindingPart, Line, OutcomePart
from openmcp.telemetry.harmless import json_line, text

_FROM_AGENT: Final = "agent→gateway"
_REASON_CHARS: Final = 300
_GONE: Final = 8


class Tone(Enum):
    """How a row is meant, for colours."""

    PLAIN = "plain"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Row:
    """One record in words."""

    ts: int
    number: int
    """The exchange, by its first appearance in the flow, from 1."""

    leg: str
    """`agent→gateway`, …; empty for what is no message."""

    what: str
    facts: tuple[str, ...]
    tone: Tone
    line: Line


class Timeline:
    """Puts records into words; keeps a number per exchange."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def rows(self, entries: Iterable[Entry]) -> Iterator[Row]:
        """Yield a row for each record."""
        return (self.row(entry.line) for entry in entries)

    def row(self, line: Line) -> Row:
        """Return one record in words."""
        number = self._numbers.setdefault(line.exchange, len(self._numbers) + 1)
        match line.type:
            case "message":
                what, facts, tone = _message(line)
            case "decision":
                what, facts, tone = _decision(line.decision)
            case "exchange":
                what, facts, tone = _end(line)
            case _:
                what, facts, tone = f"{line.type} {line.kind}".strip(), _notes(line), Tone.PLAIN
        if line.http is not None and line.type != "message":
            # GET and DELETE carry no message, so their first line is about something else.
            what = f"{line.http.method} {line.http.path}: {what}"
        # Made harmless here, whatever a field was thought to hold: a log from elsewhere may hold anything.
        return Row(line.ts, number, line.dir, text(what), tuple(map(text, facts)), tone, line)


def excerpt(line: Line, chars: int) -> str:
    """Return the beginning of what a message says: its parameters, result or error, on one line."""
    if not line.body:
        return ""
    try:
        said = _essence(msgspec.json.decode(line.body, type=_Said))
    except (msgspec.MsgspecError, RecursionError):
        # A log from elsewhere may hold anything.
        said = bytes(line.body)
    return text(json_line(said).decode(), chars) if said else ""


def pretty(body: bytes) -> list[str]:
    """Return a message in lines, indented; what a terminal would obey is escaped."""
    try:
        return [json_line(part).decode() for part in msgspec.json.format(body, indent=2).split(b"\n")] if body else []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [text(body.decode(errors="replace"))]


def redactions(line: Line) -> list[str]:
    """Return what is not in the record's body, in words."""
    return [text(f"{part.path}: {part.detector}, {part.length} characters") for part in line.redactions]


class _Said(msgspec.Struct, frozen=True):
    """The parts of a message of which one is the matter."""

    params: dict[str, msgspec.Raw] = {}
    result: dict[str, msgspec.Raw] = {}
    error: msgspec.Raw = msgspec.Raw()


def _essence(said: _Said) -> bytes:
    """Return the matter: without `_meta`, and of a call the arguments alone, since the name stands elsewhere."""
    members = {key: value for key, value in (said.params or said.result).items() if key != "_meta"}
    if "arguments" in members and set(members) <= {"name", "arguments"}:
        return bytes(members["arguments"])
    return msgspec.json.encode(members) if members else bytes(said.error)


def _message(line: Line) -> tuple[str, tuple[str, ...], Tone]:
    mcp = line.mcp
    method, name = (mcp.method, mcp.name) if mcp is not None else ("", None)
    about = text(" ".join(part for part in (method, name) if part))
    # A reply bears the method of its request, which is not what it is.
    what = f"{line.kind} of {about}" if line.kind in ("result", "error") and about else f"{line.kind} {about}".strip()
    if line.kind == "request" and line.dir == _FROM_AGENT:
        what = about
    tone = Tone.WARNING if "dropped" in line.flags or line.kind == "error" else Tone.PLAIN
    return what, _notes(line), tone


def _notes(line: Line) -> tuple[str, ...]:
    """Return what has to be said of any record."""
    notes = [text(flag) for flag in line.flags]
    if line.outcome is not None and line.type != "exchange":
        notes.append(text(line.outcome.kind))
    if line.body_state:
        notes.append(f"body {line.body_state}")
    if line.base:
        notes.append(_changes(line))
    if line.redactions:
        notes.append(f"{len(line.redactions)} redacted")
    return (*notes, *map(_finding, line.findings), *_people(line))


def _changes(line: Line) -> str:
    """Return how a message differs from the one that came in: what a list has lost, and how much else."""
    gone = [change.name for change in line.changes if change.op == "removed" and change.name]
    other = len(line.changes) - len(gone)
    without = f"without {', '.join(gone[:_GONE])}" + (f" and {len(gone) - _GONE} more" if len(gone) > _GONE else "")
    parts = [without] if gone else []
    parts += [f"{other} changed"] if other else []
    return ", ".join(parts) or "unchanged"


def _finding(finding: FindingPart) -> str:
    trial = ", on trial" if finding.is_shadow else ""
    where = f" at {text(finding.path)}" if finding.path else ""
    return text(f"{finding.detector} found{where}: {finding.action} by {finding.policy}/{finding.rule}{trial}")


def _people(line: Line) -> Iterator[str]:
    review, grant = line.review, line.grant
    if review is not None:
        by = f" by {text(review.voter)} ({text(review.assurance)})" if review.voter else ""
        yield f"review {text(review.id)} {review.step}{by}{': ' + text(review.reason) if review.reason else ''}"
    if grant is not None:
        yield f"grant {text(grant.id)} {grant.step}"


def _decision(decision: DecisionPart | None) -> tuple[str, tuple[str, ...], Tone]:
    if decision is None:
        return "decision", (), Tone.PLAIN
    by = f"by rule {decision.policy}/{decision.rule}" if decision.policy or decision.rule else "by default"
    facts = [text(decision.reason, _REASON_CHARS)] if decision.reason else []
    facts += [f"on trial: {text(rule)} would {effect}" for rule, effect in decision.would]
    tone = {"allow": Tone.GOOD, "deny": Tone.BAD}.get(decision.effect, Tone.WARNING)
    return text(f"{decision.effect} {by}"), tuple(facts), tone


def _end(line: Line) -> tuple[str, tuple[str, ...], Tone]:
    outcome = line.outcome or OutcomePart()
    what = text(outcome.kind or "ended")
    facts: list[str] = []
    if outcome.http:
        facts.append(f"HTTP {outcome.http}")
    if outcome.upstream and outcome.upstream != outcome.http:
        facts.append(f"server HTTP {outcome.upstream}")
    if outcome.jsonrpc is not None:
        facts.append(f"JSON-RPC {outcome.jsonrpc}")
    if outcome.is_error:
        facts.append("isError")
    if outcome.detail and outcome.detail != outcome.kind:
        facts.append(text(outcome.detail, _REASON_CHARS))
    facts += _durations(line)
    is_good = outcome.kind == "ok" and not outcome.is_error and outcome.jsonrpc is None
    return what, tuple(facts), Tone.GOOD if is_good else Tone.WARNING if outcome.kind == "ok" else Tone.BAD


def _durations(line: Line) -> list[str]:
    timing = line.timing
    if timing is None or timing.sent is None:
        return []
    shown = [f"{timing.sent / 1000:.1f} ms"]
    if timing.upstream_sent is not None and timing.upstream_last is not None:
        shown.append(f"server {(timing.upstream_last - timing.upstream_sent) / 1000:.1f} ms")
    return shown
