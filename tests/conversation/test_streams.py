"""Event streams: event ids, priming, resumption, ticks, cuts and ends; and what a disconnect means in each era."""

from collections.abc import Callable

import pytest

from openmcp.config.snapshot import AgentSelectorSpec, PolicySpec
from tests.conversation.agent import Agent, Call
from tests.conversation.replica import Stream
from tests.conversation.site import CANARY, ERAS, Site, allow, deny, only, site_of

EVENT = f"{CANARY}-event"


async def streaming(site: Site, agent: Agent, tool: str = "read") -> tuple[Call, Stream]:
    """A tool call whose answer has begun as a stream."""
    call = agent.calls_tool(tool)
    stream = (await site.takes("tools/call")).streams()
    await call.begun()
    return call, stream


def staff_only() -> PolicySpec:
    return PolicySpec("staff", (allow(),), agents=AgentSelectorSpec(groups=frozenset({"staff"})))


async def primed(site: Site, agent: Agent) -> tuple[Call, Stream, str]:
    """The same, with its first event id as the agent knows it."""
    call, stream = await streaming(site, agent)
    stream.says(id=EVENT)
    event_id = (await call.event()).id
    assert event_id is not None
    return call, stream, event_id


# ------------------------------------------------------------ what passes


@pytest.mark.parametrize("era", ERAS)
async def test_events_pass_one_by_one_in_their_order(era: str) -> None:
    async with site_of(allow()) as site:
        call, stream = await streaming(site, await site.connected(era))
        assert (call.status, call.headers["content-type"]) == (200, "text/event-stream")
        assert call.headers["cache-control"] == "no-cache, no-transform"
        assert call.headers["x-accel-buffering"] == "no"
        await call.ticks(1)
        for number in range(3):
            stream.sends(method="notifications/progress", params={"progressToken": 1, "progress": number})
            assert (await call.told())["params"]["progress"] == number
        stream.answers({"content": []})
        assert (await call.told())["result"]["content"] == []
        stream.ends()
        await call.ends()
        assert await site.kind(call) == "ok"


@pytest.mark.parametrize("era", ERAS)
async def test_a_quiet_stream_is_kept_alive_by_comments(era: str) -> None:
    async with site_of(allow()) as site:
        site.runtime.upstream.tick_s = 0.05
        call, stream = await streaming(site, await site.connected(era))
        await call.ticks(3)
        stream.answers({})
        stream.ends()
        await call.told()
        await call.ends()


async def test_the_servers_comments_and_other_event_types_do_not_pass() -> None:
    async with site_of(allow()) as site:
        call, stream = await streaming(site, await site.connected())
        stream.raw(b": comment for you\n\n")
        stream.raw(b'event: endpoint\ndata: {"jsonrpc":"2.0","method":"notifications/message"}\n\n')
        stream.answers({})
        stream.ends()
        await call.told()
        await call.ends()
        assert b"comment for you" not in call.body


async def test_priming_event_and_retry_pass() -> None:
    async with site_of(allow()) as site:
        call, stream = await streaming(site, await site.connected())
        stream.says(id=EVENT, retry=500)
        event = await call.event()
        assert (event.message, event.retry) == ({}, 500)
        assert event.id
        stream.answers({}, id=f"{EVENT}-2")
        await call.event()
        stream.ends()
        await call.ends()


async def test_event_ids_are_sealed_and_the_same_each_time() -> None:
    async with site_of(allow()) as site:
        bot, eve = await site.connected(), await site.connected(name="eve")
        bot_calls = [bot.asks("tools/list"), eve.asks("tools/list")]
        ids: list[str | None] = []
        for call in bot_calls:
            stream = (await site.replica.takes("tools/list")).streams()
            for _ in range(2):
                stream.says(id=EVENT)
                ids.append((await call.event()).id)
            stream.ends()
            await call.ends()
        assert ids[0] == ids[1]
        assert ids[2] == ids[3] != ids[0]
        assert all(event_id and CANARY not in event_id for event_id in ids)


