"""Bindings of sessions while several exchanges use them at the same time."""

import asyncio
from typing import Any

import pytest

from openmcp.errors import UnknownSession
from openmcp.routing.sessions import Sessions
from openmcp.state.memory import MemoryStore
from openmcp.state.sealing import Keyring
from openmcp.state.store import Item
from tests.unit.routing.made import Clock, agent, server, session


class Slow(MemoryStore):
    """A store whose answers are held back once they are made."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.gate = asyncio.Event()
        self.gate.set()
        self.made = asyncio.Event()

    async def get(self, ns: str, key: str) -> Item | None:
        item = await super().get(ns, key)
        await self._hold()
        return item

    async def put(self, ns: str, key: str, value: bytes, **how: Any) -> int:
        version = await super().put(ns, key, value, **how)
        await self._hold()
        return version

    async def _hold(self) -> None:
        self.made.set()
        await self.gate.wait()


@pytest.mark.parametrize("how", ["touched", "looked up"])
async def test_an_ended_session_does_not_come_back_by_who_was_using_it(how: str) -> None:
    clock = Clock()
    store = Slow(clock)
    await store.open()
    sessions = Sessions(store, Keyring(sealing=(b"s" * 32,), hashing=b"h" * 32), clock)
    desk, bot, one = server(), agent(), session()
    await sessions.learn(desk, one)
    if how == "touched":
        clock.now += desk.affinity.idle_timeout_s / 2
    else:
        sessions = Sessions(store, Keyring(sealing=(b"s" * 32,), hashing=b"h" * 32), clock)
    store.gate.clear()
    store.made.clear()
    using = asyncio.ensure_future(sessions.find(desk, one.id, bot))
    async with asyncio.timeout(10):
        await store.made.wait()
        await sessions.forget(desk, one)
        store.gate.set()
        await asyncio.wait([using])
        with pytest.raises(UnknownSession):
            await sessions.find(desk, one.id, bot)


async def test_a_session_in_use_is_touched_and_lives_on() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    await store.open()
    sessions = Sessions(store, Keyring(sealing=(b"s" * 32,), hashing=b"h" * 32), clock)
    desk, bot, one = server(), agent(), session()
    await sessions.learn(desk, one)
    for _ in range(20):
        clock.now += desk.affinity.idle_timeout_s / 2
        assert await sessions.find(desk, one.id, bot) == one
    clock.now += desk.affinity.idle_timeout_s
    with pytest.raises(UnknownSession):
        await sessions.find(desk, one.id, bot)
