"""What an agent is shown of a server, and names that do not exist: lists, catalogue, discovery, subscriptions."""

from typing import Any

import pytest

from openmcp.config.snapshot import PolicySpec, ServerSelectorSpec
from tests.conversation.agent import MODERN, Agent, Call
from tests.conversation.replica import Body, Offers, Stream
from tests.conversation.site import ERAS, Setting, Site, allow, deny, only, site_of

TOOLS: list[Body] = [{"name": "read"}, {"name": "wipe"}, {"name": "secret"}]
SUBSCRIPTION = {"io.modelcontextprotocol/subscriptionId": "x"}


async def listed(site: Site, agent: Agent, result: Body, *, method: str = "tools/list", **params: Any) -> Body:
    """What the agent sees of a list that the server answers with this result."""
    call = agent.asks(method, **params)
    (await site.takes(method)).answers(result)
    return await call.result()


# ------------------------------------------------------------ lists


@pytest.mark.parametrize("era", ERAS)
async def test_each_agent_sees_what_it_may_use(era: str) -> None:
    async with site_of(only("bot", allow(tools=["read", "wipe"])), only("eve", allow(tools=["wipe"]))) as site:
        for name, seen in (("bot", ["read", "wipe"]), ("eve", ["wipe"])):
            result = await listed(site, await site.connected(era, name=name), {"tools": TOOLS})
            assert [tool["name"] for tool in result["tools"]] == seen


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("method", "key", "field", "shown", "hidden"),
    [
        ("tools/list", "tools", "name", "read", "secret"),
        ("prompts/list", "prompts", "name", "greet", "secret"),
        ("resources/list", "resources", "uri", "doc://open", "doc://secret"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate", "doc://open", "doc://secret"),
    ],
)
async def test_every_kind_of_list_is_filtered(
    era: str, method: str, key: str, field: str, shown: str, hidden: str
) -> None:
    rules = (allow(), deny(tools=["secret"], prompts=["secret"], resources=["doc://secret"]))
    async with site_of(*rules) as site:
        entries = [{field: shown, "title": "kept"}, {field: hidden}, {"nameless": True}, "no entry", {field: 7}]
        result = await listed(site, await site.connected(era), {key: entries}, method=method)
        assert result[key] == [{field: shown, "title": "kept"}]


@pytest.mark.parametrize("era", ERAS)
async def test_a_page_may_become_empty_and_keeps_its_cursor(era: str) -> None:
    async with site_of(allow(tools=["read"])) as site:
        result = await listed(site, await site.connected(era), {"tools": [{"name": "wipe"}], "nextCursor": "p2"})
        assert (result["tools"], result["nextCursor"]) == ([], "p2")


@pytest.mark.parametrize(("ttl", "shown"), [(5_000, 5_000), (3_600_000, 60_000), ("long", 60_000), (None, 60_000)])
async def test_no_list_is_cached_for_others_or_for_long(ttl: Any, shown: int) -> None:
    async with site_of(allow()) as site:
        offered = {"tools": TOOLS, "cacheScope": "public", "ttlMs": ttl}
        result = await listed(site, await site.connected("modern"), offered)
        assert (result["cacheScope"], result["ttlMs"]) == ("private", shown)


@pytest.mark.parametrize("era", ERAS)
async def test_an_agent_without_access_sees_no_list(era: str) -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(era)
        await site.reload(only("eve", allow()))
        await bot.asks("tools/list").refused(404 if era == "modern" else 200, -32601)


async def test_a_server_whose_labels_change_is_judged_by_its_new_ones() -> None:
    """Also where a stream that began before speaks first: it must not lend its server to the others."""
    lab = PolicySpec("lab", (allow(),), servers=ServerSelectorSpec(labels={"stage": "lab"}))
    async with site_of(lab, allow(tools=["read"]), setting=Setting(server={"labels": {"stage": "lab"}})) as site:
        bot = await site.connected()
        call = bot.listens()
        stream = (await site.takes("GET")).streams()
        await call.begun()
        await site.reload(server={"labels": {"stage": "live"}})
        stream.sends(message_id=5, result={"tools": TOOLS})
        assert (await call.told())["result"]["tools"] == [{"name": "read"}]
        await bot.calls_tool("wipe").refused(200, -32602)


