"""What is known of a server's lists, when they are read, and whose view counts."""

import asyncio

import pytest

from openmcp.errors import Hidden
from openmcp.mcp import methods
from openmcp.mcp.message import Json
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.catalogue import Catalogue
from openmcp.model.server import Server
from openmcp.routing.catalogues import Catalogues
from openmcp.routing.definitions import definitions
from tests.unit.routing.made import Clock, agent, server

TOOLS = methods.listing(methods.TOOLS_LIST)
assert TOOLS is not None
EVERY_KIND = frozenset(SubjectKind)


def tool(name: str) -> Subject:
    return Subject(SubjectKind.TOOL, name)


def listed(*names: str) -> Json:
    return {"tools": [{"name": name} for name in names]}


def catalogue(*names: str, complete: frozenset[SubjectKind] = EVERY_KIND, templates: tuple[str, ...] = ()) -> Catalogue:
    assert TOOLS is not None
    return Catalogue({found.subject: found for found in definitions(TOOLS, listed(*names))}, templates, complete)


class Lists:
    """A server whose lists the test writes."""

    def __init__(self, given: Catalogue | None) -> None:
        self.given = given
        self.readings = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.clock = Clock()
        self.catalogues = Catalogues(self.read, self.clock)
        self.server = server()

    async def read(self, server: Server) -> Catalogue | None:
        self.readings += 1
        await self.gate.wait()
        return self.given

    async def knows(self, name: str, who: str = "bot") -> bool:
        found = await self.catalogues.resolve(self.server, agent(who), subject=tool(name))
        return found is not None

    def shows(self, who: str, *names: str, is_first_page: bool = True) -> None:
        assert TOOLS is not None
        self.catalogues.learn(
            self.server, agent(who), listing=TOOLS, result=listed(*names), is_first_page=is_first_page
        )


async def test_the_first_need_reads_the_lists() -> None:
    lists = Lists(catalogue("read"))
    assert await lists.knows("read")
    assert await lists.knows("read")
    assert lists.readings == 1


async def test_all_who_come_meanwhile_share_one_reading() -> None:
    lists = Lists(catalogue("read"))
    lists.gate.clear()
    waiting = [asyncio.ensure_future(lists.knows("read")) for _ in range(5)]
    refreshing = [asyncio.ensure_future(lists.catalogues.refresh(lists.server)) for _ in range(5)]
    await asyncio.wait(waiting, timeout=0.01)
    lists.gate.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*refreshing)
        found = await asyncio.gather(*waiting, return_exceptions=True)
    assert lists.readings == 1
    assert True in found


async def test_whoever_leaves_takes_the_reading_from_nobody() -> None:
    lists = Lists(catalogue("read"))
    lists.gate.clear()
    first = asyncio.ensure_future(lists.knows("read"))
    second = asyncio.ensure_future(lists.catalogues.refresh(lists.server))
    await asyncio.wait([first], timeout=0.01)
    first.cancel()
    lists.gate.set()
    async with asyncio.timeout(10):
        await second
    assert await lists.knows("read")
    assert lists.readings == 1


async def test_a_name_in_no_complete_list_does_not_exist() -> None:
    lists = Lists(catalogue("read"))
    with pytest.raises(Hidden):
        await lists.knows("wipe")


async def test_a_name_may_exist_where_the_lists_are_not_complete() -> None:
    lists = Lists(catalogue("read", complete=frozenset({SubjectKind.PROMPT})))
    assert not await lists.knows("wipe")


async def test_a_name_may_exist_where_nothing_could_be_read() -> None:
    assert not await Lists(None).knows("wipe")


async def test_what_could_not_be_read_again_stays_as_it_was() -> None:
    lists = Lists(catalogue("read"))
    assert await lists.knows("read")
    lists.given = None
    await lists.catalogues.refresh(lists.server)
    assert await lists.knows("read")


async def test_misses_read_again_only_after_a_while_or_a_notice() -> None:
    lists = Lists(catalogue("read"))
    for _ in range(3):
        with pytest.raises(Hidden):
            await lists.knows("wipe")
    assert lists.readings == 1
    lists.catalogues.changed(lists.server)
    with pytest.raises(Hidden):
        await lists.knows("wipe")
    assert lists.readings == 2
    lists.clock.now += 2
    lists.given = catalogue("wipe")
    assert await lists.knows("wipe")
    assert lists.readings == 3


async def test_the_agents_own_list_counts_for_this_agent_only() -> None:
    lists = Lists(catalogue("read"))
    lists.shows("bot", "special")
    assert await lists.knows("special")
    assert await lists.knows("read")
    with pytest.raises(Hidden):
        await lists.knows("special", "eve")


async def test_pages_add_up_and_a_first_page_begins_anew() -> None:
    lists = Lists(catalogue())
    lists.shows("bot", "a")
    lists.shows("bot", "b", is_first_page=False)
    assert await lists.knows("a")
    assert await lists.knows("b")
    lists.shows("bot", "c")
    for gone in ("a", "b"):
        with pytest.raises(Hidden):
            await lists.knows(gone)


async def test_a_resource_that_fits_a_template_is_not_looked_for() -> None:
    lists = Lists(catalogue(templates=("doc://{n}",)))
    await lists.catalogues.refresh(lists.server)
    fits = Subject(SubjectKind.RESOURCE, "doc://7")
    assert await lists.catalogues.resolve(lists.server, agent(), subject=fits) is None
    assert lists.readings == 1
    with pytest.raises(Hidden):
        await lists.catalogues.resolve(lists.server, agent(), subject=Subject(SubjectKind.RESOURCE, "file://7"))
    with pytest.raises(Hidden):
        await lists.catalogues.resolve(lists.server, agent(), subject=tool("doc://7"))


async def test_a_reading_that_fails_is_tried_again() -> None:
    class Failing(Lists):
        async def read(self, server: Server) -> Catalogue | None:
            self.readings += 1
            if self.readings == 1:
                raise OSError("gone")
            return self.given

    lists = Failing(catalogue("read"))
    with pytest.raises(OSError, match="gone"):
        await lists.knows("read")
    lists.clock.now += 2
    assert await lists.knows("read")


def test_digests_follow_the_definition_and_nothing_else() -> None:
    assert TOOLS is not None
    entries: list[Json] = [
        {"name": "a", "inputSchema": {"type": "object", "x": 1}},
        {"inputSchema": {"x": 1, "type": "object"}, "name": "a", "_meta": {"seen": 1}},
        {"name": "a", "inputSchema": {"type": "object", "x": 2}},
    ]
    one, two, three = (found.digest for found in definitions(TOOLS, {"tools": entries}))
    assert one == two != three


@pytest.mark.parametrize("result", [None, [], {}, {"tools": {}}, {"tools": [7, {}, {"name": 7}, None]}])
def test_what_is_no_list_defines_nothing(result: Json) -> None:
    assert TOOLS is not None
    assert list(definitions(TOOLS, result)) == []
