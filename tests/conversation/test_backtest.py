"""`openmcp policy backtest` on what the gateway has recorded: exactly what would change, and what cannot be told."""

import json
from pathlib import Path
from typing import Any

import pytest

from openmcp.cli.main import main
from openmcp.model.server import Bodies
from tests.conversation.agent import Agent
from tests.conversation.site import Setting, Site, allow, deny, only, site_of
from tests.unit.config.writing import agent, key, policy, resource, server, source, write

Capture = pytest.CaptureFixture[str]
Report = dict[str, Any]
ALLOW_ALL = "{id: all, match: {tools: ['**'], resources: ['**'], prompts: ['**']}, effect: allow}"


async def calls(site: Site, agent: Agent, tool: str, **arguments: Any) -> None:
    call = agent.calls_tool(tool, **arguments)
    (await site.takes("tools/call")).answers({"content": []})
    await call.result()


async def recorded(site: Site, folder: Path) -> Path:
    """The log so far, as a file."""
    await site.lines()
    path = folder / "audit.jsonl"
    path.write_bytes(bytes(site.sink.data))
    return path


class Trial:
    """New policies on a log."""

    def __init__(self, folder: Path, capsys: Capture) -> None:
        self.folder = folder
        self.capsys = capsys

    def report(self, log: Path, *documents: str, code: int | None = None, options: tuple[str, ...] = ()) -> Report:
        policies = write(self.folder / "new", *documents)
        arguments = ["policy", "backtest", "--policies", str(policies), "--log", str(log), "--output", "json", *options]
        came = main(arguments)
        assert code is None or came == code
        report: Report = json.loads(self.capsys.readouterr().out)
        return report


@pytest.fixture
def trial(tmp_path: Path, capsys: Capture) -> Trial:
    return Trial(tmp_path, capsys)


def changes(report: Report) -> list[tuple[Any, ...]]:
    return [(one["change"], one["agent"], one["subject"], one["count"], one["rule"]) for one in report["changes"]]


async def test_the_same_policies_change_nothing(trial: Trial, tmp_path: Path) -> None:
    async with site_of(allow(tools=["read", "wipe"]), deny(tools=["wipe"])) as site:
        bot = await site.connected("legacy")
        await calls(site, bot, "read")
        await bot.calls_tool("wipe").ended()
        stream = bot.listens()
        (await site.takes("GET")).streams().ends()
        await stream.ended()
        log = await recorded(site, tmp_path)
    same = policy(
        "{id: allow, match: {tools: [read, wipe]}, effect: allow}, {id: deny, match: {tools: [wipe]}, effect: deny}",
        name="all",
    )
    report = trial.report(log, same, code=0)
    assert (report["changes"], report["gaps"], report["byOtherRule"]) == ([], [], 0)
    assert report["unchanged"] == report["decisions"] > 3


async def test_a_stricter_policy_names_just_the_calls_that_change(trial: Trial, tmp_path: Path) -> None:
    async with site_of(allow()) as site:
        bot, eve = await site.connected("modern"), await site.connected("modern", name="eve")
        for _ in range(2):
            await calls(site, bot, "read", id=1)
        await calls(site, bot, "wipe", env="prod")
        await calls(site, bot, "wipe", env="dev")
        await calls(site, eve, "wipe", env="prod")
        log = await recorded(site, tmp_path)
    stricter = policy(
        f"{ALLOW_ALL}, {{id: not-prod, match: {{tools: [wipe]}}, when: ['args.env == \"prod\"'], effect: deny}}"
    )
    report = trial.report(log, stricter, code=1)
    assert changes(report) == [("denial", "bot", "wipe", 1, "p/not-prod"), ("denial", "eve", "wipe", 1, "p/not-prod")]
    assert report["changes"][0]["formerRule"] == "all/allow"


async def test_reviews_that_people_would_be_asked_are_counted_by_what_one_yes_is_good_for(
    trial: Trial, tmp_path: Path
) -> None:
    async with site_of(allow()) as site:
        bot = await site.connected("modern")
        for minutes in (0, 5, 40):
            site.clock.now = 1_800_000_000.0 + 60 * minutes
            await calls(site, bot, "read", id=minutes)
        await calls(site, bot, "wipe")
        log = await recorded(site, tmp_path)
    asking = policy(
        "{id: ask, match: {tools: ['*']}, effect: require-approval, "
        "approval: {flow: leads, ttl: 30m, scope: agent+tool}}"
    )
    report = trial.report(log, asking, code=1, options=("--fail-on", "review"))
    found = {one["subject"]: (one["change"], one["count"], one["approvalFlow"]) for one in report["changes"]}
    assert found == {"read": ("review", 3, "leads"), "wipe": ("review", 1, "leads")}


