"""All deadlines of a worker's connections on one clock that ticks once a second.

A connection moves its deadline with every request; a timer of the loop each would
cost more than reading the request. So a deadline is a number on the connection,
and the wheel looks at it when the tick comes that it was last known for. Used by
`connection.py`; knows nothing of HTTP.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger(__name__)

NEVER = 1 << 62
"""A tick that does not come."""


class Timed(Protocol):
    """Something with one deadline at a time."""

    deadline: int
    """The tick after which `on_deadline` is due; `NEVER` = none."""

    visit: int
    """The tick at which the wheel looks next; `NEVER` = not on the wheel. The wheel's own."""

    def on_deadline(self) -> None: ...


class Wheel:
    """Calls `on_deadline` of what is due, at most one tick late and never early."""

    def __init__(self, tick_s: float, on_tick: Callable[[], None] = lambda: None) -> None:
        self.tick = 0
        self._tick_s = tick_s
        self._on_tick = on_tick
        self._slots: dict[int, dict[Timed, None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def ticks(self, seconds: float) -> int:
        """Return how many ticks cover a time, the begun one not counted."""
        return math.ceil(seconds / self._tick_s) + 1

    def arm(self, timed: Timed, ticks: int) -> None:
        """Set the deadline; it replaces the former one."""
        timed.deadline = deadline = self.tick + ticks
        if deadline < timed.visit:
            self._place(timed, deadline)

    def forget(self, timed: Timed) -> None:
        """Keep nothing of what will never be due: short-lived things would wait here for their tick."""
        timed.deadline = NEVER
        if timed.visit != NEVER:
            self._slots[timed.visit].pop(timed, None)
            timed.visit = NEVER

    def start(self) -> None:
        """Let time pass."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick_s, self._turn, loop)

    def stop(self) -> None:
        """Let time stand still, and forget everybody."""
        if self._timer is not None:
            self._timer.cancel()
        self._slots.clear()

    def advance(self) -> None:
        """Turn by one tick."""
        self.tick += 1
        self._on_tick()
        for timed in self._slots.pop(self.tick, ()):
            # Placed again since at an earlier tick: that entry counts, this one is stale.
            if timed.visit == self.tick:
                self._look(timed)

    def _look(self, timed: Timed) -> None:
        timed.visit = NEVER
        if timed.deadline > self.tick:
            if timed.deadline != NEVER:
                self._place(timed, timed.deadline)
            return
        timed.deadline = NEVER
        try:
            timed.on_deadline()
        except Exception:
            _log.exception("A deadline could not be handled")

    def _place(self, timed: Timed, tick: int) -> None:
        timed.visit = tick
        self._slots.setdefault(tick, {})[timed] = None

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        # Scheduled first: nothing that happens in a tick may stop the clock.
        self._timer = loop.call_later(self._tick_s, self._turn, loop)
        self.advance()
