"""What a server asks an agent: under an id that only this agent can answer, once, at the replica that asked."""

from typing import Any

import pytest

from tests.conversation.agent import Agent, Call
from tests.conversation.replica import Asked, Stream
from tests.conversation.site import CANARY, Setting, Site, allow, only, site_of

SAMPLING = allow("sampling", methods=["sampling/createMessage"])
EVERYTHING = (allow(), SAMPLING)
STREAMS = ("POST", "GET")


async def asked_on(site: Site, agent: Agent, where: str) -> tuple[Call, Stream]:
    """A stream to the agent on which the server can ask."""
    call = agent.calls_tool("read") if where == "POST" else agent.listens()
    stream = (await site.takes("tools/call" if where == "POST" else "GET")).streams()
    await call.begun()
    return call, stream


async def delivered(site: Site, reply: Call) -> Asked:
    """The reply as the server got it."""
    asked: Asked = await site.takes("reply")
    asked.accepts()
    await reply.accepted()
    return asked


@pytest.mark.parametrize("where", STREAMS)
@pytest.mark.parametrize("original", [7, "seven", 0])
async def test_the_reply_reaches_the_replica_that_asked_under_its_own_id(where: str, original: Any) -> None:
    async with site_of(*EVERYTHING, replicas=2) as site:
        bot = await site.connected()
        call, stream = await asked_on(site, bot, where)
        stream.sends(message_id=original, method="sampling/createMessage", params={"messages": []})
        question = await call.told()
        assert question["method"] == "sampling/createMessage"
        assert question["id"] != original
        asked = await delivered(site, bot.replies(question["id"], {"role": "assistant"}))
        assert (asked.id, asked.message["result"]) == (original, {"role": "assistant"})
        assert asked.headers["host"] == stream.asked.headers["host"]
        assert asked.headers["mcp-session-id"] == bot.session


async def test_the_same_question_has_the_same_id_each_time() -> None:
    """So that a stream that is sent again after a resumption asks nothing new."""
    async with site_of(*EVERYTHING) as site:
        call, stream = await asked_on(site, await site.connected(), "GET")
        ids: list[Any] = []
        for original in (7, 7, 8):
            stream.sends(message_id=original, method="sampling/createMessage", params={})
            ids.append((await call.told())["id"])
        assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("where", STREAMS)
async def test_a_second_reply_is_dropped(where: str) -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected()
        call, stream = await asked_on(site, bot, where)
        stream.sends(message_id=7, method="sampling/createMessage", params={})
        question = (await call.told())["id"]
        await delivered(site, bot.replies(question, {}))
        second = bot.replies(question, {"changed": True})
        await second.accepted()
        assert await site.kind(second) == "invalid-state"


@pytest.mark.parametrize("id", [7, "7", "A" * 80, ""])
async def test_a_reply_to_nothing_is_dropped(id: Any) -> None:
    async with site_of(*EVERYTHING) as site:
        reply = (await site.connected()).replies(id, {})
        await reply.accepted()
        assert await site.kind(reply) == "invalid-state"


async def test_the_reply_of_another_agent_or_session_is_dropped() -> None:
    async with site_of(*EVERYTHING) as site:
        bot, eve = await site.connected(), await site.connected(name="eve")
        again = await site.connected(session=f"{CANARY}-again")
        call, stream = await asked_on(site, bot, "GET")
        stream.sends(message_id=7, method="sampling/createMessage", params={})
        question = (await call.told())["id"]
        for other in (eve, again):
            reply = other.replies(question, {})
            await reply.accepted()
            assert await site.kind(reply) == "invalid-state"
        # None of them has used it up.
        await delivered(site, bot.replies(question, {}))


async def test_an_error_is_a_reply_too() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected()
        call, stream = await asked_on(site, bot, "POST")
        stream.sends(message_id=7, method="sampling/createMessage", params={})
        reply = bot.sends({"id": (await call.told())["id"], "error": {"code": -1, "message": "no"}})
        assert (await delivered(site, reply)).id == 7


async def test_a_reply_is_decided_by_what_it_answers() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected()
        call, stream = await asked_on(site, bot, "GET")
        stream.sends(message_id=7, method="sampling/createMessage", params={})
        question = (await call.told())["id"]
        await site.reload(allow(tools=["*"]))
        reply = bot.replies(question, {})
        await reply.accepted()
        assert await site.kind(reply) in ("hidden", "denied")


