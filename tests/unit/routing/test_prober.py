"""The gateway's own conversations with all replicas: they follow the configuration, and end when it does."""

import asyncio
from dataclasses import dataclass, field

import pytest

from openmcp.mcp import message as messages
from openmcp.mcp.message import Message
from openmcp.mcp.revisions import LATEST_LEGACY, Revision
from openmcp.model.server import Credential, Health, Replica, Server
from openmcp.model.session import Session
from openmcp.routing import prober as probing
from openmcp.routing.catalogues import Catalogues
from openmcp.routing.health import HealthBook
from openmcp.routing.line import Answer
from openmcp.routing.prober import Prober
from tests.unit.routing.made import REPLICAS, Clock, server, session


@dataclass
class Replicas:
    """Legacy replicas with sessions; what is asked of them is kept."""

    asked: list[tuple[str, Server, Replica]] = field(default_factory=list[tuple[str, Server, Replica]])
    hang: frozenset[str] = frozenset()
    """Methods that never get an answer."""

    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(
        self, server: Server, replica: Replica, *, message: Message | None, revision: Revision, session: Session | None
    ) -> Answer:
        what = message.method if message is not None else "DELETE"
        self.asked.append((what, server, replica))
        self.news.set()
        if what in self.hang:
            await asyncio.Event().wait()
        if message is None or message.id is None:
            return Answer(202, None)
        if what == "server/discover":
            return Answer(400, messages.error(message.id, -32601, "Method not found"))
        result = messages.result(message.id, {"protocolVersion": LATEST_LEGACY.version})
        return Answer(200, result, "own" if what == "initialize" else None)

    def at(self, what: str) -> list[str]:
        return [replica.url for method, _, replica in self.asked if method == what]

    async def get(self, what: str, count: int) -> None:
        """Wait until so many of these were asked."""
        async with asyncio.timeout(10):
            while len(self.at(what)) < count:
                self.news.clear()
                await self.news.wait()


@dataclass
class Site:
    replicas: Replicas
    prober: Prober
    catalogues: Catalogues

    def start(self, *servers: Server) -> None:
        self.prober.start(servers, self.catalogues)


@pytest.fixture
def site() -> Site:
    replicas = Replicas()
    prober = Prober(replicas, health=HealthBook(Clock()), clock=Clock())
    return Site(replicas, prober, Catalogues(prober.read, Clock()))


DESK = server(health=Health(interval_s=3600))
FEWER = server(health=Health(interval_s=3600), replicas=REPLICAS[:1])


async def test_all_of_the_gateways_sessions_end_when_it_stops(site: Site) -> None:
    site.start(DESK)
    await site.replicas.get("notifications/initialized", 3)
    await site.prober.stop()
    assert sorted(site.replicas.at("DELETE")) == sorted(replica.url for replica in REPLICAS)


@pytest.mark.parametrize("hanging", ["DELETE", "initialize", "ping", "tools/list", "server/discover"])
async def test_a_replica_that_does_not_answer_keeps_nobody_from_stopping(
    site: Site, hanging: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "_ENDING_S", 0.05)
    site.start(DESK)
    await site.replicas.get("notifications/initialized", 3)
    site.replicas.hang = frozenset({hanging})
    site.start(DESK, server("lab"))
    await site.replicas.get("server/discover", 6)
    async with asyncio.timeout(5):
        await site.prober.stop()


async def test_sessions_at_replicas_that_a_reload_removed_are_ended(site: Site) -> None:
    site.start(DESK)
    await site.replicas.get("notifications/initialized", 3)
    site.start(FEWER)
    await site.replicas.get("DELETE", 2)
    assert sorted(site.replicas.at("DELETE")) == sorted(replica.url for replica in REPLICAS[1:])
    await site.prober.stop()
    assert site.replicas.at("DELETE")[2:] == [REPLICAS[0].url]


async def test_what_began_earlier_brings_no_former_credentials_or_replicas_back(site: Site) -> None:
    old = server(health=Health(probe="none"), credentials=(Credential("x-key", "old"),))
    new = server(health=Health(probe="none"), credentials=(Credential("x-key", "new"),), replicas=REPLICAS[:1])
    site.prober.know([old])
    site.prober.know([new])
    assert await site.prober.read(old) is not None
    assert not site.prober.is_legacy_only(server("lab"))
    assert {(server.credentials[0].value, replica.url) for _, server, replica in site.replicas.asked} == {
        ("new", REPLICAS[0].url)
    }
    await site.prober.stop()


async def test_a_session_is_ended_beside_whatever_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_ENDING_S", 0.05)
    site.replicas.hang = frozenset({"DELETE"})
    site.prober.end(session(), DESK, REPLICAS[1])
    await site.replicas.get("DELETE", 1)
    assert site.replicas.at("DELETE") == [REPLICAS[1].url]
    await site.prober.stop()