async def test_modern_streams_have_no_event_ids() -> None:
    async with site_of(allow()) as site:
        call, stream = await streaming(site, await site.connected("modern"))
        stream.says(id=EVENT)
        stream.answers({}, id=EVENT)
        event = await call.event()
        assert (event.id, event.message["result"] is not None) == (None, True)
        stream.ends()
        await call.ends()


# ------------------------------------------------------------ what does not


async def test_a_dropped_event_still_carries_its_id() -> None:
    async with site_of(allow()) as site:
        call, stream = await streaming(site, await site.connected())
        stream.sends(id=EVENT, method="notifications/unheard/of", params={})
        event = await call.event()
        assert event.message == {}
        assert event.id
        stream.answers({})
        await call.told()
        stream.ends()
        await call.ends()


@pytest.mark.parametrize("era", ERAS)
async def test_a_response_to_another_request_is_dropped_and_recorded(era: str) -> None:
    async with site_of(allow()) as site:
        call, stream = await streaming(site, await site.connected(era))
        stream.sends(message_id=999, result={"content": ["of somebody else"]})
        stream.answers({"content": []})
        assert (await call.told())["result"]["content"] == []
        stream.ends()
        await call.ends()
        assert b"somebody else" not in call.body
        assert [line["mcp"].get("id") for line in await site.lines_of(call) if "dropped" in line.get("flags", [])] == [
            999
        ]


@pytest.mark.parametrize("era", ERAS)
async def test_an_event_that_is_no_message_ends_the_stream(era: str) -> None:
    async with site_of(allow()) as site:
        call, stream = await streaming(site, await site.connected(era))
        stream.says("this is not JSON")
        assert (await call.told())["result"]["isError"] is True
        await call.ends()
        assert await site.kind(call) == "upstream-broken"
        await stream.asked.is_cut_off()


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("end", [Stream.ends, Stream.breaks])
async def test_a_stream_that_ends_without_its_answer_says_that_the_outcome_is_unknown(
    era: str, end: Callable[[Stream], None]
) -> None:
    async with site_of(allow()) as site:
        call, stream = await streaming(site, await site.connected(era))
        end(stream)
        result = (await call.told())["result"]
        assert result["isError"] is True
        await call.ends()
        assert await site.kind(call) == "outcome-unknown"


@pytest.mark.parametrize("end", [Stream.ends, Stream.breaks])
async def test_a_stream_that_can_be_resumed_simply_ends(end: Callable[[Stream], None]) -> None:
    async with site_of(allow()) as site:
        call, stream, _ = await primed(site, await site.connected())
        end(stream)
        await call.ends()


async def test_drain_ends_a_stream_cleanly_and_answers_what_is_pending() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected()
        pending, _ = await streaming(site, bot)
        resumable, _, _ = await primed(site, bot)
        quiet = bot.listens()
        (await site.replica.takes("GET")).streams()
        await quiet.begun()
        for call in (pending, resumable, quiet):
            call.is_drained()
        assert (await pending.told())["result"]["isError"] is True
        for call in (pending, resumable, quiet):
            await call.ends()
        assert await site.kind(pending) == "outcome-unknown"


async def test_drain_answers_a_call_that_has_no_answer_yet() -> None:
    async with site_of(allow()) as site:
        call = (await site.connected()).calls_tool("read")
        await site.replica.takes("tools/call")
        call.is_drained()
        assert (await call.result())["isError"] is True
        assert await site.kind(call) == "outcome-unknown"


# ------------------------------------------------------------ resumption


async def test_a_resumed_stream_asks_for_the_servers_own_event_id() -> None:
    async with site_of(allow(), replicas=2) as site:
        bot = await site.connected()
        call, stream, event_id = await primed(site, bot)
        stream.breaks()
        await call.ends()
        resumed = bot.listens(event_id)
        asked = await site.takes("GET")
        assert asked.headers["last-event-id"] == EVENT
        assert asked.headers["mcp-session-id"] == bot.session
        again = asked.streams()
        again.sends(id=f"{EVENT}-2", message_id=stream.asked.id, result={"content": []})
        assert (await resumed.told())["result"]["content"] == []
        again.ends()
        await resumed.ends()
        assert await site.kind(resumed) == "ok"


