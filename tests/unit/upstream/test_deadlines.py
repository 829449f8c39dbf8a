"""Deadlines on a clock that the test moves."""

import heapq
from collections.abc import Callable

from openmcp.upstream.deadlines import GRANULARITY_S, Deadlines


class Call:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.made = 0
        self._calls: list[tuple[float, int, Call]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None], /) -> Call:
        self.made += 1
        call = Call(callback)
        heapq.heappush(self._calls, (when, self.made, call))
        return call

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            when, _, call = heapq.heappop(self._calls)
            if not call.is_cancelled:
                self.now = max(self.now, when)
                call.callback()
        self.now = end


class Item:
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.deadline = 0.0
        self.slot = 0
        self.expired: list[float] = []

    def expire(self, now: float) -> None:
        self.expired.append(now)


def test_an_item_expires_soon_after_its_deadline_and_never_before() -> None:
    loop = Loop()
    deadlines = Deadlines(loop)
    items = [Item(loop) for _ in range(200)]
    for number, item in enumerate(items):
        deadlines.watch(item, loop.now + number * 0.0173)
    loop.move(10)
    for item in items:
        assert len(item.expired) == 1
        assert item.deadline <= item.expired[0] <= item.deadline + 2 * GRANULARITY_S


def test_a_deadline_moved_later_counts_from_then_without_a_new_timer() -> None:
    loop = Loop()
    deadlines = Deadlines(loop)
    item = Item(loop)
    deadlines.watch(item, loop.now + 1)
    made = loop.made
    for _ in range(100):
        deadlines.watch(item, loop.now + 5)
    assert loop.made == made
    loop.move(4.9)
    assert not item.expired
    loop.move(0.3)
    assert len(item.expired) == 1


def test_a_deadline_moved_earlier_counts_at_once() -> None:
    loop = Loop()
    deadlines = Deadlines(loop)
    item = Item(loop)
    deadlines.watch(item, loop.now + 300)
    deadlines.watch(item, loop.now + 1)
    loop.move(1.2)
    assert len(item.expired) == 1
    loop.move(600)
    assert len(item.expired) == 1


def test_what_is_forgotten_never_expires() -> None:
    loop = Loop()
    deadlines = Deadlines(loop)
    item, other = Item(loop), Item(loop)
    deadlines.watch(item, loop.now + 1)
    deadlines.watch(other, loop.now + 1)
    deadlines.forget(item)
    loop.move(2)
    assert not item.expired
    assert len(other.expired) == 1


def test_an_item_may_be_watched_again_while_it_expires() -> None:
    loop = Loop()
    deadlines = Deadlines(loop)

    class Recurring(Item):
        def expire(self, now: float) -> None:
            super().expire(now)
            deadlines.watch(self, now + 1)

    item = Recurring(loop)
    deadlines.watch(item, loop.now + 1)
    loop.move(10.5)
    assert 9 <= len(item.expired) <= 10


def test_one_item_may_end_others_of_the_same_moment() -> None:
    loop = Loop()
    deadlines = Deadlines(loop)

    class Last(Item):
        def expire(self, now: float) -> None:
            super().expire(now)
            for item in items:
                deadlines.forget(item)

    items = [Last(loop) for _ in range(3)]
    for item in items:
        deadlines.watch(item, loop.now + 1)
    loop.move(2)
    assert sum(len(item.expired) for item in items) == 1


def test_nothing_expires_after_close() -> None:
    loop = Loop()
    deadlines = Deadlines(loop)
    item = Item(loop)
    deadlines.watch(item, loop.now + 1)
    deadlines.close()
    loop.move(2)
    assert not item.expired
