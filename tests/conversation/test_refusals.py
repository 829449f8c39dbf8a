"""Every "no" in its form: which HTTP status, which JSON-RPC body, and what the record says of it."""

import pytest

from tests.conversation.site import ERAS, allow, deny, site_of


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


@pytest.mark.parametrize("era", ERAS)
async def test_denied_tool_with_a_reason_is_a_result_that_tells_it(era: str) -> None:
    async with site_of(allow(tools=["read"]), deny(tools=["wipe"], reason="Ask the owner.")) as site:
        bot = await site.connected(era)
        call = bot.calls_tool("wipe")
        result = await call.result()
        assert result["isError"] is True
        decision = result["_meta"]["openmcp.dev/decision"]
        assert (decision["effect"], decision["reason"]) == ("deny", "Ask the owner.")
        assert decision["id"] in {line["id"] for line in await site.lines_of(call)}
        assert await site.kind(call) == "denied"