# ------------------------------------------------------------ discovery


async def test_discovery_names_the_revisions_that_both_speak() -> None:
    async with site_of(allow()) as site:
        offered = {"supportedVersions": ["2031-01-01", MODERN, 7, "2025-11-25"], "capabilities": {"tools": {}}}
        result = await listed(site, await site.connected("modern"), offered, method="server/discover")
        assert result == {"supportedVersions": [MODERN, "2025-11-25"], "capabilities": {"tools": {}}}


# ------------------------------------------------------------ the catalogue


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_name_never_reaches_a_server_whose_lists_are_complete(era: str) -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(era)
        await bot.calls_tool("none").refused(200, -32602)
        await bot.asks("prompts/get", name="none").refused(200, -32602)
        await bot.asks("resources/read", uri="doc://none").refused(200, -32602 if era == "modern" else -32002)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("offers", [Offers(is_complete=False), Offers(era="mute")])
async def test_an_unknown_name_passes_where_the_lists_could_not_be_read(era: str, offers: Offers) -> None:
    async with site_of(allow(), offers=offers) as site:
        call = (await site.connected(era)).calls_tool("none")
        (await site.takes("tools/call")).answers({"content": []})
        await call.result()


async def test_a_resource_that_fits_a_template_passes() -> None:
    async with site_of(allow(), offers=Offers(templates=[{"uriTemplate": "doc://page/{n}"}])) as site:
        bot = await site.connected()
        call = bot.asks("resources/read", uri="doc://page/7")
        (await site.takes("resources/read")).answers({"contents": []})
        await call.result()
        await bot.asks("resources/read", uri="doc://other/7").refused(200, -32002)


async def test_a_miss_reads_the_lists_again_but_not_all_the_time() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected()
        for _ in range(5):
            await bot.calls_tool("new").refused(200, -32602)
        assert site.replica.own.count("tools/list") == 1
        site.replica.offers.tools.append({"name": "new"})
        site.clock.moves(3)
        call = bot.calls_tool("new")
        (await site.takes("tools/call")).answers({"content": []})
        await call.result()
        assert site.replica.own.count("tools/list") == 2


@pytest.mark.parametrize("where", ["POST", "GET"])
async def test_after_list_changed_the_next_miss_reads_the_lists_at_once(where: str) -> None:
    async with site_of(allow()) as site:
        bot = await site.connected()
        await bot.calls_tool("new").refused(200, -32602)
        site.replica.offers.tools.append({"name": "new"})
        await bot.calls_tool("new").refused(200, -32602)
        told = bot.listens() if where == "GET" else bot.calls_tool("read")
        stream = (await site.takes("GET" if where == "GET" else "tools/call")).streams()
        stream.sends(method="notifications/tools/list_changed")
        assert (await told.told())["method"] == "notifications/tools/list_changed"
        call = bot.calls_tool("new")
        (await site.takes("tools/call")).answers({"content": []})
        await call.result()


async def test_an_agents_own_list_counts_for_this_agent() -> None:
    """A server may show different things to different callers."""
    async with site_of(allow()) as site:
        bot, eve = await site.connected(), await site.connected(name="eve")
        await listed(site, bot, {"tools": [{"name": "for-bot"}], "nextCursor": "2"})
        await listed(site, bot, {"tools": [{"name": "also-for-bot"}]}, cursor="2")
        for name in ("for-bot", "also-for-bot"):
            call = bot.calls_tool(name)
            (await site.takes("tools/call")).answers({"content": []})
            await call.result()
            await eve.calls_tool(name).refused(200, -32602)
        # A list that is read from its beginning takes the place of the last one.
        await listed(site, bot, {"tools": []})
        await bot.calls_tool("for-bot").refused(200, -32602)