async def test_a_list_on_a_resumed_stream_is_filtered_as_on_the_first() -> None:
    async with site_of(allow(), deny(tools=["secret"])) as site:
        bot = await site.connected()
        call = bot.asks("tools/list")
        stream = (await site.replica.takes("tools/list")).streams()
        stream.says(id=EVENT)
        event_id = (await call.event()).id
        call.leaves()
        await stream.asked.is_cut_off()
        resumed = bot.listens(event_id)
        again = (await site.replica.takes("GET")).streams()
        # What answers another request than the resumed stream's is no less foreign here.
        again.sends(message_id=999, result={"tools": [{"name": "secret"}]})
        again.sends(message_id=stream.asked.id, result={"tools": [{"name": "read"}, {"name": "secret"}]})
        assert (await resumed.told())["result"]["tools"] == [{"name": "read"}]
        again.ends()
        await resumed.ends()


@pytest.mark.parametrize(
    ("key", "field", "shown", "hidden"),
    [
        ("tools", "name", "read", "secret"),
        ("prompts", "name", "greet", "secret"),
        ("resources", "uri", "doc://open", "doc://secret"),
        ("resourceTemplates", "uriTemplate", "doc://open", "doc://secret"),
    ],
)
async def test_a_list_on_a_stream_without_a_known_request_is_recognised_by_its_shape(
    key: str, field: str, shown: str, hidden: str
) -> None:
    async with site_of(allow(), deny(tools=["secret"], prompts=["secret"], resources=["doc://secret"])) as site:
        call = (await site.connected()).listens()
        stream = (await site.replica.takes("GET")).streams()
        stream.sends(message_id=5, result={key: [{field: shown}, {field: hidden}]})
        assert (await call.told())["result"][key] == [{field: shown}]


@pytest.mark.parametrize("foreign", ["1", EVENT, "A" * 60, "*", "x" * 9000])
async def test_an_event_id_that_the_gateway_did_not_give_is_400(foreign: str) -> None:
    async with site_of(allow()) as site:
        call = (await site.connected()).listens(foreign)
        await call.refused(400, -32602)
        assert await site.kind(call) == "invalid-state"


async def test_the_event_id_of_another_session_is_400() -> None:
    async with site_of(allow()) as site:
        bot, eve = await site.connected(), await site.connected(name="eve")
        _, _, event_id = await primed(site, bot)
        await eve.listens(event_id).refused(400, -32602)
        altered = ("A" if event_id[0] != "A" else "B") + event_id[1:]
        await bot.listens(altered).refused(400, -32602)


async def test_a_stream_needs_a_session_and_an_accept() -> None:
    async with site_of(allow()) as site:
        await site.runtime.catalogues.refresh(site.server)
        await site.connected()
        bot = await site.connected(session=f"{CANARY}-2")
        await bot.listens(accept="application/json").refused(406, -32600)
        modern = site.agent("modern")
        for call in (modern.listens(), modern.deletes()):
            await call.refused(405, -32600)
            assert call.headers["allow"] == "POST"


# ------------------------------------------------------------ disconnect


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_modern_agent_that_leaves_cancels_its_request(has_begun: bool) -> None:
    async with site_of(allow()) as site:
        call = (await site.connected("modern")).calls_tool("read")
        asked = await site.replica.takes("tools/call")
        if has_begun:
            asked.streams()
            await call.begun()
        call.leaves()
        await asked.is_cut_off()
        assert await site.kind(call) == "outcome-unknown"


async def test_a_legacy_call_goes_on_when_its_agent_leaves() -> None:
    async with site_of(allow()) as site:
        call = (await site.connected()).calls_tool("read")
        asked = await site.replica.takes("tools/call")
        call.leaves()
        asked.answers({"content": []})
        await call.ended()
        assert not asked.was_cut_off.is_set()
        (result,) = [line for line in await site.lines_of(call) if line.get("kind") == "result"]
        assert result["mcp"]["id"] == asked.id


