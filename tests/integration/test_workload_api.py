"""Bundles from a SPIFFE agent: its own and federated ones, rotation, and an agent that comes, goes and stays away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from openmcp.config.identities import SourceSpec, SpiffeSettings
from openmcp.identity.agents import identity_chain
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import IdentitySource
from openmcp.identity.spiffe import SpiffeSource
from openmcp.identity.workload import STALE_AFTER_S
from openmcp.model.agent import Principal
from tests.support.certificates import Made
from tests.support.spire import Agent, TrustDomain
from tests.unit.identity.certs import SERVER, Clock, presenting, who

WAIT_S = 20.0


@asynccontextmanager
async def lasting(clock: Clock | None = None) -> AsyncIterator[Lasting]:
    kept = Lasting() if clock is None else Lasting(clock)
    try:
        yield kept
    finally:
        await kept.close()


@pytest.fixture
async def kept() -> AsyncIterator[Lasting]:
    async with lasting() as made:
        yield made


def settings(agent: Agent, *domains: str) -> SpiffeSettings:
    return SpiffeSettings({}, frozenset(domains) or None, agent.address)


async def becomes(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110 – what is waited for happens in another thread
            await asyncio.sleep(0.02)


async def asked(source: IdentitySource, made: Made) -> str:
    return who(await source.verify(presenting(made), SERVER))


async def test_bundles_of_the_own_and_of_federated_domains_come_from_the_agent(tmp_path: Path, kept: Lasting) -> None:
    own, partner = TrustDomain("own.org"), TrustDomain("partner.org")
    agent = Agent(tmp_path / "agent.sock", own, partner)
    agent.start()
    try:
        source = SpiffeSource("workload", settings(agent), kept)
        await becomes(lambda: len(source.anchors) == 2)
        assert await asked(source, own.svid()) == "spiffe://own.org/bot"
        assert await asked(source, partner.svid()) == "spiffe://partner.org/bot"
        crossed = TrustDomain("own.org", partner.authority).svid()
        assert (await asked(source, crossed)).startswith("invalid")
        assert ("workload.spiffe.io", "true") in agent.metadata
    finally:
        agent.stop()


async def test_only_the_domains_that_are_named_are_known(tmp_path: Path, kept: Lasting) -> None:
    own, partner = TrustDomain("own.org"), TrustDomain("partner.org")
    agent = Agent(tmp_path / "agent.sock", own, partner)
    agent.start()
    try:
        source = SpiffeSource("workload", settings(agent, "own.org"), kept)
        await becomes(lambda: len(source.anchors) == 1)
        assert await asked(source, own.svid()) == "spiffe://own.org/bot"
        assert await asked(source, partner.svid()) == "absent"
    finally:
        agent.stop()


async def test_a_rotated_bundle_counts_at_once_and_the_listeners_hear_of_it(tmp_path: Path, kept: Lasting) -> None:
    old, new = TrustDomain("own.org"), TrustDomain("own.org")
    agent = Agent(tmp_path / "agent.sock", old)
    agent.start()
    told: list[bytes] = []
    kept.anchors.on_change(lambda: told.append(kept.anchors.pem()))
    try:
        source = SpiffeSource("workload", settings(agent), kept)
        kept.anchors.follow([source])
        before = old.svid()
        await becomes(lambda: len(told) == 1)
        verdict = await source.verify(presenting(before), SERVER)
        assert isinstance(verdict, Principal)
        agent.tell(new)
        await becomes(lambda: len(told) == 2)
        assert told == [old.authority.pem, new.authority.pem]
        assert await asked(source, new.svid()) == "spiffe://own.org/bot"
        assert (await asked(source, before)).startswith("invalid")
        assert not source.vouches(verdict)
    finally:
        agent.stop()


async def test_an_agent_that_is_not_there_yet_is_waited_for(tmp_path: Path, kept: Lasting) -> None:
    own = TrustDomain("own.org")
    agent = Agent(tmp_path / "agent.sock", own)
    source = SpiffeSource("workload", settings(agent, "own.org"), kept)
    assert "no bundle" in await asked(source, own.svid())
    agent.start()
    try:
        await becomes(lambda: len(source.anchors) == 1)
        assert await asked(source, own.svid()) == "spiffe://own.org/bot"
    finally:
        agent.stop()


async def test_the_first_answer_is_waited_for_and_not_for_ever(tmp_path: Path, kept: Lasting) -> None:
    own = TrustDomain("own.org")
    agent = Agent(tmp_path / "agent.sock", own)
    source = SpiffeSource("workload", settings(agent), kept)
    assert not await kept.arrived(0.2)
    agent.start()
    try:
        assert await kept.arrived(WAIT_S)
        assert await asked(source, own.svid()) == "spiffe://own.org/bot"
    finally:
        agent.stop()


async def test_while_the_agent_is_down_its_last_word_holds_and_its_next_one_counts(
    tmp_path: Path, kept: Lasting
) -> None:
    old, new = TrustDomain("own.org"), TrustDomain("own.org")
    agent = Agent(tmp_path / "agent.sock", old)
    agent.start()
    source = SpiffeSource("workload", settings(agent), kept)
    await becomes(lambda: len(source.anchors) == 1)
    await becomes(lambda: not kept.faults())
    agent.stop()
    await becomes(lambda: len(kept.faults()) == 1)
    assert await asked(source, old.svid()) == "spiffe://own.org/bot"
    again = Agent(tmp_path / "agent.sock", new)
    again.start()
    try:
        await becomes(lambda: set(source.anchors) == {new.authority.der})
        assert (await asked(source, old.svid())).startswith("invalid")
        await becomes(lambda: not kept.faults())
    finally:
        again.stop()


async def test_an_agent_that_stays_away_is_believed_no_more(tmp_path: Path) -> None:
    own, clock = TrustDomain("own.org"), Clock(time.time())
    agent = Agent(tmp_path / "agent.sock", own)
    agent.start()
    async with lasting(clock) as kept:
        source = SpiffeSource("workload", settings(agent), kept)
        await becomes(lambda: len(source.anchors) == 1)
        agent.stop()
        clock.now += STALE_AFTER_S / 2
        await asyncio.sleep(0.3)
        assert len(source.anchors) == 1
        clock.now += STALE_AFTER_S
        await becomes(lambda: not source.anchors)


async def test_a_reload_goes_on_with_the_stream_and_its_end_closes_it(tmp_path: Path, kept: Lasting) -> None:
    agent = Agent(tmp_path / "agent.sock", TrustDomain("own.org"))
    agent.start()
    try:
        spec = SourceSpec("workload", 1, "spiffe", settings(agent))
        identity_chain([spec], [], lasting=kept)
        await becomes(lambda: kept.anchors.pem() != b"")
        revision = kept.anchors.revision
        identity_chain([spec], [], lasting=kept)
        # No moment without a bundle: nobody was told of a change.
        assert kept.anchors.revision == revision
        identity_chain([], [], lasting=kept)
        assert kept.anchors.pem() == b""
    finally:
        agent.stop()
