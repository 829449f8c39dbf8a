"""Calls of several rounds in the modern era: the state is sealed, for one agent, one call, one replica, one hour."""

from pathlib import Path
from typing import Any

import pytest

from openmcp.state.sqlite import SqliteStore
from tests.conversation.agent import Agent, Call
from tests.conversation.replica import Asked, Body, Offers, Replica
from tests.conversation.site import CANARY, Clock, Site, allow, ask, site_of

STATE = f"{CANARY}-state"
ELICIT = {"who": {"method": "elicitation/create", "params": {"message": "Who?"}}}
ELICITATION = allow("elicitation", methods=["elicitation/create"])
EVERYTHING = (allow(), ELICITATION)
RESPONSES = {"who": {"action": "accept", "content": {}}}


async def first_round(site: Site, agent: Agent, **result: Any) -> tuple[str, Asked]:
    """Call a tool that asks back; return the state that the agent got, and the request that the server got."""
    call = agent.calls_tool("read", ticket=7)
    asked: Asked = await site.takes("tools/call")
    asked.answers({"resultType": "input_required", "inputRequests": ELICIT, **result})
    shown = await call.result()
    assert shown["inputRequests"] == ELICIT
    state: str = shown["requestState"]
    return state, asked


def second(agent: Agent, state: Any, *, name: str = "read", arguments: Body | None = None, **params: Any) -> Call:
    """The same call with the answer."""
    arguments = {"ticket": 7} if arguments is None else arguments
    return agent.asks(
        "tools/call", name=name, arguments=arguments, requestState=state, inputResponses=RESPONSES, **params
    )


async def is_refused(site: Site, call: Call) -> None:
    error = await call.refused(400, -32602)
    assert error["message"] == "Invalid or expired requestState"
    assert await site.kind(call) == "invalid-state"


async def test_the_state_goes_back_as_the_server_gave_it() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        state, _ = await first_round(site, bot, requestState=STATE)
        assert CANARY not in state
        call = second(bot, state)
        asked = await site.takes("tools/call")
        assert asked.params["requestState"] == STATE
        assert asked.params["inputResponses"] == RESPONSES
        asked.answers({"content": []})
        await call.result()


async def test_a_state_of_the_gateways_own_is_taken_out_again() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        state, _ = await first_round(site, bot)
        call = second(bot, state)
        asked = await site.takes("tools/call")
        assert "requestState" not in asked.params
        asked.answers({"content": []})
        await call.result()


async def test_each_round_goes_to_the_replica_of_the_first() -> None:
    async with site_of(*EVERYTHING, replicas=3) as site:
        bot = await site.connected("modern")
        for _ in range(6):
            state, first = await first_round(site, bot, requestState=STATE)
            for _ in range(2):
                call = second(bot, state)
                asked = await site.takes("tools/call")
                assert asked.headers["host"] == first.headers["host"]
                asked.answers({"resultType": "input_required", "inputRequests": ELICIT, "requestState": STATE})
                state = (await call.result())["requestState"]


async def test_a_round_on_a_stream_is_sealed_too() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        call = bot.calls_tool("read", ticket=7)
        stream = (await site.takes("tools/call")).streams()
        stream.answers({"resultType": "input_required", "inputRequests": ELICIT, "requestState": STATE})
        state = (await call.told())["result"]["requestState"]
        stream.ends()
        await call.ends()
        again = second(bot, state)
        asked = await site.takes("tools/call")
        assert asked.params["requestState"] == STATE
        asked.answers({"content": []})
        await again.result()


async def test_what_differs_from_round_to_round_may_differ() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        state, _ = await first_round(site, bot)
        call = second(bot, state, _meta={**bot.meta, "progressToken": 3, "traceparent": "00-1-2-3"})
        (await site.takes("tools/call")).answers({"content": []})
        await call.result()


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": {"ticket": 8}},
        {"arguments": {}},
        {"name": "wipe"},
        {"more": True},
        {"_meta": {"vendor/key": 1}},
    ],
)
async def test_a_state_is_refused_for_another_call(change: dict[str, Any]) -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        state, _ = await first_round(site, bot, requestState=STATE)
        if "_meta" in change:
            change = {"_meta": {**bot.meta, **change["_meta"]}}
        await is_refused(site, second(bot, state, **change))


async def test_a_state_is_refused_for_another_agent() -> None:
    async with site_of(*EVERYTHING) as site:
        state, _ = await first_round(site, await site.connected("modern"), requestState=STATE)
        await is_refused(site, second(await site.connected("modern", name="eve"), state))


async def test_a_state_is_refused_for_another_method() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        state, _ = await first_round(site, bot, requestState=STATE)
        await is_refused(site, bot.asks("prompts/get", name="read", arguments={"ticket": 7}, requestState=state))


async def test_a_state_is_refused_after_an_hour() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        state, _ = await first_round(site, bot, requestState=STATE)
        site.clock.moves(3600)
        await is_refused(site, second(bot, state))


