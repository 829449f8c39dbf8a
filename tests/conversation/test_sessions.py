"""Legacy sessions: learned from a successful `initialize` only, kept by one agent at one replica, ended for good."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openmcp.errors import StoreUnavailable
from openmcp.model.server import Affinity
from openmcp.state.memory import MemoryStore
from openmcp.state.sqlite import SqliteStore
from openmcp.state.store import Item
from tests.conversation.agent import Agent, Call
from tests.conversation.replica import Body, Offers, Replica
from tests.conversation.site import CANARY, Setting, Site, allow, site_of

ONE, TWO = f"{CANARY}-one", f"{CANARY}-two"


async def works(site: Site, agent: Agent, replica: Replica | None = None) -> None:
    """Make sure that the agent's session reaches the server."""
    call = agent.asks("tools/list")
    asked = await (replica or site.replica).takes("tools/list")
    assert asked.headers["mcp-session-id"] == agent.session
    asked.answers({"tools": []})
    await call.result()


async def is_unknown(site: Site, agent: Agent) -> None:
    """Make sure that the agent's session reaches nobody, whatever is tried with it."""
    for call in (agent.asks("tools/list"), agent.listens(), agent.deletes(), agent.notifies("notifications/progress")):
        await call.refused(404, -32600)
        assert await site.kind(call) == "unknown-session"


async def is_ended(site: Site, session: str = ONE) -> None:
    """Make sure that the gateway itself ends a session that nobody got."""
    ended = await site.replica.takes("DELETE")
    assert ended.headers["mcp-session-id"] == session
    ended.accepts()


# ------------------------------------------------------------ how they begin


async def test_the_agent_gets_the_servers_own_id_with_the_answer_to_initialize() -> None:
    async with site_of(allow()) as site:
        bot = site.agent()
        assert await site.opens(bot, ONE) == ONE
        bot.session = ONE
        await works(site, bot)


async def test_session_id_with_any_other_answer_is_neither_passed_on_nor_learned() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(session=ONE)
        call = bot.asks("tools/list")
        (await site.replica.takes("tools/list")).answers({"tools": []}, session=TWO)
        await call.result()
        assert "mcp-session-id" not in call.headers
        bot.session = TWO
        await is_unknown(site, bot)


async def test_session_id_with_a_failed_initialize_is_neither_passed_on_nor_learned() -> None:
    async with site_of(allow()) as site:
        bot = site.agent()
        call = bot.asks("initialize", protocolVersion=bot.version, capabilities={}, clientInfo={})
        (await site.replica.takes("initialize")).answers(error={"code": -32602, "message": "no"}, session=ONE)
        await call.refused(200, -32602)
        await is_ended(site)
        assert "mcp-session-id" not in call.headers
        bot.session = ONE
        await is_unknown(site, bot)


async def test_initialize_that_is_answered_by_a_stream_opens_a_session_too() -> None:
    async with site_of(allow()) as site:
        bot = site.agent()
        call = bot.asks("initialize", protocolVersion=bot.version, capabilities={}, clientInfo={})
        stream = (await site.replica.takes("initialize")).streams(session=ONE)
        stream.sends(method="notifications/message", params={"level": "info", "data": "early"})
        stream.answers({"protocolVersion": bot.version})
        assert (await call.result())["protocolVersion"] == bot.version
        bot.session = call.headers["mcp-session-id"]
        await works(site, bot)


async def test_initialize_with_an_old_id_is_a_fresh_one() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(session=ONE)
        call = bot.asks("initialize", protocolVersion=bot.version, capabilities={}, clientInfo={})
        asked = await site.replica.takes("initialize")
        assert "mcp-session-id" not in asked.headers
        asked.answers({"protocolVersion": bot.version}, session=TWO)
        await call.result()
        assert call.headers["mcp-session-id"] == TWO


@pytest.mark.parametrize("given", ["2024-11-05", "2031-01-01", None, 7])
async def test_a_revision_that_is_none_of_ours_opens_nothing(given: object) -> None:
    async with site_of(allow()) as site:
        bot = site.agent()
        call = bot.asks("initialize", protocolVersion=bot.version, capabilities={}, clientInfo={})
        (await site.replica.takes("initialize")).answers({"protocolVersion": given}, session=ONE)
        await call.refused(502, -31005)
        await is_ended(site)
        bot.session = ONE
        await is_unknown(site, bot)


