"""A call that needs a human's yes: what is asked, what the agent is told, and what the yes is good for."""

import pytest

from tests.conversation.agent import Agent, Call
from tests.conversation.reviewing import CAROL, DAN, LEADS, People, flow, gated
from tests.conversation.site import ERAS, Setting, Site, allow, site_of

RULES = (allow(tools=["*"]), gated("wipe"))
ASKING = Setting(approving={"flows": (flow(),), "groups": (LEADS,)})
HOLDING = Setting(approving={"flows": (flow(hold_s=20.0, hold_with_progress_s=20.0),), "groups": (LEADS,)})


async def is_pending(call: Call) -> dict[str, object]:
    """Make sure that the call waits for people; return what the agent was told of the review."""
    result = await call.result()
    assert result["isError"] is True
    told: dict[str, object] = result["_meta"]["openmcp.dev/review"]
    assert told["status"] == "pending"
    assert str(told["code"]) in result["content"][0]["text"]
    return told


async def runs(site: Site, call: Call) -> None:
    (await site.takes("tools/call")).answers({"content": []})
    assert (await call.result())["content"] == []


async def is_refused(call: Call) -> str:
    result = await call.result()
    assert result["isError"] is True
    text: str = result["content"][0]["text"]
    assert "Do not retry." in text
    return text


@pytest.mark.parametrize("era", ERAS)
async def test_the_first_call_opens_a_review_and_repeats_attach_to_it(era: str) -> None:
    async with site_of(*RULES, setting=ASKING) as site:
        bot = await site.connected(era)
        first = await is_pending(bot.calls_tool("wipe", id=1))
        assert [(await is_pending(bot.calls_tool("wipe", id=n)))["id"] for n in range(5)] == [first["id"]] * 5
        review = await People(site).open()
        assert (review.id, review.repeats) == (first["id"], 5)
        assert (review.asker.name, review.asked.subject, review.needed.reason) == ("bot", "wipe", "It may hurt.")


@pytest.mark.parametrize("era", ERAS)
async def test_after_a_yes_the_same_call_runs_until_the_yes_ends(era: str) -> None:
    async with site_of(*RULES, setting=ASKING) as site:
        bot = await site.connected(era)
        await is_pending(bot.calls_tool("wipe"))
        await People(site).approves()
        await runs(site, bot.calls_tool("wipe"))
        site.clock.moves(1799)
        await runs(site, bot.calls_tool("wipe", other="arguments"))
        site.clock.moves(2)
        await is_pending(bot.calls_tool("wipe"))


async def test_another_agent_and_another_tool_are_asked_for_anew() -> None:
    async with site_of(allow(tools=["*"]), gated("wipe", "read"), setting=ASKING) as site:
        bot, eve = await site.connected(), await site.connected(name="eve")
        first = await is_pending(bot.calls_tool("wipe"))
        await People(site).approves()
        assert (await is_pending(eve.calls_tool("wipe")))["id"] != first["id"]
        assert (await is_pending(bot.calls_tool("read")))["id"] != first["id"]


async def test_a_yes_to_arguments_is_no_yes_to_others() -> None:
    async with site_of(allow(tools=["*"]), gated("wipe", scope="agent+tool+args"), setting=ASKING) as site:
        bot = await site.connected()
        await is_pending(bot.calls_tool("wipe", id=1, how="hard"))
        await People(site).approves()
        await runs(site, bot.calls_tool("wipe", how="hard", id=1))
        await is_pending(bot.calls_tool("wipe", id=2, how="hard"))


@pytest.mark.parametrize("scope", ["call", "agent+tool"])
async def test_a_yes_for_once_is_good_for_one_call_with_what_was_shown(scope: str) -> None:
    async with site_of(allow(tools=["*"]), gated("wipe", scope=scope), setting=ASKING) as site:
        bot = await site.connected()
        first = await is_pending(bot.calls_tool("wipe", id=1))
        await People(site).approves(is_once=True)
        assert (await is_pending(bot.calls_tool("wipe", id=2)))["id"] != first["id"]
        await runs(site, bot.calls_tool("wipe", id=1))
        assert (await is_pending(bot.calls_tool("wipe", id=1)))["id"] != first["id"]


async def test_an_approver_may_narrow_and_never_widen() -> None:
    async with site_of(*RULES, setting=ASKING) as site:
        bot = await site.connected()
        await is_pending(bot.calls_tool("wipe"))
        with pytest.raises(Exception, match="at most"):
            await People(site).approves(ttl_s=3600.0)
        await People(site).approves(ttl_s=60.0)
        site.clock.moves(59)
        await runs(site, bot.calls_tool("wipe"))
        site.clock.moves(2)
        await is_pending(bot.calls_tool("wipe"))


async def test_uses_are_counted_and_given_back_where_nothing_was_sent() -> None:
    async with site_of(allow(tools=["*"]), gated("wipe", max_uses=2), setting=ASKING) as site:
        bot = site.agent("modern")
        await is_pending(bot.calls_tool("wipe"))
        await People(site).approves()
        port = site.replica.address.port
        await runs(site, bot.calls_tool("wipe"))
        await site.replica.stops()
        failed = await bot.calls_tool("wipe").result()
        assert failed["isError"] is True
        async with site.replica.listening(port=port):
            await runs(site, bot.calls_tool("wipe"))
            await is_pending(bot.calls_tool("wipe"))


