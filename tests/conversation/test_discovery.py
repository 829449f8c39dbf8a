"""Replicas that are found by a name: each address is one, and the name is followed as its addresses change."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from openmcp.model.server import Named
from tests.conversation.agent import Agent
from tests.conversation.replica import WAIT_S, Offers, Replica
from tests.conversation.site import CANARY, Setting, Site, allow, site_of

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


class Names:
    """A resolver whose answers the test decides, and which says when it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Iterable[str] | None = addresses
        self._asked = asyncio.Condition()

    async def __call__(self, name: str, port: int) -> Iterable[str]:
        assert name == "desk.tools.svc"
        async with self._asked:
            self._asked.notify_all()
        if self.addresses is None:
            raise OSError("name or service not known")
        return self.addresses

    async def says(self, *addresses: str, times: int = 2) -> None:
        """Answer this from now on, and wait until it was heard."""
        self.addresses = addresses or None
        async with asyncio.timeout(WAIT_S):
            for _ in range(times):
                async with self._asked:
                    await self._asked.wait()


@asynccontextmanager
async def named(names: Names) -> AsyncIterator[Site]:
    """A site whose replicas are found by their name, at the same port of three addresses."""
    async with Replica(Offers()).listening(HOSTS[0]) as first:
        port = first.address.port
        async with (
            Replica(Offers()).listening(HOSTS[1], port) as second,
            Replica(Offers()).listening(HOSTS[2], port) as third,
        ):
            name = Named("desk.tools.svc", port, "/mcp", is_tls=False, refresh_s=0.02)
            setting = Setting(server={"named": name, "replicas": ()})
            async with site_of(allow(), at=[first, second, third], setting=setting, resolve=names) as site:
                site.runtime.start()
                yield site


async def reached(site: Site, agent: Agent) -> str:
    """Let the agent ask something; return the address of the replica that got it."""
    call = agent.asks("tools/list")
    asked = await site.takes("tools/list")
    asked.answers({"tools": []})
    await call.result()
    address: str = asked.writer.get_extra_info("sockname")[0]
    assert asked.headers["host"].startswith("desk.tools.svc:")
    return address


async def all_reached(site: Site, agent: Agent, count: int = 8) -> set[str]:
    return {await reached(site, agent) for _ in range(count)}


async def test_every_address_of_the_name_is_a_replica() -> None:
    async with named(Names(HOSTS[0], HOSTS[2], HOSTS[2])) as site:
        assert await all_reached(site, site.agent("modern")) == {HOSTS[0], HOSTS[2]}


async def test_an_address_that_comes_gets_work_and_one_that_goes_gets_no_more() -> None:
    names = Names(HOSTS[0])
    async with named(names) as site:
        bot = site.agent("modern")
        assert await all_reached(site, bot) == {HOSTS[0]}
        await names.says(HOSTS[0], HOSTS[1])
        assert await all_reached(site, bot) == {HOSTS[0], HOSTS[1]}
        await names.says(HOSTS[1])
        assert await all_reached(site, bot) == {HOSTS[1]}


async def test_sessions_of_an_address_that_stays_go_on_and_those_of_one_that_goes_are_unknown() -> None:
    names = Names(HOSTS[0])
    async with named(names) as site:
        stays = await site.connected(session=f"{CANARY}-stays")
        await names.says(HOSTS[1])
        goes = await site.connected(name="eve", session=f"{CANARY}-goes")
        assert await reached(site, goes) == HOSTS[1]
        await names.says(HOSTS[0], HOSTS[2])
        assert await all_reached(site, stays, 4) == {HOSTS[0]}
        lost = goes.asks("tools/list")
        await lost.refused(404, -32600)


async def test_an_exchange_under_way_ends_as_it_began() -> None:
    names = Names(HOSTS[0])
    async with named(names) as site:
        call = site.agent("modern").calls_tool("read")
        asked = await site.takes("tools/call")
        await names.says(HOSTS[1])
        asked.answers({"content": []})
        await call.result()


async def test_while_a_name_cannot_be_resolved_the_last_addresses_stay() -> None:
    names = Names(HOSTS[0])
    async with named(names) as site:
        await names.says(times=3)
        assert await all_reached(site, site.agent("modern")) == {HOSTS[0]}
        names.addresses = ()
        await names.says(HOSTS[1])
        assert await all_reached(site, site.agent("modern")) == {HOSTS[1]}


async def test_a_name_that_was_never_resolved_is_a_server_without_a_replica_until_it_is() -> None:
    names = Names()
    async with named(names) as site:
        call = site.agent("modern").asks("tools/list")
        await call.refused(200, -31005)
        await names.says(HOSTS[1])
        assert await all_reached(site, site.agent("modern")) == {HOSTS[1]}


async def test_a_reload_keeps_what_is_known_of_a_name() -> None:
    names = Names(HOSTS[0])
    async with named(names) as site:
        bot = await site.connected()
        await site.reload(allow("other"))
        assert await reached(site, bot) == HOSTS[0]
