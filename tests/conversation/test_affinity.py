"""Sessions that no store keeps: the id itself is sealed and says where its session lives, and whose it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from openmcp.model.server import Affinity, AffinityMode
from tests.conversation.agent import Agent
from tests.conversation.replica import Offers, Replica
from tests.conversation.site import CANARY, Setting, Site, allow, site_of

ONE = f"{CANARY}-one"
SEALED = (AffinityMode.SEALED, AffinityMode.HASH, AffinityMode.NONE)
BOUND = (AffinityMode.SEALED, AffinityMode.HASH)


def keeping(mode: AffinityMode, **setting: Any) -> Setting:
    """A setting whose servers keep their sessions this way."""
    return Setting(server={"affinity": Affinity(mode=mode)}, **setting)


async def works(site: Site, agent: Agent, session: str = ONE, *, at: Replica | None = None) -> None:
    """Make sure that the agent's session reaches the server under the server's own id."""
    call = agent.asks("tools/list")
    asked = await (at.takes("tools/list") if at else site.takes("tools/list"))
    assert asked.headers["mcp-session-id"] == session
    asked.answers({"tools": []})
    await call.result()


async def is_unknown(site: Site, agent: Agent) -> None:
    """Make sure that the agent's session reaches nobody, whatever is tried with it."""
    for call in (agent.asks("tools/list"), agent.listens(), agent.deletes(), agent.notifies("notifications/progress")):
        await call.refused(404, -32600)
        assert await site.kind(call) == "unknown-session"


@asynccontextmanager
async def two_sites(mode: AffinityMode) -> AsyncIterator[tuple[Site, Site]]:
    """Two gateways with the same keys and replicas, and each a store of its own."""
    async with (
        Replica(Offers()).listening() as first,
        Replica(Offers()).listening() as second,
        site_of(allow(), at=[first, second], setting=keeping(mode)) as one,
        site_of(allow(), at=[first, second], setting=keeping(mode)) as two,
    ):
        yield one, two


async def opened_at(site: Site, agent: Agent) -> Replica:
    """Let the agent open a session; return the replica that took it."""
    agent.session = await site.opens(agent, ONE)
    call = agent.asks("ping")
    asked = await site.takes("ping")
    asked.answers({})
    await call.result()
    return next(replica for replica in site.replicas if replica.url.split("/")[2] == asked.headers["host"])


@pytest.mark.parametrize("mode", SEALED)
async def test_the_agent_sees_a_sealed_id_and_the_server_its_own(mode: AffinityMode) -> None:
    async with site_of(allow(), setting=keeping(mode)) as site:
        bot = await site.connected(session=ONE)
        assert bot.session is not None
        assert ONE not in bot.session
        assert len(bot.session) <= 1024
        await works(site, bot)


@pytest.mark.parametrize("mode", SEALED)
async def test_the_longest_id_of_a_server_still_fits(mode: AffinityMode) -> None:
    async with site_of(allow(), setting=keeping(mode)) as site:
        session = CANARY + "x" * (512 - len(CANARY))
        bot = await site.connected(session=session)
        assert bot.session is not None
        assert len(bot.session) <= 1024
        await works(site, bot, session)


@pytest.mark.parametrize("mode", SEALED)
async def test_another_agent_is_told_that_there_is_no_such_session(mode: AffinityMode) -> None:
    async with site_of(allow(), setting=keeping(mode)) as site:
        bot, eve = await site.connected(session=ONE), site.agent(name="eve")
        eve.session = bot.session
        await is_unknown(site, eve)
        await works(site, bot)


@pytest.mark.parametrize("mode", SEALED)
async def test_another_server_is_told_that_there_is_no_such_session(mode: AffinityMode) -> None:
    async with site_of(allow(), setting=keeping(mode, servers=("desk", "notes"))) as site:
        bot = await site.connected(session=ONE)
        bot.path = "/notes"
        await is_unknown(site, bot)


@pytest.mark.parametrize("mode", SEALED)
async def test_an_id_that_was_altered_or_made_up_opens_nothing(mode: AffinityMode) -> None:
    async with site_of(allow(), setting=keeping(mode)) as site:
        bot = await site.connected(session=ONE)
        assert bot.session is not None
        whole = bot.session
        last = "A" if whole[-1] != "A" else "B"
        for text in (ONE, whole[:-1] + last, whole + "A", whole[1:], "A" * 1025, "é"):
            bot.session = text
            await is_unknown(site, bot)


@pytest.mark.parametrize("mode", SEALED)
async def test_an_id_sealed_for_an_anonymous_agent_of_a_stored_server_opens_nothing(mode: AffinityMode) -> None:
    async with site_of(allow(), setting=Setting(is_anonymous_allowed=True)) as site:
        nobody = site.agent(name=None)
        nobody.session = await site.opens(nobody, ONE)
        await site.reload(server={"affinity": Affinity(mode=mode)})
        await is_unknown(site, nobody)


@pytest.mark.parametrize("mode", SEALED)
async def test_it_ends_when_the_agent_ends_it(mode: AffinityMode) -> None:
    async with site_of(allow(), setting=keeping(mode)) as site:
        bot = await site.connected(session=ONE)
        call = bot.deletes()
        asked = await site.replica.takes("DELETE")
        assert asked.headers["mcp-session-id"] == ONE
        asked.says(204)
        await call.ended()
        await is_unknown(site, bot)