async def test_a_no_is_told_with_its_reason_until_the_cooldown_ends() -> None:
    async with site_of(*RULES, setting=ASKING) as site:
        bot = await site.connected()
        await is_pending(bot.calls_tool("wipe"))
        await People(site).denies(reason="Ask tomorrow.")
        assert "Ask tomorrow." in await is_refused(bot.calls_tool("wipe"))
        site.clock.moves(599)
        await is_refused(bot.calls_tool("wipe"))
        site.clock.moves(2)
        await is_pending(bot.calls_tool("wipe"))


async def test_silence_is_a_no() -> None:
    async with site_of(*RULES, setting=ASKING) as site:
        bot = site.agent("modern")
        await is_pending(bot.calls_tool("wipe"))
        site.clock.moves(1801)
        await is_refused(bot.calls_tool("wipe"))


async def test_a_yes_dies_with_the_rule_that_wanted_it() -> None:
    async with site_of(*RULES, setting=ASKING) as site:
        bot = await site.connected()
        await is_pending(bot.calls_tool("wipe"))
        await People(site).approves()
        await site.reload(allow(tools=["*"]), gated("wipe", "read"))
        await is_pending(bot.calls_tool("wipe"))


async def test_a_review_whose_rule_has_changed_is_superseded() -> None:
    async with site_of(*RULES, setting=ASKING) as site:
        bot = await site.connected()
        first = await is_pending(bot.calls_tool("wipe"))
        await site.reload(allow(tools=["*"]), gated("wipe", "read"))
        assert (await is_pending(bot.calls_tool("wipe")))["id"] != first["id"]
        old = await People(site).reviews.get(str(first["id"]))
        assert old is not None
        assert old.status.value == "superseded"


async def test_who_is_no_approver_any_more_has_not_approved() -> None:
    async with site_of(*RULES, setting=ASKING) as site:
        bot = await site.connected()
        await is_pending(bot.calls_tool("wipe"))
        await People(site).approves(DAN)
        await runs(site, bot.calls_tool("wipe"))
        fewer = {"flows": (flow(),), "groups": (LEADS.__class__("leads", frozenset({CAROL})),)}
        await site.reload(*RULES, approving=fewer)
        await is_pending(bot.calls_tool("wipe"))


async def test_too_many_open_reviews_of_one_agent_are_refused() -> None:
    tight = Setting(approving={"flows": (flow(open_per_agent=2),), "groups": (LEADS,)})
    async with site_of(allow(tools=["*"]), gated("wipe", scope="agent+tool+args"), setting=tight) as site:
        bot = await site.connected()
        await is_pending(bot.calls_tool("wipe", id=1))
        await is_pending(bot.calls_tool("wipe", id=2))
        refused = await bot.calls_tool("wipe", id=3).result()
        assert "too many open reviews" in refused["content"][0]["text"]


async def test_an_agent_that_has_to_say_why_is_told_how() -> None:
    strict = Setting(approving={"flows": (flow(is_reason_required=True),), "groups": (LEADS,)})
    async with site_of(*RULES, setting=strict) as site:
        bot = await site.connected()
        refused = await bot.calls_tool("wipe").result()
        assert "openmcp.dev/reason" in refused["content"][0]["text"]
        asked = bot.asks("tools/call", name="wipe", arguments={}, _meta={"openmcp.dev/reason": "The user asked me to."})
        await is_pending(asked)
        assert (await People(site).open()).agent_reason == "The user asked me to."


async def held(site: Site, bot: Agent) -> Call:
    call = bot.calls_tool("wipe")
    await call.ticks(1)
    return call


@pytest.mark.parametrize("era", ERAS)
async def test_a_held_call_goes_on_when_the_yes_comes(era: str) -> None:
    async with site_of(*RULES, setting=HOLDING) as site:
        call = await held(site, await site.connected(era))
        await People(site).approves()
        (await site.takes("tools/call")).answers({"content": []})
        assert (await call.told())["result"]["content"] == []
        await call.ends()


async def test_a_held_call_is_refused_when_the_no_comes() -> None:
    async with site_of(*RULES, setting=HOLDING) as site:
        call = await held(site, await site.connected())
        await People(site).denies(reason="No.")
        told = (await call.told())["result"]
        assert told["isError"] is True
        assert "No." in told["content"][0]["text"]
        await call.ends()


async def test_progress_is_shown_to_whom_asks_for_it() -> None:
    async with site_of(*RULES, setting=HOLDING) as site:
        bot = await site.connected()
        call = bot.asks("tools/call", name="wipe", arguments={}, _meta={"progressToken": "t"})
        told = await call.told()
        assert told["params"]["progressToken"] == "t"
        assert 0 < told["params"]["progress"] < 0.001
        review = await People(site).open()
        assert review.code in told["params"]["message"]
        await People(site).approves()
        (await site.takes("tools/call")).answers({"content": []})
        await call.told()
        await call.ends()


async def test_an_agent_that_leaves_ends_the_hold_and_not_the_review() -> None:
    async with site_of(*RULES, setting=HOLDING) as site:
        bot = site.agent("modern")
        call = await held(site, bot)
        call.leaves()
        await call.ended()
        await People(site).approves()
        again = bot.calls_tool("wipe")
        (await site.takes("tools/call")).answers({"content": []})
        await again.result()
