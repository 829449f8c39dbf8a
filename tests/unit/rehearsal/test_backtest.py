"""Recorded decisions decided again: what counts as one review, and what a record may lack."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openmcp.audit.reading.bodies import Bodies
from openmcp.audit.reading.entries import Entry
from openmcp.audit.record import AgentPart, DecisionPart, Line, McpPart, RedactionPart
from openmcp.config.loader import load
from openmcp.rehearsal.backtest import Backtest, Change, Report, Wanted
from openmcp.rehearsal.stage import Stage
from tests.unit.config.writing import policy, write

ASK = (
    "{{id: ask, match: {{tools: ['*']}}, effect: require-approval, "
    "approval: {{flow: leads, ttl: 30m, scope: {scope}}}}}"
)


class Recorded:
    """A log, written decision by decision."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def call(
        self,
        tool: str = "read",
        args: dict[str, Any] | None = None,
        *,
        at_s: float = 0.0,
        redactions: tuple[RedactionPart, ...] = (),
        of_input: tuple[RedactionPart, ...] = (),
        effect: str = "allow",
        **given: Any,
    ) -> "Recorded":
        number = len(self.lines)
        agent = {"id": "key:keys:bot", "name": "bot", "trust": "sharedSecret", **given.pop("agent", {})}
        asked = {"method": "tools/call", "kind": "tool", "name": tool}
        told = {"agent": agent, "server": {"name": "desk"}, "mcp": asked, "now": at_s, **given}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": args or {}}}
        common: dict[str, Any] = {
            "ts": int(at_s * 1e9),
            "exchange": f"x{number}",
            "agent": AgentPart("bot", "key:keys:bot"),
            "server": "desk",
            "mcp": McpPart("tools/call", tool),
        }
        message = Line(
            type="message",
            id=f"{number}.1",
            body=msgspec.Raw(msgspec.json.encode(body)),
            redactions=redactions,
            **common,
        )
        part = DecisionPart(effect, "old", "rule", input=msgspec.Raw(msgspec.json.encode(told)))
        decision = Line(
            type="decision", id=f"{number}.2", parent=f"{number}.1", decision=part, redactions=of_input, **common
        )
        self.lines += [message, decision]
        return self

    def entries(self) -> Iterator[Entry]:
        for number, line in enumerate(self.lines, 1):
            yield Entry(line, b"", Path("log"), number)


@pytest.fixture
def report(tmp_path: Path) -> Any:
    def run(recorded: Recorded, rules: str, wanted: Wanted | None = None) -> Report:
        stage = Stage(load([write(tmp_path, policy(rules))], env={}, is_rehearsal=True).snapshot)
        return Backtest(stage, Bodies(())).run(recorded.entries(), wanted or Wanted())

    return run


@pytest.mark.parametrize(
    ("scope", "reviews"), [("call", 5), ("agent+tool+args", 4), ("agent+tool", 3), ("agent+rule", 2), ("agent", 2)]
)
def test_a_yes_is_asked_for_again_when_its_scope_or_its_life_ends(report: Any, scope: str, reviews: int) -> None:
    recorded = Recorded()
    for minutes, tool, args in ((0, "read", 1), (1, "read", 1), (2, "read", 2), (3, "wipe", 1), (31, "read", 1)):
        recorded.call(tool, {"id": args}, at_s=60.0 * minutes)
    found: Report = report(recorded, ASK.format(scope=scope))
    assert sum(group.reviews for group in found.changes.values()) == reviews
    assert {key.change for key in found.changes} == {Change.REVIEW}


@pytest.mark.parametrize(
    ("condition", "gap", "is_decided"),
    [
        ("args.id == 1", RedactionPart("$.params.arguments.id", "email", 3), False),
        ("args.id == 1", RedactionPart("$.params._meta.token", "key", 3), True),
        ('server.name == \\"desk\\"', RedactionPart("$.params.arguments.id", "email", 3), True),
    ],
)
def test_redacted_arguments_make_undecidable_what_looks_at_them(
    report: Any, condition: str, gap: RedactionPart, is_decided: bool
) -> None:
    recorded = Recorded().call(args={"id": 1}, redactions=(gap,))
    rules = f'{{id: r, match: {{tools: [read]}}, when: ["{condition}"], effect: allow}}'
    found: Report = report(recorded, rules)
    assert (found.decided, found.undecided) == ((1, 0) if is_decided else (0, 1))


@pytest.mark.parametrize(
    ("condition", "place"),
    [
        ('agent.attributes.team == \\"a\\"', "$.decision.input.agent.attributes"),
        ("has(request.ip)", "$.decision.input.request.headers"),
    ],
)
def test_what_was_taken_out_of_the_input_is_not_guessed_either(report: Any, condition: str, place: str) -> None:
    recorded = Recorded().call(of_input=(RedactionPart(place, "bodies"),))
    rules = f'{{id: r, match: {{tools: [read]}}, when: ["{condition}"], effect: allow}}'
    if "has(" in condition:
        rules = rules.replace("has(request.ip)", 'request.ip == \\"x\\"')
    found: Report = report(recorded, rules)
    assert (found.decided, found.undecided) == (0, 1)


def test_a_gap_that_cannot_change_the_outcome_does_not_matter(report: Any) -> None:
    recorded = Recorded().call(redactions=(RedactionPart("$.params.arguments.id", "email", 3),))
    rules = (
        "{id: no, match: {tools: [read]}, effect: deny}, "
        "{id: r, match: {tools: [read]}, when: ['args.id == 1'], effect: allow}"
    )
    found: Report = report(recorded, rules)
    assert [(key.change, key.rule) for key in found.changes] == [(Change.DENIAL, "p/no")]


def test_an_old_record_without_its_input_is_undecidable(report: Any) -> None:
    recorded = Recorded().call()
    decision = recorded.lines[-1]
    assert decision.decision is not None
    bare = msgspec.structs.replace(decision.decision, input=msgspec.Raw())
    recorded.lines[-1] = msgspec.structs.replace(decision, decision=bare)
    found: Report = report(recorded, "{id: r, match: {tools: [read]}, effect: deny}")
    assert (found.decided, found.undecided, found.changes) == (0, 1, {})


@pytest.mark.parametrize(
    ("was", "now", "change"),
    [
        ("allow", "effect: deny", Change.DENIAL),
        ("require-approval", "effect: deny", Change.DENIAL),
        ("deny", "effect: allow", Change.ALLOWANCE),
        ("require-approval", "effect: allow", Change.ALLOWANCE),
        ("allow", "effect: require-approval, approval: {flow: f, ttl: 1h, scope: agent}", Change.REVIEW),
        ("deny", "effect: require-approval, approval: {flow: f, ttl: 1h, scope: agent}", Change.APPROVABLE),
        ("allow", "effect: allow", None),
    ],
)
def test_every_way_to_change_has_its_name(report: Any, was: str, now: str, change: Change | None) -> None:
    found: Report = report(Recorded().call(effect=was), f"{{id: r, match: {{tools: [read]}}, {now}}}")
    assert [key.change for key in found.changes] == ([] if change is None else [change])
    assert found.unchanged == (change is None)