async def test_an_entry_that_was_not_shown_is_no_reason_to_pass() -> None:
    async with site_of(allow(tools=["read"])) as site:
        bot = await site.connected()
        await listed(site, bot, {"tools": [{"name": "read"}, {"name": "extra"}]})
        await bot.calls_tool("extra").refused(200, -32602)


# ------------------------------------------------------------ subscriptions


async def listening(site: Site, agent: Agent, *uris: str) -> tuple[Call, Stream]:
    wanted: Body = {"toolsListChanged": True, "resourceSubscriptions": list(uris)}
    call = agent.asks("subscriptions/listen", notifications=wanted)
    stream = (await site.takes("subscriptions/listen")).streams()
    await call.begun()
    return call, stream


async def test_denied_resources_are_taken_out_of_a_subscription() -> None:
    async with site_of(allow(), deny(resources=["doc://secret"])) as site:
        _, stream = await listening(site, await site.connected("modern"), "doc://open", "doc://secret")
        assert stream.asked.params["notifications"] == {
            "toolsListChanged": True,
            "resourceSubscriptions": ["doc://open"],
        }


async def test_updates_of_resources_that_may_not_be_read_are_dropped() -> None:
    async with site_of(allow()) as site:
        call, stream = await listening(site, await site.connected("modern"), "doc://open", "doc://secret")
        await site.reload(allow(), deny(resources=["doc://secret"]))
        for uri in ("doc://secret", "doc://open"):
            stream.sends(method="notifications/resources/updated", params={"uri": uri, "_meta": SUBSCRIPTION})
        assert (await call.told())["params"]["uri"] == "doc://open"
        assert b"doc://secret" not in call.body


async def test_a_legacy_subscription_to_what_may_not_be_read_is_refused() -> None:
    async with site_of(allow(), deny(resources=["doc://secret"])) as site:
        bot = await site.connected()
        await bot.asks("resources/subscribe", uri="doc://secret").refused(200, -32002)
        call = bot.asks("resources/subscribe", uri="doc://open")
        (await site.takes("resources/subscribe")).answers({})
        await call.result()


@pytest.mark.parametrize("why", ["drained", "withdrawn", "cut"])
async def test_a_listen_stream_that_the_gateway_ends_gets_its_successful_end(why: str) -> None:
    async with site_of(allow()) as site:
        call, stream = await listening(site, await site.connected("modern"), "doc://open")
        if why == "drained":
            call.is_drained()
        elif why == "cut":
            stream.breaks()
        else:
            await site.reload(only("eve", allow()))
            stream.sends(method="notifications/tools/list_changed")
        end = await call.told()
        assert end["id"] == stream.asked.id
        assert end["result"]["resultType"] == "complete"
        assert end["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == stream.asked.id
        await call.ends()


# ------------------------------------------------------------ completion


@pytest.mark.parametrize("era", ERAS)
async def test_completion_is_decided_by_what_it_completes(era: str) -> None:
    async with site_of(allow(), deny(prompts=["secret"])) as site:
        bot = await site.connected(era)
        argument = {"name": "a", "value": "b"}
        call = bot.asks("completion/complete", ref={"type": "ref/prompt", "name": "secret"}, argument=argument)
        await call.refused(200, -32602)
        call = bot.asks("completion/complete", ref={"type": "ref/prompt", "name": "greet"}, argument=argument)
        (await site.takes("completion/complete")).answers({"completion": {"values": []}})
        await call.result()


async def test_what_names_nothing_that_can_be_decided_is_malformed() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected()
        await bot.asks("tools/call", arguments={}).refused(400, -32602)
        await bot.asks("completion/complete", ref={"type": "ref/other"}).refused(400, -32602)