@pytest.mark.parametrize("session", ["x" * 513, "with space", "\x7f"])
async def test_an_id_that_no_session_may_have_is_502(session: str) -> None:
    async with site_of(allow()) as site:
        bot = site.agent()
        call = bot.asks("initialize", protocolVersion=bot.version, capabilities={}, clientInfo={})
        (await site.replica.takes("initialize")).answers({"protocolVersion": bot.version}, session=session)
        await call.refused(502, -31005)
        assert "mcp-session-id" not in call.headers
        if session.isprintable():
            await is_ended(site, session)


async def test_what_a_client_declares_costs_no_session_however_much_it_is() -> None:
    async with site_of(allow()) as site:
        bot = site.agent()
        declared: Body = {f"x{number}" + "y" * 1000: {} for number in range(300)}
        call = bot.asks("initialize", protocolVersion=bot.version, capabilities=declared, clientInfo={})
        (await site.replica.takes("initialize")).answers({"protocolVersion": bot.version}, session=ONE)
        await call.result()
        bot.session = call.headers["mcp-session-id"]
        await works(site, bot)


async def test_a_session_that_the_store_cannot_take_ends_at_the_server() -> None:
    store = Deaf()
    async with site_of(allow(), store=store) as site:
        bot = site.agent()
        store.is_deaf = True
        call = bot.asks("initialize", protocolVersion=bot.version, capabilities={}, clientInfo={})
        (await site.replica.takes("initialize")).answers({"protocolVersion": bot.version}, session=ONE)
        await call.refused(503, -31007)
        await is_ended(site)


async def test_a_session_whose_opening_got_no_answer_of_its_own_ends_at_the_server() -> None:
    async with site_of(allow()) as site:
        bot = site.agent()
        call = bot.asks("initialize", protocolVersion=bot.version, capabilities={}, clientInfo={})
        asked = await site.replica.takes("initialize")
        asked.answers({"protocolVersion": bot.version}, session=ONE, id=asked.id + 1)
        await call.refused(200, -31005)
        await is_ended(site)


async def test_an_id_that_is_bound_already_is_502_and_ends_at_the_server() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(session=ONE)
        eve = site.agent(name="eve")
        call = eve.asks("initialize", protocolVersion=eve.version, capabilities={}, clientInfo={})
        (await site.replica.takes("initialize")).answers({"protocolVersion": eve.version}, session=ONE)
        await call.refused(502, -31005)
        await is_ended(site)
        assert await site.kind(call) == "upstream-broken"
        eve.session = ONE
        await is_unknown(site, eve)
        assert bot.session == ONE


async def test_the_same_id_at_another_server_is_another_session() -> None:
    async with site_of(allow(), setting=Setting(servers=("desk", "lab"))) as site:
        bot = await site.connected(session=ONE)
        elsewhere = site.agent(name="eve")
        elsewhere.path = "/lab"
        elsewhere.session = await site.opens(elsewhere, ONE)
        await works(site, bot)
        await works(site, elsewhere)


# ------------------------------------------------------------ whose they are


@pytest.mark.parametrize("session", ["no-such-session", "", "x" * 600, "é"])
async def test_an_unknown_session_is_404(session: str) -> None:
    async with site_of(allow()) as site:
        bot = site.agent()
        bot.session = session
        await is_unknown(site, bot)


async def test_the_session_of_another_agent_is_as_unknown_as_any() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(session=ONE)
        eve = site.agent(name="eve")
        answers: list[tuple[int, Any]] = []
        for eve.session in (ONE, TWO):
            call = eve.asks("ping")
            error = await call.refused(404, -32600)
            answers.append((call.status, {**error, "data": {**error["data"], "exchangeId": ""}}))
        assert answers[0] == answers[1]
        await works(site, bot)


async def test_a_session_stays_where_it_was_opened() -> None:
    async with site_of(allow(), replicas=3) as site:
        agents: list[tuple[Agent, Replica]] = []
        for number in range(6):
            bot = site.agent()
            call = bot.asks("initialize", protocolVersion=bot.version, capabilities={}, clientInfo={})
            asked = await site.takes("initialize")
            asked.answers({"protocolVersion": bot.version}, session=f"{CANARY}-{number}")
            await call.result()
            bot.session = call.headers["mcp-session-id"]
            agents.append((bot, next(r for r in site.replicas if str(r.address.port) in asked.headers["host"])))
        assert len({replica.url for _, replica in agents}) == 3
        for bot, replica in agents:
            await works(site, bot, replica)