async def test_what_would_newly_be_allowed_comes_last(trial: Trial, tmp_path: Path) -> None:
    async with site_of(only("bot", allow(tools=["read"]))) as site:
        bot = await site.connected("modern")
        await calls(site, bot, "read")
        await bot.calls_tool("wipe").ended()
        log = await recorded(site, tmp_path)
    turned = policy("{id: w, match: {tools: [wipe]}, effect: allow}, {id: r, match: {tools: [read]}, effect: deny}")
    report = trial.report(log, turned, code=0, options=("--fail-on", "never"))
    assert [one["change"] for one in report["changes"]] == ["denial", "allowance"]


@pytest.mark.parametrize("bodies", [Bodies.METADATA, Bodies.NONE])
async def test_arguments_that_were_not_kept_are_never_guessed(trial: Trial, tmp_path: Path, bodies: Bodies) -> None:
    async with site_of(allow(), setting=Setting(server={"bodies": bodies})) as site:
        bot = await site.connected("modern")
        await calls(site, bot, "wipe", env="prod")
        await calls(site, bot, "read")
        log = await recorded(site, tmp_path)
    hanging = policy(f"{ALLOW_ALL}, {{id: e, match: {{tools: [wipe]}}, when: ['args.env == \"prod\"'], effect: deny}}")
    report = trial.report(log, hanging, code=0)
    (gap,) = report["gaps"]
    assert (gap["subject"], gap["count"], report["undecidable"]) == ("wipe", 1, 1)
    assert "args not in the log" in gap["why"]
    trial.report(log, hanging, code=1, options=("--fail-on", "undecidable"))
    # Where whatever was sent comes to the same, there is nothing to guess.
    closed = policy(f"{ALLOW_ALL}, {{id: e, match: {{tools: [wipe]}}, effect: deny}}")
    assert changes(trial.report(log, closed, code=1)) == [("denial", "bot", "wipe", 1, "p/e")]


async def test_agents_and_servers_that_come_with_the_policies_count(trial: Trial, tmp_path: Path) -> None:
    async with site_of(allow()) as site:
        await calls(site, await site.connected("modern"), "read")
        log = await recorded(site, tmp_path)
    staff = policy("{id: r, match: {tools: [read]}, effect: allow}", spec=", agents: {groups: [other]}")
    assert changes(trial.report(log, staff)) == [("denial", "bot", "read", 1, "default")]
    moved = agent("bot", key("bot")).replace("{identities", "{groups: [other], identities")
    assert changes(trial.report(log, staff, moved, source(), server("desk"))) == []
    opened = resource("MCPServer", "desk", '{upstream: {replicas: ["http://h/mcp"]}, policy: {default: allow}}')
    nothing = policy("{id: r, match: {tools: [never]}, effect: deny}")
    assert changes(trial.report(log, nothing, opened, source())) == []


async def test_decisions_can_be_chosen_by_time_agent_and_server(trial: Trial, tmp_path: Path) -> None:
    async with site_of(allow()) as site:
        for name in ("bot", "eve"):
            await calls(site, await site.connected("modern", name=name), "read")
        log = await recorded(site, tmp_path)
    closed = policy("{id: r, match: {tools: [read]}, effect: deny}")
    for options, count in (
        (("--agent", "eve"), 1),
        (("--server", "other"), 0),
        (("--since", "7d"), 2),
        (("--until", "7d"), 0),
    ):
        report = trial.report(log, closed, options=options)
        assert sum(one["count"] for one in report["changes"]) == count


async def test_people_get_tables_with_the_denials_first(tmp_path: Path, capsys: Capture) -> None:
    async with site_of(allow(tools=["read"])) as site:
        bot = await site.connected("modern")
        await calls(site, bot, "read")
        log = await recorded(site, tmp_path)
    closed = write(tmp_path / "new", policy("{id: r, match: {tools: [read]}, effect: deny}"))
    assert main(["policy", "backtest", "--policies", str(closed), "--log", str(log)]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("New denials: 1")
    assert "1 would change" in shown
