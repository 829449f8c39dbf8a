"""Where a rule wants a human's yes: who is asked, what the agent sees meanwhile, and what counts afterwards."""

import asyncio
from typing import Any

import pytest

from openmcp.approvals.approvals import Approvals, Waiter
from openmcp.errors import ApprovalPending, ApprovalRefused
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.catalogue import Definition
from openmcp.model.decision import Decision
from openmcp.model.grant import Grant
from openmcp.model.server import Server
from tests.conversation.site import ERAS, allow, ask, deny, site_of

YES = Grant("grant", "all", "ask", 2e9)
RULES = (allow(tools=["*"]), ask(tools=["wipe"]))


class Human(Approvals):
    """Answers when the test says so, and tells the agent to wait until then."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()
        self.answer: asyncio.Future[tuple[Grant, ...]] = asyncio.get_running_loop().create_future()
        self.ticks = 0

    async def obtain(
        self,
        agent: Agent,
        server: Server,
        arrival: Arrival,
        decision: Decision,
        definition: Definition | None,
        *,
        waiter: Waiter,
    ) -> tuple[Grant, ...]:
        if not decision.needs_approval:
            return ()
        self.asked.append(arrival.subject.name if arrival.subject else "")
        for _ in range(self.ticks):
            waiter.tick("still waiting")
        self.was_asked.set()
        return await self.answer


async def within(waiting: Any) -> None:
    await asyncio.wait_for(waiting, 10)


@pytest.mark.parametrize("era", ERAS)
async def test_without_anybody_to_ask_the_answer_is_no(era: str) -> None:
    async with site_of(*RULES) as site:
        call = (await site.connected(era)).calls_tool("wipe")
        assert (await call.result())["isError"] is True
        assert await site.kind(call) == "approval-refused"
        prompts = (await site.connected(era, session="canary-2")).asks("prompts/get", name="greet")
        await prompts.refused(200, -32602)


@pytest.mark.parametrize("era", ERAS)
async def test_a_quick_yes_needs_no_stream(era: str) -> None:
    human = Human()
    async with site_of(*RULES, approvals=human) as site:
        call = (await site.connected(era)).calls_tool("wipe")
        await within(human.was_asked.wait())
        assert call.status == 0
        human.answer.set_result((YES,))
        (await site.takes("tools/call")).answers({"content": []})
        assert (await call.result())["content"] == []
        assert human.asked == ["wipe"]


@pytest.mark.parametrize("era", ERAS)
async def test_at_the_first_tick_the_answer_becomes_a_stream(era: str) -> None:
    human = Human()
    human.ticks = 3
    async with site_of(*RULES, approvals=human) as site:
        call = (await site.connected(era)).calls_tool("wipe")
        await call.ticks(4)
        assert (call.status, call.headers["content-type"]) == (200, "text/event-stream")
        human.answer.set_result((YES,))
        (await site.takes("tools/call")).answers({"content": []})
        assert (await call.told())["result"]["content"] == []
        await call.ends()
        assert await site.kind(call) == "ok"


@pytest.mark.parametrize("era", ERAS)
async def test_a_stream_of_the_server_goes_on_in_the_one_that_is_open(era: str) -> None:
    human = Human()
    human.ticks = 1
    async with site_of(*RULES, approvals=human) as site:
        call = (await site.connected(era)).calls_tool("wipe")
        await call.ticks(1)
        human.answer.set_result((YES,))
        stream = (await site.takes("tools/call")).streams()
        stream.sends(method="notifications/progress", params={"progressToken": 1, "progress": 1})
        assert (await call.told())["method"] == "notifications/progress"
        stream.answers({"content": []})
        stream.ends()
        await call.told()
        await call.ends()


@pytest.mark.parametrize("ticks", [0, 1])
@pytest.mark.parametrize(("no", "kind"), [(ApprovalRefused, "approval-refused"), (ApprovalPending, "approval-pending")])
async def test_a_no_has_the_form_that_fits_what_was_written(ticks: int, no: type[ApprovalRefused], kind: str) -> None:
    human = Human()
    human.ticks = ticks
    async with site_of(*RULES, approvals=human) as site:
        call = (await site.connected()).calls_tool("wipe")
        await within(human.was_asked.wait())
        human.answer.set_exception(no())
        told = (await call.told())["result"] if ticks else await call.result()
        assert told["isError"] is True
        await call.ended()
        assert call.is_clean
        assert await site.kind(call) == kind


async def test_what_policy_says_now_counts_when_the_answer_comes() -> None:
    human = Human()
    human.ticks = 1
    async with site_of(*RULES, approvals=human) as site:
        call = (await site.connected()).calls_tool("wipe")
        await call.ticks(1)
        await site.reload(*RULES, deny(tools=["wipe"], reason="Not any more."))
        human.answer.set_result((YES,))
        told = (await call.told())["result"]
        assert (told["isError"], told["content"][0]["text"]) == (True, "Not any more.")
        await call.ends()
        assert await site.kind(call) == "denied"


async def test_a_key_that_was_taken_away_meanwhile_sends_nothing() -> None:
    human = Human()
    human.ticks = 1
    async with site_of(*RULES, approvals=human) as site:
        call = (await site.connected()).calls_tool("wipe")
        await call.ticks(1)
        await site.reload(agents=("eve",))
        human.answer.set_result((YES,))
        assert (await call.told())["error"]["code"] == -31001
        await call.ends()
        assert await site.kind(call) == "unauthenticated"


async def test_after_a_reload_that_changes_nothing_the_call_goes_on() -> None:
    human = Human()
    async with site_of(*RULES, approvals=human) as site:
        call = (await site.connected()).calls_tool("wipe")
        await within(human.was_asked.wait())
        await site.reload()
        human.answer.set_result((YES,))
        (await site.takes("tools/call")).answers({"content": []})
        await call.result()
        assert human.asked == ["wipe", "wipe"]


@pytest.mark.parametrize("era", ERAS)
async def test_an_agent_that_leaves_while_a_human_thinks_sends_nothing(era: str) -> None:
    human = Human()
    async with site_of(*RULES, approvals=human) as site:
        call = (await site.connected(era)).calls_tool("wipe")
        await within(human.was_asked.wait())
        call.leaves()
        await call.ended()
        assert human.answer.cancelled()