@pytest.mark.parametrize("where", STREAMS)
@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("sampling/createMessage", ("error", "code", -31001)),
        ("roots/list", ("error", "code", -31001)),
        ("vendor/ask", ("error", "code", -32601)),
        ("tools/list", ("error", "code", -32601)),
        ("initialize", ("error", "code", -32601)),
        ("notifications/message", ("error", "code", -32601)),
        ("elicitation/create", ("result", "action", "decline")),
    ],
)
async def test_a_denied_question_is_answered_by_the_gateway(
    where: str, method: str, answer: tuple[str, str, Any]
) -> None:
    async with site_of(allow(tools=["*"]), replicas=2) as site:
        bot = await site.connected()
        call, stream = await asked_on(site, bot, where)
        stream.sends(message_id=7, method=method, params={"message": "secret plan"})
        no = await site.takes("reply")
        member, key, value = answer
        assert (no.id, no.message[member][key]) == (7, value)
        assert no.headers["host"] == stream.asked.headers["host"]
        assert no.headers["mcp-session-id"] == bot.session
        no.accepts()
        stream.sends(method="notifications/message", params={"level": "info", "data": "on we go"})
        assert (await call.told())["method"] == "notifications/message"
        assert b"secret plan" not in call.body


async def test_a_no_that_cannot_be_delivered_does_not_end_the_stream() -> None:
    async with site_of(allow(tools=["*"])) as site:
        bot = await site.connected()
        call, stream = await asked_on(site, bot, "POST")
        stream.sends(message_id=7, method="sampling/createMessage", params={})
        (await site.takes("reply")).writer.transport.abort()
        stream.answers({"content": []})
        assert "isError" not in (await call.told())["result"]
        stream.ends()
        await call.ends()


async def test_ping_is_passed_both_ways() -> None:
    async with site_of(allow(tools=["*"])) as site:
        bot = await site.connected()
        call, stream = await asked_on(site, bot, "GET")
        stream.sends(message_id=7, method="ping")
        await delivered(site, bot.replies((await call.told())["id"], {}))


@pytest.mark.parametrize("where", STREAMS)
async def test_a_question_that_the_server_takes_back_is_named_as_the_agent_knows_it(where: str) -> None:
    async with site_of(*EVERYTHING) as site:
        call, stream = await asked_on(site, await site.connected(), where)
        stream.sends(message_id=7, method="sampling/createMessage", params={})
        question = (await call.told())["id"]
        stream.sends(method="notifications/cancelled", params={"requestId": 7, "reason": "enough"})
        cancelled = await call.told()
        assert cancelled["params"] == {"requestId": question, "reason": "enough"}


async def test_a_cancellation_by_the_agent_keeps_its_own_request_id() -> None:
    async with site_of(*EVERYTHING) as site:
        bot = await site.connected()
        call, stream = await asked_on(site, bot, "POST")
        note = bot.notifies("notifications/cancelled", requestId=stream.asked.id)
        asked = await site.takes("notifications/cancelled")
        assert asked.params["requestId"] == stream.asked.id
        asked.accepts()
        await note.accepted()
        assert not call.has_ended


async def test_an_anonymous_agents_reply_is_bound_to_its_session() -> None:
    async with site_of(*EVERYTHING, setting=Setting(is_anonymous_allowed=True)) as site:
        anyone, other = site.agent(name=None), site.agent(name=None)
        anyone.session = await site.opens(anyone, f"{CANARY}-1")
        other.session = await site.opens(other, f"{CANARY}-2")
        call, stream = await asked_on(site, anyone, "GET")
        stream.sends(message_id=7, method="sampling/createMessage", params={})
        question = (await call.told())["id"]
        await other.replies(question, {}).accepted()
        await delivered(site, anyone.replies(question, {}))


async def test_sampling_can_be_for_one_agent_only() -> None:
    async with site_of(allow(tools=["*"]), only("eve", SAMPLING)) as site:
        call, stream = await asked_on(site, await site.connected(name="eve"), "GET")
        stream.sends(message_id=7, method="sampling/createMessage", params={})
        assert (await call.told())["method"] == "sampling/createMessage"