async def test_a_legacy_stream_without_event_ids_goes_on_when_its_agent_leaves() -> None:
    async with site_of(allow()) as site:
        call, stream = await streaming(site, await site.connected())
        call.leaves()
        stream.sends(method="notifications/progress", params={"progressToken": 1, "progress": 1})
        stream.answers({"content": []})
        stream.ends()
        await call.ended()
        assert [line["kind"] for line in await site.lines_of(call) if line["type"] == "message"] == [
            "request",
            "notification",
            "result",
        ]


async def test_a_legacy_stream_that_can_be_resumed_is_left_with_its_agent() -> None:
    """Else the server would go on sending into a stream that nobody reads, and nothing were left to resume."""
    async with site_of(allow()) as site:
        call, stream, _ = await primed(site, await site.connected())
        call.leaves()
        await stream.asked.is_cut_off()
        await call.ended()


async def test_a_listening_agent_that_leaves_frees_its_stream() -> None:
    async with site_of(allow()) as site:
        call = (await site.connected()).listens()
        asked = await site.replica.takes("GET")
        asked.streams()
        await call.begun()
        call.leaves()
        await asked.is_cut_off()


# ------------------------------------------------------------ the newest policy


@pytest.mark.parametrize("era", ERAS)
async def test_the_newest_policy_decides_on_what_comes_late(era: str) -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(era)
        call = bot.asks("tools/list")
        stream = (await site.replica.takes("tools/list")).streams()
        await call.begun()
        await site.reload(allow(), deny(tools=["secret"]))
        stream.answers({"tools": [{"name": "read"}, {"name": "secret"}]})
        assert (await call.told())["result"]["tools"] == [{"name": "read"}]
        stream.ends()
        await call.ends()


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_under_way_survives_a_reload(era: str) -> None:
    async with site_of(allow()) as site:
        call = (await site.connected(era)).calls_tool("read")
        asked = await site.replica.takes("tools/call")
        await site.reload(allow(), deny(tools=["wipe"]))
        asked.answers({"content": []})
        assert (await call.result())["content"] == []


@pytest.mark.parametrize("is_quiet", [False, True])
@pytest.mark.parametrize("how", ["policy", "server"])
async def test_a_stream_ends_cleanly_when_all_access_is_withdrawn(how: str, is_quiet: bool) -> None:
    async with site_of(allow()) as site:
        site.runtime.upstream.tick_s = 0.05 if is_quiet else 10.0
        call = (await site.connected()).listens()
        stream = (await site.replica.takes("GET")).streams()
        await call.begun()
        if how == "policy":
            await site.reload(only("eve", allow()))
        else:
            await site.reload(allow(), servers=("lab",))
        if not is_quiet:
            stream.sends(method="notifications/tools/list_changed")
        await call.ends()
        assert await site.kind(call) == "forbidden"
        await stream.asked.is_cut_off()


@pytest.mark.parametrize("how", ["key", "group"])
async def test_a_stream_ends_cleanly_when_its_agent_is_not_who_it_was(how: str) -> None:
    """A key that was taken out of the configuration, or a group that was the reason for access."""
    async with site_of(allow()) as site:
        site.runtime.upstream.tick_s = 0.05
        call = (await site.connected()).listens()
        stream = (await site.replica.takes("GET")).streams()
        await call.begun()
        if how == "key":
            await site.reload(allow(), agents=("eve",))
        else:
            await site.reload(staff_only(), groups=frozenset())
        await call.ends()
        await stream.asked.is_cut_off()


@pytest.mark.parametrize("era", ERAS)
async def test_a_pending_request_learns_of_withdrawn_access(era: str) -> None:
    async with site_of(allow()) as site:
        call, stream = await streaming(site, await site.connected(era))
        await site.reload(only("eve", allow()))
        stream.answers({"content": ["too late"]})
        assert (await call.told())["result"]["isError"] is True
        await call.ends()
        assert b"too late" not in call.body
