"""Anonymous agents: all share one identity, so nothing of theirs may be had by guessing."""

from pathlib import Path

import pytest

from openmcp.state.sqlite import SqliteStore
from tests.conversation.agent import Agent
from tests.conversation.replica import Offers, Replica
from tests.conversation.site import CANARY, Setting, Site, allow, site_of

ONE = f"{CANARY}-1"
OPEN = Setting(is_anonymous_allowed=True)


async def opened(site: Site, session: str = ONE, *, path: str = "/desk") -> Agent:
    """An anonymous agent whose session the server gave this id."""
    agent = site.agent(name=None)
    agent.path = path
    agent.session = await site.opens(agent, session)
    return agent


async def works(site: Site, agent: Agent, session: str = ONE) -> None:
    call = agent.asks("tools/list")
    asked = await site.takes("tools/list")
    assert asked.headers["mcp-session-id"] == session
    asked.answers({"tools": []})
    await call.result()


async def is_unknown(site: Site, agent: Agent) -> None:
    for call in (agent.asks("tools/list"), agent.listens(), agent.deletes(), agent.notifies("notifications/progress")):
        await call.refused(404, -32600)
        assert await site.kind(call) == "unknown-session"


async def test_the_servers_id_is_sealed_and_goes_back_as_it_was() -> None:
    async with site_of(allow(), setting=OPEN) as site:
        nobody = await opened(site)
        assert nobody.session is not None
        assert ONE not in nobody.session
        await works(site, nobody)
        deleted = nobody.deletes()
        asked = await site.replica.takes("DELETE")
        assert asked.headers["mcp-session-id"] == ONE
        asked.says(204)
        await deleted.ended()
        await is_unknown(site, nobody)


async def test_whoever_guesses_the_servers_id_has_no_session() -> None:
    async with site_of(allow(), setting=OPEN) as site:
        nobody, guesser = await opened(site), site.agent(name=None)
        guesser.session = ONE
        await is_unknown(site, guesser)
        await works(site, nobody)


@pytest.mark.parametrize("session", ["", "A" * 70, "x" * 1025, "é", "no-such-session"])
async def test_what_was_never_sealed_is_unknown(session: str) -> None:
    async with site_of(allow(), setting=OPEN) as site:
        guesser = site.agent(name=None)
        guesser.session = session
        await is_unknown(site, guesser)


async def test_a_sealed_id_opens_at_its_own_server_only() -> None:
    async with site_of(allow(), setting=Setting(is_anonymous_allowed=True, servers=("desk", "lab"))) as site:
        here, there = await opened(site), await opened(site, path="/lab")
        assert here.session != there.session
        here.path = "/lab"
        await is_unknown(site, here)


async def test_the_longest_id_of_a_server_stays_within_a_kibibyte() -> None:
    async with site_of(allow(), setting=OPEN) as site:
        longest = CANARY + "x" * (512 - len(CANARY))
        nobody = await opened(site, longest)
        assert nobody.session is not None
        assert len(nobody.session) <= 1024
        await works(site, nobody, longest)


async def test_named_and_anonymous_agents_cannot_use_one_anothers_sessions() -> None:
    async with site_of(allow(), setting=OPEN) as site:
        nobody, bot = await opened(site), await site.connected(session=f"{CANARY}-2")
        eve, ghost = site.agent(name="eve"), site.agent(name=None)
        for eve.session in (ONE, nobody.session):
            await is_unknown(site, eve)
        ghost.session = bot.session
        await is_unknown(site, ghost)


async def test_a_sealed_id_works_over_a_restart(tmp_path: Path) -> None:
    async with Replica(Offers()).listening() as replica:
        async with site_of(allow(), at=(replica,), store=SqliteStore(tmp_path / "state.db"), setting=OPEN) as site:
            before = await opened(site)
        async with site_of(allow(), at=(replica,), store=SqliteStore(tmp_path / "state.db"), setting=OPEN) as site:
            after = site.agent(name=None)
            after.session = before.session
            await works(site, after)
