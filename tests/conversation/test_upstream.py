"""A server that is down, slow to make sense, or refuses the gateway: what its agents are told."""

from collections.abc import Callable

import pytest

from tests.conversation.replica import Asked, Offers
from tests.conversation.site import ERAS, Setting, Site, allow, only, site_of
from tests.conversation.test_refusals import CONNECT, connects

# What the server does, what comes of it, and the status where the agent connects.
FAILURES: dict[str, tuple[Callable[[Asked], None], str, int]] = {
    "401": (lambda asked: asked.says(401, b"{}"), "upstream-broken", 502),
    "403": (lambda asked: asked.says(403, b"no"), "upstream-broken", 502),
    "500": (lambda asked: asked.says(500, b"<html>"), "upstream-failed", 502),
    "503": (lambda asked: asked.says(503), "upstream-unreachable", 503),
    "302": (lambda asked: asked.says(302), "upstream-broken", 502),
    "html": (lambda asked: asked.says(200, b"<html>", content_type="text/html"), "upstream-broken", 502),
    "not-rpc": (lambda asked: asked.says(200, b'{"ok":true}'), "upstream-broken", 502),
    "empty": (lambda asked: asked.says(200), "upstream-broken", 502),
    "other-id": (lambda asked: asked.answers({}, id=999), "outcome-unknown", 200),
    "202": (lambda asked: asked.accepts(), "outcome-unknown", 200),
    "cut": (lambda asked: asked.writer.transport.abort(), "outcome-unknown", 200),
}
NOBODY = Setting(server={"retry_attempts": 1, "idle_connection_s": 0.0})


def fails(asked: Asked, how: str) -> None:
    FAILURES[how][0](asked)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("how", FAILURES)
async def test_failure_while_connecting_has_a_status(era: str, how: str) -> None:
    async with site_of(allow()) as site:
        call = connects(site.agent(era))
        fails(await site.replica.takes(CONNECT[era]), how)
        _, kind, status = FAILURES[how]
        await call.refused(status, -31005)
        assert "mcp-session-id" not in call.headers
        if kind != "outcome-unknown":
            assert await site.kind(call) == kind


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("how", FAILURES)
async def test_failure_of_a_tool_call_is_a_result_that_says_so(era: str, how: str) -> None:
    """A bare 5xx would make common clients lose their session."""
    async with site_of(allow()) as site:
        call = (await site.connected(era)).calls_tool("read")
        fails(await site.replica.takes("tools/call"), how)
        result = await call.result()
        assert result["isError"] is True
        assert "www-authenticate" not in call.headers
        assert await site.kind(call) != "ok"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("how", FAILURES)
async def test_failure_of_anything_else_is_an_error_under_200(era: str, how: str) -> None:
    async with site_of(allow()) as site:
        call = (await site.connected(era)).asks("prompts/get", name="greet")
        fails(await site.replica.takes("prompts/get"), how)
        await call.refused(200, -31005)
        assert await site.kind(call) != "ok"


async def down(site: Site) -> None:
    """Let the only replica refuse connections."""
    await site.replica.stops()


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_is_down_is_503_while_connecting(era: str) -> None:
    async with site_of(allow(), setting=NOBODY) as site:
        await down(site)
        call = connects(site.agent(era))
        await call.refused(503, -31005)
        assert call.headers["retry-after"]
        assert await site.kind(call) == "upstream-unreachable"


@pytest.mark.parametrize("era", ERAS)
async def test_a_server_that_went_down_later_costs_no_session(era: str) -> None:
    async with site_of(allow(), setting=NOBODY) as site:
        bot = await site.connected(era)
        await down(site)
        call = bot.calls_tool("read")
        assert (await call.result())["isError"] is True
        assert await site.kind(call) == "upstream-unreachable"
        await bot.asks("prompts/get", name="greet").refused(200, -31005)


async def test_a_notification_to_a_server_that_is_down_is_accepted_all_the_same() -> None:
    async with site_of(allow(), setting=NOBODY) as site:
        bot = await site.connected()
        await down(site)
        call = bot.notifies("notifications/progress", progressToken=1)
        await call.accepted()
        assert await site.kind(call) == "upstream-unreachable"
        # A lost `initialized` would leave a session that never works.
        lost = bot.notifies("notifications/initialized")
        await lost.ended()
        assert lost.status == 503


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("status", [200, 400])
async def test_the_servers_own_errors_pass(era: str, status: int) -> None:
    async with site_of(allow()) as site:
        call = (await site.connected(era)).asks("prompts/get", name="greet")
        asked = await site.replica.takes("prompts/get")
        asked.answers(status=status, error={"code": -32000, "message": "theirs"})
        assert (await call.refused(status, -32000))["message"] == "theirs"


@pytest.mark.parametrize("era", ERAS)
async def test_an_error_about_the_http_request_gets_the_id_of_what_was_asked(era: str) -> None:
    async with site_of(allow()) as site:
        call = (await site.connected(era)).asks("prompts/get", name="greet")
        asked = await site.replica.takes("prompts/get")
        asked.answers(status=400, id=None, error={"code": -32600, "message": "theirs"})
        assert (await call.answer())["id"] == asked.id


async def test_nothing_of_the_servers_http_reaches_the_agent() -> None:
    async with site_of(allow()) as site:
        call = (await site.connected()).calls_tool("read")
        asked = await site.replica.takes("tools/call")
        body = b'{"jsonrpc":"2.0","id":%d,"result":{}}' % asked.id
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: a=b\r\nServer: x\r\nLocation: /y\r\n"
        asked.writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await call.result()
        assert set(call.headers) == {"content-type", "cache-control"}


async def test_a_server_without_a_stream_of_its_own_says_so() -> None:
    async with site_of(allow()) as site:
        call = (await site.connected()).listens()
        (await site.replica.takes("GET")).says(405)
        await call.ended()
        assert call.status == 405


async def test_a_server_known_not_to_discover_is_not_asked() -> None:
    async with site_of(allow(), offers=Offers(era="legacy")) as site:
        await site.runtime.catalogues.refresh(site.server)
        call = site.agent("modern").asks("server/discover")
        await call.refused(400, -32601)
        assert await site.kind(call) == "legacy-only"


async def test_who_may_not_use_a_server_does_not_learn_its_era() -> None:
    async with site_of(only("bot", allow()), offers=Offers(era="legacy")) as site:
        await site.runtime.catalogues.refresh(site.server)
        call = site.agent("modern", name="eve").asks("server/discover")
        await call.refused(403, -31001)
        assert await site.kind(call) == "forbidden"


async def test_a_server_without_sessions_has_no_streams_and_no_ends() -> None:
    async with site_of(allow(), offers=Offers(era="sessionless")) as site:
        await site.runtime.catalogues.refresh(site.server)
        bot = site.agent()
        for call in (bot.listens(), bot.deletes()):
            await call.refused(405, -32600)
            assert call.headers["allow"] == "POST"
        call = bot.asks("tools/list")
        (await site.replica.takes("tools/list")).answers({"tools": []})
        await call.result()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS"])
async def test_other_http_methods_mean_nothing(method: str) -> None:
    async with site_of(allow()) as site:
        bot = await site.connected()
        call = bot.uses(method)
        await call.ended()
        assert (call.status, call.headers["allow"]) == (405, "GET, POST, DELETE")
