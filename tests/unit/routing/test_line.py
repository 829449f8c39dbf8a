"""The gateway's own conversation with a replica: what it reads is bounded, and one session is all that it opens."""

import asyncio
from collections.abc import Callable, Mapping

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
        self.line = Line(server(), REPLICAS[0], self, Clock())

    async def __call__(
        self, server: Server, replica: Replica, *, message: Message | None, revision: Revision, session: Session | None
    ) -> Answer:
        self.asked.append(message.method if message is not None else "DELETE")
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
