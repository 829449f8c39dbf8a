"""What identity sources share, and what outlives a snapshot: the clock, streams, fetched keys.

Made by the runtime and closed with it. Sources are made anew with each snapshot and find
here what took time to get, and what must not be forgotten: keys, checked tokens, nonces.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from typing import Protocol, TypeVar, runtime_checkable

from openmcp.identity.anchors import TrustAnchors
from openmcp.identity.failures import Failures

T = TypeVar("T")


@runtime_checkable
class Running(Protocol):
    """What does something beside the exchanges while it is kept."""

    def close(self) -> None:
        """Stop."""
        ...


@runtime_checkable
class Arriving(Protocol):
    """What is of no use before it has heard from elsewhere."""

    @property
    def arrived(self) -> asyncio.Event:
        """Set as soon as it has."""
        ...

    @property
    def fault(self) -> str:
        """Why it cannot hear now; empty = it can."""
        ...


class Lasting:
    """Lives as long as the runtime."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        """Unix seconds."""

        self.anchors = TrustAnchors()
        """What the listeners let client certificates be issued under."""

        self.failures = Failures(clock)
        """Which peers have failed too often for a costly check."""

        self._kept: dict[tuple[type[object], Hashable], object] = {}
        self._asked: set[tuple[type[object], Hashable]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def kept(self, kind: type[T], key: Hashable, make: Callable[[], T]) -> T:
        """Return what an earlier snapshot's source has left under this key, else what `make` makes."""
        place = (kind, key)
        self._asked.add(place)
        found = self._kept.get(place)
        if not isinstance(found, kind):
            found = self._kept[place] = make()
        return found

    def sweep(self) -> None:
        """Forget what no source of the newest snapshot has asked for."""
        for place in [place for place in self._kept if place not in self._asked]:
            value = self._kept.pop(place)
            if isinstance(value, Running):
                value.close()
        self._asked.clear()

    def beside(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        """Run something beside the exchanges; it is ended with the runtime."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def faults(self) -> list[str]:
        """What cannot be heard from now, for whoever asks how the node is. May be called from any thread."""
        return [one.fault for one in tuple(self._kept.values()) if isinstance(one, Arriving) and one.fault]

    async def arrived(self, within_s: float) -> bool:
        """Return whether everything that is waited for has come, after this time at the latest."""
        awaited = [one.arrived.wait() for one in self._kept.values() if isinstance(one, Arriving)]
        try:
            await asyncio.wait_for(asyncio.gather(*awaited), within_s)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End everything that runs beside the exchanges."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
