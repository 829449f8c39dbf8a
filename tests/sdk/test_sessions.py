"""A legacy session stays with the replica that opened it, in all its parts, until it ends."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import mcp_types as types

from tests.sdk.clients import WAIT_S, Connected, connected
from tests.sdk.site import Site, new_tag
from tests.sdk.wire import answer_of, call_message, initialize, request, session

TOOLS_CHANGED = types.ToolListChangedNotification


async def test_all_calls_of_a_session_reach_one_replica(proxied: Site) -> None:
    async with connected(proxied.url, "legacy") as agent:
        assert len({await agent.replica() for _ in range(6)}) == 1
        assert len(set(await asyncio.gather(*(agent.replica() for _ in range(6))))) == 1


async def test_sessions_use_all_replicas(proxied: Site) -> None:
    async def opened() -> str:
        async with connected(proxied.url, "legacy") as agent:
            return await agent.replica()

    assert {await opened() for _ in range(6)} == {"a", "b"}


async def test_modern_requests_use_all_replicas(proxied: Site) -> None:
    async with connected(proxied.url, "2026-07-28") as agent:
        assert {await agent.replica() for _ in range(6)} == {"a", "b"}


async def test_ended_session_is_gone_here_and_at_its_replica(proxied: Site) -> None:
    async with session(proxied.url) as agent:
        assert (await agent.call("whoami")).status_code == 200
        assert (await agent.end()).is_success
        for answer in (
            await agent.call("whoami"),
            await agent.end(),
            await agent.http.get(agent.url, headers=agent.headers),
        ):
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == -32600
    seen = [entry for backend in proxied.replicas for entry in await backend.requests()]
    assert [entry["status"] for entry in seen if entry["method"] == "DELETE"][-1:] == [200]


async def test_session_id_comes_with_the_first_answer_only(proxied: Site) -> None:
    async with session(proxied.url) as agent:
        for answer in (await agent.call("whoami"), await agent.post(request("ping")), await agent.post(b"{")):
            assert "mcp-session-id" not in answer.headers


async def test_initialize_with_a_stale_id_opens_a_fresh_session(proxied: Site) -> None:
    async with session(proxied.url) as agent:
        stale = agent.id
        await agent.end()
        answer = await initialize(agent.http, agent.url, **{"Mcp-Session-Id": stale})
        assert answer.status_code == 200
        assert answer.headers["mcp-session-id"] != stale


async def test_notifications_of_the_server_arrive_on_the_get_stream(site: Site) -> None:
    async with connected(site.url, "legacy") as agent:
        await _until_arrived(agent, TOOLS_CHANGED, lambda: agent.call("test_trigger_tool_change"))
        await _until_arrived(
            agent, types.ResourceUpdatedNotification, lambda: agent.call("touch", uri="test://watched-resource")
        )


async def _until_arrived(agent: Connected, kind: type, trigger: Callable[[], Awaitable[object]]) -> None:
    """Trigger until one arrives: the client opens its GET stream in its own time, and tells nobody."""
    async with asyncio.timeout(WAIT_S):
        while not any(isinstance(message, kind) for message in agent.seen.notifications):
            agent.seen.arrived.clear()
            await trigger()
            try:
                await asyncio.wait_for(agent.seen.arrived.wait(), 0.5)
            except TimeoutError:
                continue


async def test_client_resumes_a_stream_that_the_server_closed(site: Site) -> None:
    tag = new_tag("drop")
    async with connected(site.url, "legacy") as agent:
        call = asyncio.create_task(agent.facts("drop_stream", tag=tag))
        replica = await site.where("started", tag)
        await site.open_gate(tag)
        assert (await call)["replica"] == replica.name
    resumed = [
        headers for method, status, headers, _ in agent.seen.http if method == "GET" and "last-event-id" in headers
    ]
    assert resumed


async def test_answer_is_redelivered_after_the_connection_broke(site: Site) -> None:
    tag = new_tag("hold")
    message = call_message("hold", tag=tag)
    async with session(site.url) as agent:
        async with agent.stream(message) as events:
            first = await anext(events)
            assert first.id
            replica = await site.where("started", tag)
        # The connection is gone. In the legacy era that is no cancellation.
        await replica.open_gate(tag)
        assert await replica.saw("finished", tag)
        assert not await replica.has_seen("cancelled", tag)
        async with asyncio.timeout(WAIT_S), agent.resumed(first.id) as events:
            async for event in events:
                if event.message and event.message.get("id") == message["id"]:
                    break
            assert event.message is not None
            assert tag in event.message["result"]["content"][0]["text"]


async def test_event_id_of_another_session_resumes_nothing(proxied: Site) -> None:
    async with session(proxied.url) as one, session(proxied.url) as other:
        async with one.stream(call_message("whoami")) as events:
            theirs = (await anext(events)).id
        answer = await other.http.get(other.url, headers={**other.headers, "Last-Event-ID": theirs})
        assert answer.status_code == 400


async def test_cancelled_notification_reaches_the_replica_of_the_call(site: Site) -> None:
    tag = new_tag("forever")
    message = call_message("stream_forever", tag=tag)
    async with session(site.url) as agent, agent.stream(message) as events:
        await anext(events)
        replica = await site.where("started", tag)
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": message["id"]}}
        assert (await agent.post(cancelled)).status_code == 202
        assert await replica.saw("cancelled", tag)


async def test_requests_of_the_server_and_the_replies_meet(proxied: Site) -> None:
    """Two sessions on the same replica: the server numbers its requests per session, so ids are alike."""

    async def asked(name: str) -> str:
        async with connected(proxied.url, "legacy") as agent:
            answers = await asyncio.gather(*(agent.facts("ask", question=f"{name}{n}") for n in range(5)))
            return ",".join(answer["content"]["answer"] for answer in answers)

    names = [new_tag("q") for _ in range(4)]
    found = await asyncio.gather(*(asked(name) for name in names))
    assert found == [",".join(f"answer to {name}{n}" for n in range(5)) for name in names]


async def test_unasked_reply_is_accepted_and_goes_nowhere(proxied: Site) -> None:
    async with session(proxied.url) as agent:
        marker = new_tag("reply")
        reply = {"jsonrpc": "2.0", "id": marker, "result": {"action": "accept", "content": {}}}
        assert (await agent.post(reply)).status_code == 202
        bodies = [entry["body"] for backend in proxied.replicas for entry in await backend.requests()]
        assert not any(marker in body for body in bodies)


async def test_session_of_a_lost_replica_is_not_moved(proxied: Site) -> None:
    """An id that no replica gave out is unknown, whatever it looks like."""
    async with session(proxied.url) as agent:
        forged = {**agent.headers, "Mcp-Session-Id": agent.id[:-2] + ("aa" if agent.id[-2:] != "aa" else "bb")}
        answer: httpx.Response = await agent.http.post(agent.url, headers=forged, json=request("tools/list"))
        assert answer.status_code == 404
        assert answer_of(answer)["error"]["code"] == -32600
