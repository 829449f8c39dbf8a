"""Policies held against what a real server lists: `openmcp validate --probe`, `openmcp policy effective --probe`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from openmcp.cli.main import main
from tests.conversation.replica import Offers, Replica
from tests.unit.config.writing import policy, resource, source, write

Capture = pytest.CaptureFixture[str]
READ = {
    "name": "ticket_read",
    "inputSchema": {"type": "object", "properties": {"id": {"type": "string"}, "project": {"type": "string"}}},
}
SEARCH = {"name": "ticket_search", "inputSchema": {"type": "object"}}
GREET = {"name": "greet", "arguments": [{"name": "who"}]}
OFFERS = Offers(
    tools=[READ, SEARCH],
    prompts=[GREET],
    resources=[{"uri": "ticket://open", "name": "open"}],
    templates=[{"uriTemplate": "ticket://{id}", "name": "ticket"}],
)


async def warned(folder: Path, rules: str, capsys: Capture, *, offers: Offers = OFFERS, spec: str = "") -> list[str]:
    """The warnings of `validate --probe` on rules for a server that listens."""
    async with Replica(offers).listening() as replica:
        server = resource("MCPServer", "desk", f"{{upstream: {{replicas: ['{replica.url}']}}}}")
        path = write(folder, server, source(), policy(rules, spec=spec))
        assert await asyncio.to_thread(main, ["validate", "--probe", str(path)]) == 0
    return [line.partition("warning: ")[2] for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    ("match", "warning"),
    [
        ("tools: [ticket_read]", None),
        ("tools: ['ticket_*']", None),
        ("tools: [{regex: '^ticket_read$'}]", None),
        ("tools: [ticket_raed]", "the server lists no tool `ticket_raed`; did you mean `ticket_read`?"),
        ("tools: ['note_*']", "no tool that the server lists matches `note_*`"),
        ("tools: [{regex: '^note$'}]", "no tool that the server lists matches this"),
        ("prompts: [greet]", None),
        ("prompts: [ticket_read]", "the server lists no prompt `ticket_read`"),
        ("resources: ['ticket://open']", None),
        ("resources: ['ticket://T-1']", None),
        ("resources: ['ticket://**']", None),
        ("resources: ['note://x']", "the server lists no resource `note://x`"),
    ],
)
async def test_a_name_that_the_server_lacks_is_a_warning(
    tmp_path: Path, capsys: Capture, match: str, warning: str | None
) -> None:
    found = await warned(tmp_path, f"{{id: r, match: {{{match}}}, effect: allow}}", capsys)
    assert found == ([warning] if warning else [])


@pytest.mark.parametrize(
    ("rule", "argument"),
    [
        ("match: {tools: [ticket_read], arguments: [{path: $.project, in: [SUP]}]}", None),
        ("match: {tools: [ticket_read], arguments: [{path: $.prject, in: [SUP]}]}", "prject"),
        ("match: {tools: [ticket_read]}, when: ['args.id != \"\"']", None),
        ('match: {tools: [ticket_read]}, when: [\'args.?prject.orValue("") != ""\']', "prject"),
        ('match: {tools: [ticket_read]}, unless: [\'args["nmae"] == "x"\']', "nmae"),
        ("match: {tools: [ticket_search]}, when: ['args.anything != \"\"']", None),
        ("match: {prompts: [greet]}, when: ['args.whom != \"\"']", "whom"),
    ],
)
async def test_an_argument_that_no_tool_has_is_a_warning(
    tmp_path: Path, capsys: Capture, rule: str, argument: str | None
) -> None:
    found = await warned(tmp_path, f"{{id: r, {rule}, effect: allow}}", capsys)
    assert [f"has an argument `{argument}`" in text for text in found] == ([True] if argument else [])


async def test_a_list_that_was_not_read_to_its_end_says_nothing(tmp_path: Path, capsys: Capture) -> None:
    rules = "{id: r, match: {tools: [ticket_raed]}, effect: allow}"
    assert await warned(tmp_path, rules, capsys, offers=Offers(tools=[READ], is_complete=False)) == []


async def test_a_server_that_cannot_be_asked_is_named(tmp_path: Path, capsys: Capture) -> None:
    rules = "{id: r, match: {tools: [ticket_raed]}, effect: allow}"
    (warning,) = await warned(tmp_path, rules, capsys, offers=Offers(era="mute"))
    assert "can be asked" in warning


async def test_the_table_of_access_has_all_that_the_server_lists(tmp_path: Path, capsys: Capture) -> None:
    async with Replica(OFFERS).listening() as replica:
        server = resource("MCPServer", "desk", f"{{upstream: {{replicas: ['{replica.url}']}}}}")
        path = write(tmp_path, server, source(), policy("{id: r, match: {tools: ['*_read']}, effect: allow}"))
        arguments = ["policy", "effective", "-c", str(path), "-a", "bot", "-s", "desk", "--probe", "--output", "json"]
        assert await asyncio.to_thread(main, arguments) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["name"], row["decision"]) for row in rows if not row["isPattern"]] == [
        ("ticket_read", "allow"),
        ("ticket_search", "deny"),
        ("greet", "deny"),
        ("ticket://open", "deny"),
    ]
