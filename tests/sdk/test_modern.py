"""The modern era through the gateway: no sessions, several rounds, listen streams, disconnects that cancel."""

import asyncio

import httpx
import mcp_types as types
import pytest
from mcp.client.session import ClientSession
from mcp.client.subscriptions import ServerEvent, Subscription
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged

from tests.sdk.clients import WAIT_S, connected, said
from tests.sdk.site import Site, new_tag
from tests.sdk.wire import MODERN, answer_of, browser, events, modern

WATCHED = "test://watched-resource"


async def test_answers_come_back_to_the_replica_that_asked(proxied: Site) -> None:
    """The replicas have different keys: at the wrong one, the state of the first round would be refused."""
    async with connected(proxied.url, MODERN) as agent:
        found = [await agent.facts("ask", question=f"Round {n}?") for n in range(8)]
    assert all(answer["asked"] == answer["replica"] for answer in found)
    assert {answer["replica"] for answer in found} == {"a", "b"}


async def test_several_rounds_in_a_row_stay_together(site: Site) -> None:
    async with connected(site.url, MODERN) as agent:
        for _ in range(4):
            assert said(await agent.call("test_input_required_result_multi_round")) == "Done after two-asked."


async def test_prompt_can_ask_too(site: Site) -> None:
    async with connected(site.url, MODERN) as agent:
        found = await agent.client.get_prompt("test_input_required_result_prompt")
        assert len(found.messages) == 1


async def test_altered_state_is_refused(site: Site) -> None:
    async with connected(site.url, MODERN) as agent:
        asked = await _first_round(agent.client.session)
        reply: types.InputResponses = {"question": types.ElicitResult(action="accept", content={"answer": "yes"})}
        for altered in (f"{asked.request_state}x", (asked.request_state or "")[:-4], "made up"):
            with pytest.raises(MCPError) as caught:
                await agent.client.session.call_tool(
                    "ask",
                    {"question": "Sure?"},
                    input_responses=reply,
                    request_state=altered,
                    allow_input_required=True,
                )
            assert caught.value.code == -32602


async def test_state_is_bound_to_the_call_it_came_from(site: Site) -> None:
    async with connected(site.url, MODERN) as agent:
        asked = await _first_round(agent.client.session)
        with pytest.raises(MCPError) as caught:
            await agent.client.session.call_tool(
                "ask", {"question": "Something else?"}, request_state=asked.request_state, allow_input_required=True
            )
        assert caught.value.code == -32602


async def _first_round(session: ClientSession) -> types.InputRequiredResult:
    found = await session.call_tool("ask", {"question": "Sure?"}, allow_input_required=True)
    assert isinstance(found, types.InputRequiredResult)
    return found


async def test_listener_hears_what_it_asked_for(site: Site) -> None:
    async with connected(site.url, MODERN) as agent:
        listening = agent.client.listen(tools_list_changed=True, resource_subscriptions=[WATCHED])
        async with listening as stream:
            assert stream.honored.tools_list_changed is True
            assert stream.honored.resource_subscriptions == [WATCHED]
            # Which replica holds the stream is the gateway's choice, so all of them are told.
            await _tell(site, "test_trigger_prompt_change")
            await _tell(site, "test_trigger_tool_change")
            assert await _next(stream) == ToolsListChanged()
            await _tell(site, "touch", uri=WATCHED)
            assert await _next(stream) == ResourceUpdated(uri=WATCHED)


async def _tell(site: Site, tool: str, **arguments: str) -> None:
    """Call a tool of each replica directly."""
    headers, body = modern("tools/call", name=tool, arguments=arguments)
    async with browser(headers) as http:
        for backend in site.replicas:
            assert (await http.post(backend.url, json=body)).status_code == 200


async def _next(stream: Subscription) -> ServerEvent:
    async with asyncio.timeout(WAIT_S):
        return await anext(stream)


async def test_closing_the_stream_cancels_the_call(site: Site) -> None:
    tag = new_tag("forever")
    headers, body = modern("tools/call", name="stream_forever", arguments={"tag": tag})
    body["params"]["_meta"]["progressToken"] = tag
    async with browser(headers) as http:
        async with http.stream("POST", site.url, json=body) as response:
            # Kept in a name: a generator that nobody holds is closed, and the response with it.
            stream = events(response)
            assert (await anext(stream)).message is not None
            assert not await site.was_seen("cancelled", tag)
        assert await (await site.where("started", tag)).saw("cancelled", tag)


async def test_closing_before_the_first_byte_cancels_too(site: Site) -> None:
    """The tool says nothing before it waits, so the answer has not begun when the client leaves."""
    tag = new_tag("hold")
    headers, body = modern("tools/call", name="hold", arguments={"tag": tag})
    async with browser(headers) as http:
        call = asyncio.create_task(http.post(site.url, json=body))
        replica = await site.where("started", tag)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await replica.saw("cancelled", tag)


async def test_modern_answers_carry_no_session(site: Site) -> None:
    headers, body = modern("tools/call", name="whoami", arguments={})
    async with browser(headers) as http:
        answer = await http.post(site.url, json=body, headers={"Mcp-Session-Id": "left-over"})
        assert answer.status_code == 200
        assert "mcp-session-id" not in answer.headers
        assert answer_of(answer)["result"]["resultType"] == "complete"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_modern_era_knows_only_post(site: Site, method: str) -> None:
    async with browser({"MCP-Protocol-Version": MODERN}) as http:
        answer: httpx.Response = await http.request(method, site.url)
        assert answer.status_code == 405
        assert "POST" in answer.headers["allow"]


async def test_lists_are_not_kept_longer_than_a_rule_may_take_to_change_them(proxied: Site) -> None:
    """The server says ten minutes."""
    headers, body = modern("tools/list")
    async with browser(headers) as http:
        assert answer_of(await http.post(proxied.url, json=body))["result"]["ttlMs"] <= 60_000