@pytest.mark.parametrize("mode", SEALED)
async def test_it_ends_when_the_server_does_not_know_it_any_more(mode: AffinityMode) -> None:
    async with site_of(allow(), setting=keeping(mode)) as site:
        bot = await site.connected(session=ONE)
        call = bot.asks("tools/list")
        (await site.replica.takes("tools/list")).says(404)
        await call.ended()
        assert call.status == 404
        await is_unknown(site, bot)


@pytest.mark.parametrize("mode", SEALED)
async def test_a_server_may_give_the_same_id_again_after_it_ended(mode: AffinityMode) -> None:
    async with site_of(allow(), setting=keeping(mode)) as site:
        bot = await site.connected(session=ONE)
        call = bot.deletes()
        (await site.replica.takes("DELETE")).says(204)
        await call.ended()
        bot.session = await site.opens(bot, ONE)
        await works(site, bot)


@pytest.mark.parametrize("mode", SEALED)
async def test_it_ends_with_its_age_however_much_it_is_used(mode: AffinityMode) -> None:
    setting = Setting(server={"affinity": Affinity(mode=mode, max_age_s=3600)})
    async with site_of(allow(), setting=setting) as site:
        bot = await site.connected(session=ONE)
        site.clock.moves(3599)
        await works(site, bot)
        site.clock.moves(1)
        await is_unknown(site, bot)


async def test_a_longer_maximal_age_does_not_lengthen_what_was_sealed() -> None:
    setting = Setting(server={"affinity": Affinity(mode=AffinityMode.SEALED, max_age_s=3600)})
    async with site_of(allow(), setting=setting) as site:
        bot = await site.connected(session=ONE)
        await site.reload(server={"affinity": Affinity(mode=AffinityMode.SEALED, max_age_s=86400)})
        site.clock.moves(3600)
        await is_unknown(site, bot)


@pytest.mark.parametrize("mode", BOUND)
async def test_it_stays_at_its_replica(mode: AffinityMode) -> None:
    async with site_of(allow(), replicas=3, setting=keeping(mode)) as site:
        bot = site.agent()
        at = await opened_at(site, bot)
        for _ in range(6):
            await works(site, bot, at=at)


@pytest.mark.parametrize("mode", BOUND)
async def test_it_is_unknown_when_its_replica_is_gone(mode: AffinityMode) -> None:
    async with site_of(allow(), replicas=2, setting=keeping(mode)) as site:
        bot = site.agent()
        at = await opened_at(site, bot)
        others = tuple(replica.address for replica in site.replicas if replica is not at)
        await site.reload(server={"affinity": Affinity(mode=mode), "replicas": others})
        await is_unknown(site, bot)


async def test_without_affinity_every_exchange_is_balanced_and_outlives_a_replica() -> None:
    async with site_of(allow(), replicas=2, setting=keeping(AffinityMode.NONE)) as site:
        bot = await site.connected(session=ONE)
        served = set[str]()
        for _ in range(4):
            call = bot.asks("tools/list")
            asked = await site.takes("tools/list")
            assert asked.headers["mcp-session-id"] == ONE
            served.add(asked.headers["host"])
            asked.answers({"tools": []})
            await call.result()
        assert len(served) == 2
        stays = site.replicas[0]
        await site.reload(server={"affinity": Affinity(mode=AffinityMode.NONE), "replicas": (stays.address,)})
        await works(site, bot, at=stays)


async def test_a_reply_goes_to_the_replica_that_asked_even_where_sessions_are_shared() -> None:
    async with site_of(allow(), replicas=2, setting=keeping(AffinityMode.NONE)) as site:
        bot = await site.connected(session=ONE)
        for number in range(3):
            call = bot.calls_tool("read")
            asked = await site.takes("tools/call")
            stream = asked.streams()
            stream.sends(message_id=number, method="sampling/createMessage", params={"messages": [], "maxTokens": 1})
            question = await call.told()
            answer = bot.replies(question["id"], {"role": "assistant", "content": {"type": "text", "text": "x"}})
            reply = await site.takes("reply")
            assert reply.headers["host"] == asked.headers["host"]
            reply.accepts()
            await answer.accepted()
            stream.answers({"content": []})
            assert (await call.told())["result"] == {"content": []}
            stream.ends()
            await call.ends()


async def test_an_agent_of_a_hashing_server_always_begins_at_the_same_replica() -> None:
    async with site_of(allow(), replicas=3, setting=keeping(AffinityMode.HASH)) as site:
        first = await opened_at(site, site.agent())
        for _ in range(3):
            assert await opened_at(site, site.agent()) is first


@pytest.mark.parametrize("mode", SEALED)
async def test_another_gateway_with_the_same_keys_serves_it_without_a_common_store(mode: AffinityMode) -> None:
    async with two_sites(mode) as (one, two):
        bot = await one.connected(session=ONE)
        twin = two.agent()
        twin.session = bot.session
        await works(two, twin)
        await works(one, bot)


@pytest.mark.parametrize("mode", SEALED)
async def test_an_anonymous_agent_has_one_too(mode: AffinityMode) -> None:
    async with site_of(allow(), setting=keeping(mode, is_anonymous_allowed=True)) as site:
        nobody = site.agent(name=None)
        nobody.session = await site.opens(nobody, ONE)
        await works(site, nobody)
        bot = site.agent()
        bot.session = nobody.session
        await is_unknown(site, bot)