@pytest.mark.parametrize("state", [STATE, "", 7, None, {}, "A" * 100])
async def test_a_state_that_the_gateway_did_not_give_is_refused(state: Any) -> None:
    async with site_of(*EVERYTHING) as site:
        await is_refused(site, second(await site.connected("modern"), state))


async def test_an_altered_state_is_refused() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        state, _ = await first_round(site, bot, requestState=STATE)
        for place in (0, len(state) // 2, -2):
            letters = list(state)
            letters[place] = "A" if letters[place] != "A" else "B"
            await is_refused(site, second(bot, "".join(letters)))


async def test_a_state_whose_replica_is_gone_is_refused() -> None:
    async with site_of(*EVERYTHING, replicas=2) as site:
        bot = await site.connected("modern")
        state, first = await first_round(site, bot, requestState=STATE)
        left = [replica for replica in site.replicas if str(replica.address.port) not in first.headers["host"]]
        await site.reload(server={"replicas": (left[0].address,)})
        await is_refused(site, second(bot, state))


async def test_a_round_is_forwarded_once_whatever_came_of_it() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        state, _ = await first_round(site, bot, requestState=STATE)
        call = second(bot, state)
        asked = await site.takes("tools/call")
        # While the first is under way, after it was lost, and ever after: nobody can tell a retry from a replay.
        await is_refused(site, second(bot, state))
        asked.writer.transport.abort()
        assert (await call.result())["isError"] is True
        await is_refused(site, second(bot, state))


async def test_a_round_that_was_refused_can_still_be_taken() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        state, _ = await first_round(site, bot, requestState=STATE)
        await is_refused(site, second(await site.connected("modern", name="eve"), state))
        await is_refused(site, second(bot, state, arguments={"ticket": 8}))
        call = second(bot, state)
        (await site.takes("tools/call")).answers({"content": []})
        await call.result()


async def test_calls_that_are_just_the_same_have_rounds_of_their_own() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        states = [(await first_round(site, bot, requestState=STATE))[0] for _ in range(2)]
        for state in states:
            call = second(bot, state)
            (await site.takes("tools/call")).answers({"content": []})
            await call.result()


async def test_a_round_is_not_replayed_after_a_restart(tmp_path: Path) -> None:
    async with Replica(Offers()).listening() as replica:
        store = SqliteStore(tmp_path / "state.db", clock=Clock())
        async with site_of(*EVERYTHING, at=(replica,), store=store) as site:
            bot = await site.connected("modern")
            state, _ = await first_round(site, bot, requestState=STATE)
            call = second(bot, state)
            (await site.takes("tools/call")).answers({"content": []})
            await call.result()
        store = SqliteStore(tmp_path / "state.db", clock=Clock())
        async with site_of(*EVERYTHING, at=(replica,), store=store) as site:
            await is_refused(site, second(await site.connected("modern"), state))


async def test_a_state_that_could_not_come_back_is_the_servers_fault() -> None:
    async with site_of(*EVERYTHING) as site:
        call = (await site.connected("modern")).calls_tool("read")
        asked = await site.takes("tools/call")
        asked.answers({"resultType": "input_required", "inputRequests": ELICIT, "requestState": CANARY * 40_000})
        assert (await call.result())["isError"] is True
        assert await site.kind(call) == "upstream-broken"


async def test_each_round_is_decided_again() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected("modern")
        state, _ = await first_round(site, bot, requestState=STATE)
        await site.reload(allow(tools=["wipe"]))
        await second(bot, state).refused(200, -32602)


@pytest.mark.parametrize(
    "asks",
    [
        {"a": {"method": "sampling/createMessage", "params": {}}},
        {**ELICIT, "b": {"method": "sampling/createMessage", "params": {}}},
        {"a": {"params": {}}},
        {"a": "nonsense"},
    ],
)
async def test_a_result_that_asks_what_the_server_may_not_ask_is_refused(asks: Body) -> None:
    async with site_of(allow(tools=["*"]), ELICITATION) as site:
        call = (await site.connected("modern")).calls_tool("read")
        (await site.takes("tools/call")).answers({"resultType": "input_required", "inputRequests": asks})
        assert (await call.result())["isError"] is True
        assert await site.kind(call) == "denied"


async def test_a_legacy_agents_results_hold_no_state() -> None:
    async with site_of(*EVERYTHING) as site:
        call = (await site.connected()).calls_tool("read")
        (await site.takes("tools/call")).answers({"content": [], "requestState": "plain"})
        assert (await call.result())["requestState"] == "plain"


async def test_a_question_that_needs_a_human_is_no_question_yet() -> None:
    async with site_of(allow(), ask(methods=["elicitation/create"])) as site:
        call = (await site.connected("modern")).calls_tool("read")
        (await site.takes("tools/call")).answers({"resultType": "input_required", "inputRequests": ELICIT})
        assert (await call.result())["isError"] is True
