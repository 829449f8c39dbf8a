"""One timer for everything upstream that may take too long.

Every connection has one deadline that moves with each exchange, nearly always to
later. A timer of the event loop per exchange would cost more than the exchange's own
bookkeeping; here a move to later is one attribute. Used by `http1` and `pool`; knows
nothing of either.
"""

import heapq
import math
from collections.abc import Callable
from typing import Protocol

GRANULARITY_S = 0.05
"""Deadlines are kept this exactly: fine enough for a connect timeout, coarse enough to share timers."""


class Watched(Protocol):
    """Something that has a deadline."""

    deadline: float
    """On the loop's clock."""

    slot: int
    """Where it is kept; 0 = not watched. Belongs to `Deadlines`."""

    def expire(self, now: float) -> None:
        """Act on the deadline that has passed; the item is no longer watched."""


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What is needed of the event loop."""

    def time(self) -> float: ...
    def call_at(self, when: float, callback: Callable[[], None], /) -> Timer: ...


class Deadlines:
    """Items by the moment they expire; one timer of the loop, for the earliest."""

    def __init__(self, loop: Clock) -> None:
        self._loop = loop
        self._slots: dict[int, dict[Watched, None]] = {}
        self._order: list[int] = []
        self._timer: Timer | None = None
        self._timer_slot = 0

    def watch(self, item: Watched, deadline: float) -> None:
        """Let `item` expire at `deadline`, and no longer at what was said before."""
        item.deadline = deadline
        slot = deadline / GRANULARITY_S
        # A move to later is noticed when the old slot comes up.
        if item.slot and item.slot <= slot:
            return
        self.forget(item)
        self._put(item, math.ceil(slot))

    def forget(self, item: Watched) -> None:
        """Let `item` never expire, and hold it no longer."""
        if item.slot:
            self._slots[item.slot].pop(item, None)
            item.slot = 0

    def close(self) -> None:
        """Forget everything."""
        for items in self._slots.values():
            for item in items:
                item.slot = 0
        self._slots.clear()
        self._order.clear()
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _put(self, item: Watched, slot: int) -> None:
        item.slot = slot
        items = self._slots.get(slot)
        if items is None:
            items = self._slots[slot] = {}
            heapq.heappush(self._order, slot)
            self._arm()
        items[item] = None

    def _arm(self) -> None:
        if self._timer:
            if self._timer_slot <= self._order[0]:
                return
            self._timer.cancel()
        self._timer_slot = self._order[0]
        self._timer = self._loop.call_at(self._timer_slot * GRANULARITY_S, self._run)

    def _run(self) -> None:
        self._timer = None
        now = self._loop.time()
        current = max(self._timer_slot, math.floor(now / GRANULARITY_S))
        while self._order and self._order[0] <= current:
            items = self._slots[self._order[0]]
            # One by one: what expires may end others of the same moment.
            while items:
                item, _ = items.popitem()
                item.slot = 0
                if item.deadline <= now:
                    item.expire(now)
                else:
                    self._put(item, max(math.ceil(item.deadline / GRANULARITY_S), current + 1))
            del self._slots[heapq.heappop(self._order)]
        if self._order and not self._timer:
            self._arm()
