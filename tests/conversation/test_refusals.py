"""Every "no" to an agent in its form: which HTTP status, which JSON-RPC body, and what the record says of it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conversation.agent import LEGACY, MODERN, Agent, Call
from tests.conversation.replica import Body, Offers
from tests.conversation.site import ERAS, Setting, allow, deny, only, site_of

CONNECT = {"legacy": "initialize", "modern": "server/discover"}
USES: dict[str, Callable[[Agent, str], Call]] = {
    "tools/call": lambda agent, name: agent.calls_tool(name),
    "prompts/get": lambda agent, name: agent.asks("prompts/get", name=name),
    "resources/read": lambda agent, name: agent.asks("resources/read", uri=name),
}


def listens(agent: Agent) -> Call:
    """The long stream of the modern era."""
    return agent.asks("subscriptions/listen", notifications={})


def connects(agent: Agent) -> Call:
    """The first thing an agent asks."""
    return agent.asks(CONNECT["modern" if agent.is_modern else "legacy"], protocolVersion=LEGACY, capabilities={})


@pytest.mark.parametrize("era", ERAS)
async def test_an_allowed_call_reaches_the_server_and_its_answer_the_agent(era: str) -> None:
    async with site_of(allow(tools=["read"])) as site:
        bot = await site.connected(era)
        call = bot.calls_tool("read", ticket=7)
        asked = await site.replica.takes("tools/call")
        assert asked.params["arguments"] == {"ticket": 7}
        asked.answers({"content": []})
        assert await call.result() == {"content": []}
        assert await site.kind(call) == "ok"


# ------------------------------------------------------------ who asks, and where


async def test_unknown_path_is_404() -> None:
    async with site_of(allow()) as site:
        bot = site.agent()
        bot.path = "/elsewhere"
        call = bot.asks("ping")
        await call.refused(404, -32600)
        assert await site.kind(call) == "unknown-path"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("credential", [None, "omcp_bot_wrong", "omcp_nobody_wrong", "a-token-of-no-source"])
async def test_without_a_good_credential_everything_is_401(era: str, credential: str | None) -> None:
    async with site_of(allow()) as site:
        stranger = site.agent(era)
        stranger.key = credential
        for call in (connects(stranger), stranger.calls_tool("read"), stranger.notifies("notifications/progress")):
            error = await call.refused(401, -31001)
            assert call.headers["www-authenticate"].startswith("Bearer")
            assert error["data"]["reason"] == await site.kind(call) == "unauthenticated"


@pytest.mark.parametrize("scheme", ["Basic Ym90OmJvdA==", "Bearer", ""])
async def test_a_foreign_credential_is_never_anonymous(scheme: str) -> None:
    async with site_of(allow(), setting=Setting(is_anonymous_allowed=True)) as site:
        stranger = site.agent("modern", name=None)
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
        await stranger.posts(body, headers={"authorization": scheme}).refused(401, -31001)
        await stranger.posts(body, headers={"proxy-authorization": scheme}).refused(401, -31001)


@pytest.mark.parametrize("era", ERAS)
async def test_anonymous_is_whoever_presents_nothing_where_that_is_allowed(era: str) -> None:
    async with site_of(allow(), setting=Setting(is_anonymous_allowed=True)) as site:
        anyone = site.agent(era, name=None)
        call = connects(anyone)
        (await site.replica.takes(CONNECT[era])).answers({"protocolVersion": LEGACY, "supportedVersions": [MODERN]})
        await call.result()
        (last,) = [line for line in await site.lines_of(call) if line["type"] == "exchange"]
        assert last["agent"]["id"] == "anonymous"


@pytest.mark.parametrize("era", ERAS)
async def test_agent_without_any_access_is_told_so_when_it_connects(era: str) -> None:
    async with site_of(only("bot", allow())) as site:
        call = connects(site.agent(era, name="eve"))
        await call.refused(403, -31001)
        assert await site.kind(call) == "forbidden"


@pytest.mark.parametrize("era", ERAS)
async def test_a_deny_of_everything_is_no_access(era: str) -> None:
    async with site_of(allow(), only("eve", deny())) as site:
        await connects(site.agent(era, name="eve")).refused(403, -31001)


async def test_agent_without_any_access_opens_and_ends_nothing() -> None:
    async with site_of(only("bot", allow())) as site:
        bot = await site.connected()
        await site.reload(only("eve", allow()))
        for call in (bot.listens(), bot.deletes()):
            await call.refused(403, -31001)
            assert await site.kind(call) == "forbidden"


# ------------------------------------------------------------ what may be used


@pytest.mark.parametrize("era", ERAS)
async def test_denied_tool_with_a_reason_is_a_result_that_tells_it(era: str) -> None:
    async with site_of(allow(tools=["read"]), deny(tools=["wipe"], reason="Ask the owner.")) as site:
        bot = await site.connected(era)
        call = bot.calls_tool("wipe")
        result = await call.result()
        assert result["isError"] is True
        assert result.get("resultType") == ("complete" if era == "modern" else None)
        decision = result["_meta"]["openmcp.dev/decision"]
        assert (decision["effect"], decision["reason"]) == ("deny", "Ask the owner.")
        assert decision["id"] in {line["id"] for line in await site.lines_of(call)}
        assert await site.kind(call) == "denied"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("method", "denied"), [("prompts/get", "greet"), ("resources/read", "doc://open")])
async def test_denied_prompt_or_resource_with_a_reason_is_an_error_that_tells_it(
    era: str, method: str, denied: str
) -> None:
    rule = deny(prompts=["greet"], resources=["doc://open"], reason="Ask the owner.")
    async with site_of(allow(), rule) as site:
        call = USES[method](await site.connected(era), denied)
        error = await call.refused(200, -31001)
        assert (error["message"], error["data"]["reason"]) == ("Ask the owner.", "denied")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("method", "hidden", "absent"),
    [
        ("tools/call", "secret", "no-such"),
        ("prompts/get", "secret", "no-such"),
        ("resources/read", "doc://secret", "doc://no-such"),
    ],
)
async def test_hidden_and_absent_names_cannot_be_told_apart(era: str, method: str, hidden: str, absent: str) -> None:
    rules = (allow(), deny(tools=["secret"], prompts=["secret"], resources=["doc://secret"]))
    async with site_of(*rules) as site:
        bot = await site.connected(era)
        seen: list[tuple[int, Any, str]] = []
        for name in (hidden, absent):
            call = USES[method](bot, name)
            answer = await call.answer()
            assert await site.kind(call) == "hidden"
            text = json.dumps(answer["error"]).replace(name, "NAME")
            seen.append((call.status, dict(call.headers), text))
        assert seen[0] == seen[1]
        assert "openmcp" not in seen[0][2]
        assert "decision" not in seen[0][2]


@pytest.mark.parametrize("era", ERAS)
async def test_the_unknown_tool_answer_is_the_one_of_the_protocol(era: str) -> None:
    async with site_of(allow(tools=["read"])) as site:
        error = await (await site.connected(era)).calls_tool("wipe").refused(200, -32602)
        assert error == {"code": -32602, "message": "Unknown tool: wipe"}


async def test_a_resource_that_is_not_there_has_the_code_of_its_revision() -> None:
    async with site_of(allow()) as site:
        for era, code in (("legacy", -32002), ("modern", -32602)):
            call = (await site.connected(era)).asks("resources/read", uri="doc://none")
            assert (await call.refused(200, code))["data"] == {"uri": "doc://none"}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("method", ["secret/method", "initialize!", "notifications/progress"])
async def test_unknown_methods_are_refused_as_unknown(era: str, method: str) -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(era)
        call = bot.asks(method)
        await call.refused(404 if era == "modern" else 200, -32601)
        assert await site.kind(call) in ("unknown-method", "hidden")


@pytest.mark.parametrize(
    ("era", "method"), [("modern", "ping"), ("modern", "initialize"), ("legacy", "server/discover")]
)
async def test_methods_of_the_other_era_are_unknown(era: str, method: str) -> None:
    async with site_of(allow()) as site:
        await (await site.connected(era)).asks(method).refused(404 if era == "modern" else 200, -32601)


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_method_passes_where_a_rule_names_it(era: str) -> None:
    async with site_of(allow(methods=["vendor/*"])) as site:
        bot = await site.connected(era)
        call = bot.asks("vendor/ping")
        (await site.replica.takes("vendor/ping")).answers({"pong": True})
        assert (await call.result())["pong"] is True


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("method", ["notifications/unheard/of", "notifications/progress", "tools/call"])
async def test_denied_notifications_are_accepted_and_dropped(era: str, method: str) -> None:
    async with site_of(allow(), deny(methods=["notifications/progress"])) as site:
        bot = await site.connected(era)
        # A call without an id would run, and nobody could be told that it was denied.
        call = bot.notifies(method, name="read", arguments={})
        await call.accepted()
        assert await site.kind(call) in ("unknown-method", "hidden")


async def test_a_legacy_call_that_wants_a_task_is_refused_with_an_error() -> None:
    async with site_of(allow(), deny(tools=["wipe"], reason="No.")) as site:
        bot = await site.connected()
        await bot.asks("tools/call", name="wipe", arguments={}, task={"ttl": 1}).refused(200, -31001)


# ------------------------------------------------------------ what is no message


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("body", "code", "kind"),
    [
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600, "batch"),
        (b"{", -32700, "not-json"),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}', -32700, "not-json"),
        (b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}', -32600, "malformed"),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","Name":"wipe"}}', -32600, "malformed"),
    ],
)
async def test_what_has_more_than_one_reading_is_400(era: str, body: bytes, code: int, kind: str) -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(era)
        call = bot.posts(body)
        await call.refused(400, code)
        assert await site.kind(call) == kind


@pytest.mark.parametrize(
    "headers",
    [
        {"mcp-method": "tools/list"},
        {"mcp-name": "wipe"},
        {"mcp-name": None},
        {"mcp-method": None},
        {"mcp-name": "=?base64?!!!?="},
    ],
)
async def test_modern_headers_that_say_something_else_than_the_body_are_400(headers: dict[str, str | None]) -> None:
    async with site_of(allow()) as site:
        bot = await site.connected("modern")
        call = bot.asks("tools/call", name="read", arguments={}, headers=headers)
        await call.refused(400, -32020)
        assert await site.kind(call) == "header-mismatch"


async def test_a_modern_message_under_a_legacy_header_is_400() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected()
        meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
        await bot.asks("tools/call", name="read", arguments={}, _meta=meta).refused(400, -32020)


async def test_an_unknown_revision_is_400_and_names_those_that_are_spoken() -> None:
    async with site_of(allow()) as site:
        call = site.agent(version="2031-01-01").asks("tools/list")
        error = await call.refused(400, -32022)
        assert error["data"]["supported"] == [MODERN]


async def test_legacy_routing_headers_decide_nothing_and_go_nowhere() -> None:
    async with site_of(allow(tools=["read"])) as site:
        bot = await site.connected()
        headers = {"mcp-method": "tools/list", "mcp-name": "wipe", "mcp-param-region": "eu", "cookie": "canary"}
        call = bot.asks("tools/call", name="read", arguments={}, headers=headers)
        asked = await site.replica.takes("tools/call")
        assert not {"mcp-method", "mcp-name", "mcp-param-region", "cookie", "authorization"} & asked.headers.keys()
        asked.answers({"content": []})
        await call.result()


# ------------------------------------------------------------ Mcp-Param-*


def with_region(header: str) -> list[Body]:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": header}}}
    return [{"name": "read", "inputSchema": schema}]


async def test_param_headers_are_made_from_the_arguments_that_are_sent() -> None:
    async with site_of(allow(), offers=Offers(tools=with_region("Region"))) as site:
        bot = await site.connected("modern")
        headers = {"mcp-param-region": "eu", "mcp-param-other": "x"}
        call = bot.asks("tools/call", name="read", arguments={"region": "eu"}, headers=headers)
        asked = await site.replica.takes("tools/call")
        assert (asked.headers["mcp-param-region"], asked.headers["mcp-param-other"]) == ("eu", "x")
        asked.answers({"content": []})
        await call.result()


async def test_param_header_that_differs_is_refused_after_one_more_reading_of_the_lists() -> None:
    async with site_of(allow(), offers=Offers(tools=with_region("Region"))) as site:
        bot = await site.connected("modern")
        for headers in ({"mcp-param-region": "us"}, {}):
            before = site.replica.own.count("tools/list")
            call = bot.asks("tools/call", name="read", arguments={"region": "eu"}, headers=headers)
            await call.refused(400, -32020)
            assert await site.kind(call) == "header-mismatch"
            # The first call of all reads the lists once more, because nobody has seen them.
            assert site.replica.own.count("tools/list") - before == (2 if before == 0 else 1)


async def test_param_header_of_a_tool_that_has_changed_is_taken_after_one_more_reading() -> None:
    async with site_of(allow(), offers=Offers(tools=with_region("Region"))) as site:
        bot = await site.connected("modern")
        await bot.asks("tools/call", name="read", arguments={"region": "eu"}).refused(400, -32020)
        site.replica.offers.tools = with_region("Zone")
        call = bot.asks("tools/call", name="read", arguments={"region": "eu"}, headers={"mcp-param-zone": "eu"})
        asked = await site.replica.takes("tools/call")
        assert asked.headers["mcp-param-zone"] == "eu"
        asked.answers({"content": []})
        await call.result()


async def test_param_headers_of_a_denied_tool_tell_nothing() -> None:
    async with site_of(allow(), deny(tools=["read"]), offers=Offers(tools=with_region("Region"))) as site:
        bot = await site.connected("modern")
        await bot.asks("tools/call", name="read", arguments={}, headers={"mcp-param-region": "us"}).refused(200, -32602)
        assert site.replica.own == []


# ------------------------------------------------------------ too much at once


@pytest.mark.parametrize("era", ERAS)
async def test_one_agent_may_hold_only_so_many_streams(era: str) -> None:
    async with site_of(allow(), setting=Setting(streams=1)) as site:
        bot = await site.connected(era)
        eve = await site.connected(era, name="eve")
        opens = Agent.listens if era == "legacy" else listens
        what = "GET" if era == "legacy" else "subscriptions/listen"
        first = opens(bot)
        stream = (await site.replica.takes(what)).streams()
        await first.begun()
        second = opens(bot)
        await second.refused(503 if era == "legacy" else 200, -31006)
        assert await site.kind(second) == "overloaded"
        # Others have places of their own, and a place that is left can be taken again.
        opens(eve)
        await site.replica.takes(what)
        stream.ends()
        await first.ended()
        opens(bot)
        await site.replica.takes(what)
