"""What one agent may have under way: what it takes leaves room for the others, whether or not it waits for answers."""

import pytest

from tests.conversation.site import ERAS, allow, site_of

PLACES = 100
"""A tenth of the site's `concurrentExchanges`."""


@pytest.mark.parametrize("era", ERAS)
async def test_one_agent_cannot_take_the_whole_node(era: str) -> None:
    async with site_of(allow()) as site:
        bot, eve = await site.connected(era), await site.connected(era, name="eve")
        calls = [bot.calls_tool("read") for _ in range(PLACES)]
        asked = [await site.takes("tools/call") for _ in calls]
        beyond = bot.calls_tool("read")
        assert (await beyond.result())["isError"] is True
        assert await site.kind(beyond) == "overloaded"
        other = eve.calls_tool("read")
        (await site.takes("tools/call")).answers({"content": []})
        await other.result()
        for one in asked:
            one.answers({"content": []})
        for call in calls:
            await call.result()
        again = bot.calls_tool("read")
        (await site.takes("tools/call")).answers({"content": []})
        assert "isError" not in await again.result()


async def test_calls_that_go_on_without_their_client_keep_their_places() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected()
        calls = [bot.calls_tool("read") for _ in range(PLACES)]
        asked = [await site.takes("tools/call") for _ in calls]
        for call in calls:
            call.leaves()
        assert (await bot.calls_tool("read").result())["isError"] is True
        asked[0].answers({"content": []})
        await calls[0].ended()
        again = bot.calls_tool("read")
        (await site.takes("tools/call")).answers({"content": []})
        assert "isError" not in await again.result()
