"""Ids and names that somebody made far too long: what is given out can come back, and the conversation goes on."""

from tests.conversation.replica import Offers
from tests.conversation.site import allow, site_of


async def test_a_question_with_an_id_that_could_not_come_back_is_answered_by_the_gateway() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected()
        call = bot.calls_tool("read")
        stream = (await site.takes("tools/call")).streams()
        stream.sends(message_id="x" * 1000, method="sampling/createMessage", params={})
        no = await site.takes("reply")
        assert (no.id, no.message["error"]["code"]) == ("x" * 1000, -32602)
        no.accepts()
        stream.answers({"content": []})
        assert "result" in await call.told()
        stream.ends()
        await call.ends()


async def test_an_event_whose_id_could_not_come_back_comes_without_one() -> None:
    async with site_of(allow()) as site:
        call = (await site.connected()).calls_tool("read")
        stream = (await site.takes("tools/call")).streams()
        stream.sends(id="x" * 7000, method="notifications/message", params={"level": "info", "data": "a"})
        stream.sends(id="2", method="notifications/message", params={"level": "info", "data": "b"})
        first, second = await call.event(), await call.event()
        assert (first.message["params"]["data"], first.id) == ("a", None)
        assert second.id is not None
        stream.answers({"content": []})
        await call.event()
        stream.ends()
        await call.ends()


async def test_a_stream_about_a_long_name_has_short_event_ids() -> None:
    uri = "doc://" + "x" * 8000
    async with site_of(allow(), offers=Offers(resources=[{"uri": uri}])) as site:
        bot = await site.connected()
        call = bot.asks("resources/read", uri=uri)
        asked = await site.takes("resources/read")
        request_id, stream = asked.id, asked.streams()
        stream.says(id="1", retry=5)
        primed = await call.event()
        assert primed.id is not None
        assert len(primed.id) < 1024
        stream.breaks()
        await call.ended()
        again = bot.listens(primed.id)
        asked = await site.takes("GET")
        assert asked.headers["last-event-id"] == "1"
        more = asked.streams()
        more.sends(message_id=request_id, result={"contents": []})
        assert "result" in await again.told()
        more.ends()
        await again.ends()
