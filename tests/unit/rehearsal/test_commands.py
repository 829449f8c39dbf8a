"""`openmcp policy explain` and `effective`: what people and programs are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from openmcp.cli.main import main
from tests.unit.config.writing import agent, key, policy, resource, server, source, write

Capture = pytest.CaptureFixture[str]
RULES = (
    "{id: free, match: {tools: [list]}, effect: allow}, "
    "{id: own, match: {tools: [read]}, when: ['args.owner == agent.name'], effect: allow}, "
    "{id: docs, match: {resources: ['doc://**']}, effect: allow}, "
    "{id: gated, match: {tools: ['export*']}, effect: require-approval, "
    "approval: {flow: leads, ttl: 30m, scope: agent+tool}}, "
    "{id: trial, match: {tools: [list]}, effect: deny, mode: shadow}"
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    elsewhere = policy("{id: r, match: {tools: [list]}, effect: deny}", name="other", spec=", servers: [notes]")
    return write(
        tmp_path,
        resource("GatewayConfig", "g", "{dataDir: data}"),
        server("desk"),
        server("notes"),
        source(),
        agent("bot", key("bot")),
        policy(RULES),
        elsewhere,
    )


def told(capsys: Capture, *arguments: str) -> Any:
    assert main(["policy", *arguments, "--output", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def explained(config: Path, capsys: Capture, *call: str) -> Any:
    return told(capsys, "explain", "--config", str(config), "--agent", "bot", "--server", "desk", *call)


def test_every_rule_is_told_with_its_verdict(config: Path, capsys: Capture) -> None:
    found = explained(config, capsys, "--tool", "read", "--args", '{"owner": "bot"}')
    assert (found["decision"], found["rule"]) == ("allow", "p/own")
    assert {line["rule"]: (line["verdict"], line["because"]) for line in found["rules"]} == {
        "p/free": ("not-matched", "match.tools"),
        "p/own": ("matched", ""),
        "p/docs": ("not-matched", "match.resources"),
        "p/gated": ("not-matched", "match.tools"),
        "p/trial": ("not-matched", "match.tools"),
        "other/r": ("not-attached", "servers"),
    }


def test_an_error_of_a_condition_is_told_in_the_engines_words(config: Path, capsys: Capture) -> None:
    found = explained(config, capsys, "--tool", "read")
    (line,) = [line for line in found["rules"] if line["rule"] == "p/own"]
    assert (found["decision"], line["because"]) == ("deny", "when[0]")
    assert line["detail"]


def test_what_a_rule_on_trial_would_do_is_told(config: Path, capsys: Capture) -> None:
    found = explained(config, capsys, "--tool", "list")
    assert (found["decision"], found["would"]) == ("allow", [{"rule": "p/trial", "effect": "deny"}])


def test_who_would_be_asked_is_told(config: Path, capsys: Capture) -> None:
    (approval,) = explained(config, capsys, "--tool", "export_all")["approvals"]
    assert (approval["flow"], approval["scope"], approval["ttlSeconds"]) == ("leads", "agent+tool", 1800.0)


def test_people_get_a_table(config: Path, capsys: Capture) -> None:
    arguments = ["policy", "explain", "-c", str(config), "-a", "bot", "-s", "desk", "--resource", "doc://x"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("allow, by rule p/docs")
    assert "not-attached" in shown


@pytest.mark.parametrize(
    "call",
    [
        (),
        ("--tool", "a", "--prompt", "b"),
        ("--tool", "a", "--args", "[1]"),
        ("--tool", "a", "--args", "{"),
        ("--tool", "a", "--now", "yesterday"),
        ("--tool", "a", "--header", "nothing"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(config: Path, call: tuple[str, ...]) -> None:
    assert main(["policy", "explain", "-c", str(config), "-a", "bot", "-s", "desk", *call]) == 2


def test_a_server_that_there_is_not_is_named(config: Path, capsys: Capture) -> None:
    assert main(["policy", "explain", "-c", str(config), "-a", "bot", "-s", "dsek", "--tool", "x"]) == 2
    assert "did you mean `desk`" in capsys.readouterr().err


def test_one_table_shows_what_an_agent_may_do(config: Path, capsys: Capture) -> None:
    found = told(capsys, "effective", "--config", str(config), "--agent", "bot", "--server", "desk")
    rows = {(row["kind"], row["name"]): row for row in found["rows"]}
    assert {at: (row["decision"], row["isListed"]) for at, row in rows.items()} == {
        ("tool", "list"): ("allow", True),
        ("tool", "read"): ("allow or deny", True),
        ("tool", "export*"): ("require-approval", True),
        ("tool", "*"): ("deny", False),
        ("prompt", "*"): ("deny", False),
        ("resource", "doc://**"): ("allow", True),
        ("resource", "**"): ("deny", False),
    }
    assert rows["tool", "read"]["hangsOn"] == ["own: when[0]"]
    assert rows["tool", "export*"]["approvalFlows"] == ["leads"]


def test_levels_are_merged(config: Path, capsys: Capture) -> None:
    found = told(capsys, "effective", "--config", str(config), "--agent", "bot", "--server", "notes")
    assert next(row for row in found["rows"] if row["name"] == "list")["decision"] == "deny"


def test_an_agent_that_may_use_nothing_is_told_so(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path, server("desk"), source(), policy("{id: r, match: {tools: [x]}, effect: deny}"))
    assert main(["policy", "effective", "-c", str(path), "-a", "bot", "-s", "desk"]) == 0
    assert "may not use desk at all" in capsys.readouterr().out
