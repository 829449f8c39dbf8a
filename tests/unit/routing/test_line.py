"""The gateway's own conversation with a replica: what it reads is bounded, and one session is all that it opens."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from openmcp.errors import UnknownSession, UpstreamBroken, UpstreamUnreachable
from openmcp.mcp import message as messages
from openmcp.mcp import revisions
from openmcp.mcp.message import JsonObject, Message
from openmcp.mcp.methods import SubjectKind
from openmcp.mcp.revisions import Revision
from openmcp.model.server import Replica, Server
from openmcp.model.session import Session
from openmcp.routing.line import Answer, Line
from tests.unit.routing.made import REPLICAS, Clock, server

LEGACY = revisions.LATEST_LEGACY.version
Page = Callable[[JsonObject], JsonObject]


class Talk:
    """A replica whose answers are written here; counts what it was asked."""

    def __init__(self, pages: Mapping[str, Page] | None = None) -> None:
        self.pages = dict(pages or {})
        self.asked: list[str] = []
        self.is_opening = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.line = Line(server(), REPLICAS[0], self, Clock())

    async def __call__(
        self, server: Server, replica: Replica, *, message: Message | None, revision: Revision, session: Session | None
    ) -> Answer:
        self.asked.append(message.method if message is not None else "DELETE")
        if message is not None and message.method == "initialize":
            self.is_opening.set()
            await self.gate.wait()
        await asyncio.sleep(0)
        if message is None or message.id is None:
            return Answer(202, None)
        answer = self.pages.get(message.method)
        if answer is None:
            return Answer(200, messages.error(message.id, -32601, "Method not found"))
        session_id = "own" if message.method == "initialize" else None
        return Answer(200, messages.result(message.id, answer(message.params)), session_id)


def modern(**pages: Page) -> Talk:
    return Talk({"server/discover": lambda _: {}, **{f"{kind}/list": page for kind, page in pages.items()}})


# ------------------------------------------------------------ how much is read


async def test_a_list_is_read_no_further_than_the_bound_on_entries() -> None:
    turn = iter(range(1000))

    def endless(params: JsonObject) -> JsonObject:
        page = next(turn)
        return {"tools": [{"name": f"{page}-{number}"} for number in range(3000)], "nextCursor": "more"}

    talk = modern(tools=endless, prompts=lambda _: {"prompts": [{"name": "greet"}]})
    catalogue = await talk.line.read()
    assert len(catalogue.definitions) == 9000
    assert catalogue.complete.isdisjoint({SubjectKind.TOOL, SubjectKind.PROMPT})
    assert talk.asked.count("tools/list") == 4


async def test_lists_are_read_no_further_than_the_bound_on_bytes() -> None:
    def junk(params: JsonObject) -> JsonObject:
        return {"tools": [], "junk": "x" * (10 << 20), "nextCursor": "more"}

    talk = modern(tools=junk)
    catalogue = await talk.line.read()
    assert SubjectKind.TOOL not in catalogue.complete
    assert talk.asked.count("tools/list") == 4


async def test_what_is_within_the_bounds_is_complete() -> None:
    talk = modern(tools=lambda _: {"tools": [{"name": f"{number}"} for number in range(10_000)]})
    catalogue = await talk.line.read()
    assert len(catalogue.definitions) == 10_000
    assert catalogue.complete == frozenset(SubjectKind)


# ------------------------------------------------------------ the session


def opens(params: JsonObject) -> JsonObject:
    return {"protocolVersion": LEGACY}


def legacy() -> Talk:
    return Talk({"initialize": opens, "ping": lambda _: {}})


async def test_connects_at_the_same_time_open_one_session() -> None:
    talk = legacy()
    async with asyncio.timeout(10):
        await asyncio.gather(talk.line.check(), talk.line.read(), talk.line.check())
    assert talk.asked.count("initialize") == 1


async def test_whoever_gives_up_while_connecting_leaves_no_session_behind() -> None:
    talk = legacy()
    check = asyncio.ensure_future(talk.line.check())
    async with asyncio.timeout(10):
        await talk.is_opening.wait()
        check.cancel()
        await talk.line.close()
    assert talk.asked[-1] == "DELETE"


async def test_a_session_that_opens_when_nobody_waits_for_its_end_is_ended() -> None:
    talk = legacy()
    talk.gate.clear()
    check = asyncio.ensure_future(talk.line.check())
    async with asyncio.timeout(10):
        await talk.is_opening.wait()
        closing = asyncio.ensure_future(talk.line.close())
        await asyncio.wait([closing], timeout=0.01)
        closing.cancel()
        talk.gate.set()
        await asyncio.wait([check, closing])
    assert talk.asked[-1] == "DELETE"


async def test_a_closed_line_opens_nothing_any_more() -> None:
    talk = legacy()
    await talk.line.check()
    await talk.line.close()
    with pytest.raises(UpstreamUnreachable):
        await talk.line.check()
    assert (talk.asked.count("initialize"), talk.asked.count("DELETE")) == (1, 1)


async def test_a_replica_that_speaks_the_legacy_era_now_is_known_for_it() -> None:
    talk = modern()
    await talk.line.check()
    assert talk.line.revision == revisions.LATEST
    talk.pages = legacy().pages
    await talk.line.check()
    assert talk.line.revision == revisions.LATEST_LEGACY
    assert talk.line.session is not None


async def test_a_replica_that_speaks_the_modern_era_now_is_known_for_it() -> None:
    talk = legacy()
    await talk.line.check()

    def unspoken(params: JsonObject) -> JsonObject:
        raise UpstreamBroken

    talk.pages = {"server/discover": lambda _: {}, "ping": unspoken}
    await talk.line.check()
    assert talk.line.revision == revisions.LATEST
    assert talk.line.session is None


async def test_a_replica_without_ping_keeps_its_session() -> None:
    talk = Talk({"initialize": opens})
    for _ in range(3):
        await talk.line.check()
    assert talk.asked.count("initialize") == 1


async def test_lists_are_read_in_a_new_session_when_the_former_is_over() -> None:
    talk = legacy()
    await talk.line.check()
    is_over = iter([True])

    def tools(params: JsonObject) -> JsonObject:
        if next(is_over, False):
            raise UnknownSession
        return {"tools": [{"name": "read"}]}

    talk.pages["tools/list"] = tools
    catalogue = await talk.line.read()
    assert [subject.name for subject in catalogue.definitions] == ["read"]
    assert talk.asked.count("initialize") == 2