async def test_a_session_whose_replica_is_gone_from_the_configuration_is_404() -> None:
    async with site_of(allow(), replicas=2) as site:
        bot = await site.connected(session=ONE)
        left = [replica for replica in site.replicas if replica.url != await home_of(site, bot)]
        site.runtime.swap(site.snapshot())
        await site.reload(server={"replicas": (left[0].address,)})
        call = bot.asks("tools/list")
        await call.refused(404, -32600)
        assert await site.kind(call) == "unknown-session"


async def home_of(site: Site, agent: Agent) -> str:
    """The replica that has the agent's session."""
    call = agent.asks("tools/list")
    asked = await site.takes("tools/list")
    asked.answers({"tools": []})
    await call.result()
    return next(replica.url for replica in site.replicas if str(replica.address.port) in asked.headers["host"])


# ------------------------------------------------------------ how they end


async def test_a_session_ends_by_delete() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(session=ONE)
        call = bot.deletes()
        asked = await site.replica.takes("DELETE")
        assert asked.headers["mcp-session-id"] == ONE
        asked.says(204)
        await call.ended()
        assert call.status == 204
        assert await site.kind(call) == "ok"
        await is_unknown(site, bot)


async def test_a_server_that_refuses_to_end_a_session_keeps_it() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(session=ONE)
        call = bot.deletes()
        (await site.replica.takes("DELETE")).says(405)
        await call.ended()
        assert call.status == 405
        await works(site, bot)


@pytest.mark.parametrize("how", ["POST", "GET", "DELETE", "notification"])
async def test_a_session_ends_when_the_server_does_not_know_it_any_more(how: str) -> None:
    async with site_of(allow()) as site:
        bot = await site.connected(session=ONE)
        ways: dict[str, tuple[Callable[[], Call], str]] = {
            "POST": (lambda: bot.asks("tools/list"), "tools/list"),
            "GET": (bot.listens, "GET"),
            "DELETE": (bot.deletes, "DELETE"),
            "notification": (lambda: bot.notifies("notifications/progress"), "notifications/progress"),
        }
        send, what = ways[how]
        call = send()
        (await site.replica.takes(what)).says(404)
        await call.refused(404, -32600)
        assert await site.kind(call) == "unknown-session"
        await is_unknown(site, bot)


async def test_a_session_ends_when_nobody_uses_it() -> None:
    affinity = Affinity(idle_timeout_s=100.0, max_age_s=10_000.0)
    async with site_of(allow(), setting=Setting(server={"affinity": affinity})) as site:
        bot = await site.connected(session=ONE)
        for _ in range(5):
            site.clock.moves(90)
            await works(site, bot)
        site.clock.moves(101)
        await is_unknown(site, bot)


async def test_a_session_ends_by_age_however_much_it_is_used() -> None:
    affinity = Affinity(idle_timeout_s=100.0, max_age_s=200.0)
    async with site_of(allow(), setting=Setting(server={"affinity": affinity})) as site:
        bot = await site.connected(session=ONE)
        for _ in range(4):
            site.clock.moves(49)
            await works(site, bot)
        site.clock.moves(5)
        await is_unknown(site, bot)


# ------------------------------------------------------------ the store


async def test_sessions_survive_a_restart_with_a_store_that_keeps_them(tmp_path: Path) -> None:
    async with Replica(Offers()).listening() as replica:
        async with site_of(allow(), at=(replica,), store=SqliteStore(tmp_path / "state.db")) as site:
            bot = await site.connected(session=ONE)
        async with site_of(allow(), at=(replica,), store=SqliteStore(tmp_path / "state.db")) as site:
            again, eve = site.agent(), site.agent(name="eve")
            again.session = eve.session = bot.session
            await works(site, again)
            await is_unknown(site, eve)


class Deaf(MemoryStore):
    """A store that may stop answering."""

    is_deaf = False

    async def put(self, ns: str, key: str, value: bytes, **how: Any) -> int:
        if self.is_deaf:
            raise StoreUnavailable
        return await super().put(ns, key, value, **how)

    async def get(self, ns: str, key: str) -> Item | None:
        if self.is_deaf:
            raise StoreUnavailable
        return await super().get(ns, key)


async def test_without_the_store_a_known_session_works_and_another_is_unavailable() -> None:
    store = Deaf()
    async with site_of(allow(), store=store) as site:
        bot = await site.connected(session=ONE)
        store.is_deaf = True
        await works(site, bot)
        eve = site.agent(name="eve")
        eve.session = TWO
        call = eve.calls_tool("read")
        assert (await call.result())["isError"] is True
        assert await site.kind(call) == "store-unavailable"
        await eve.asks("tools/list").refused(200, -31007)
