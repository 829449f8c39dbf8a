"""The bundles that a SPIFFE agent tells of, kept up to date beside the exchanges.

One per agent address, for all sources and over all snapshots. While the agent is down the
last bundles hold, for a day at most: authorities expire by themselves, but one that was
withdrawn meanwhile would not be noticed.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Protocol

from openmcp.config.identities import Bundle
from openmcp.errors import OpenMCPError
from openmcp.identity.lasting import Lasting

log = logging.getLogger(__name__)

STALE_AFTER_S = 24 * 3600.0
"""Nothing is believed of an agent that has been silent for longer."""

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0

Told = Mapping[str, Bundle]
"""Bundles by trust domain; only one of the two halves of each is filled."""


Ask = Callable[[], AsyncGenerator[Told]]


class AgentUnreachable(OpenMCPError):
    """The agent is down, or refuses to say anything."""


class Agent(Protocol):
    """A SPIFFE agent."""

    def x509_bundles(self) -> AsyncGenerator[Told]:
        """Yield the authorities of all trust domains, and again after each rotation. Raises: AgentUnreachable."""
        ...

    def jwt_bundles(self) -> AsyncGenerator[Told]:
        """Yield the keys of all trust domains, and again after each rotation. Raises: AgentUnreachable."""
        ...


class WorkloadBundles:
    """The newest bundles that one agent has told of."""

    def __init__(self, clock: Callable[[], float], on_change: Callable[[], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._x509: Told = {}
        self._jwt: Told = {}
        self.bundles: Told = {}
        """By trust domain; empty until the agent has answered for the first time."""

        self.revision = 0
        """Grows with each change."""

        self.arrived = asyncio.Event()
        """Set as soon as the agent has told of authorities."""

        self._silent: dict[str, str] = {}
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    @property
    def fault(self) -> str:
        """Why the agent cannot be heard now; empty = it can. May be read from any thread."""
        return "; ".join(f"{half}: {why}" for half, why in tuple(self._silent.items()))

    @classmethod
    def follow(cls, address: str, lasting: Lasting) -> "WorkloadBundles":
        """Return the bundles of the agent at this address, which are followed until closed."""
        # Only here: the library is an extra, and large.
        from openmcp.identity.workload_api import WorkloadApi

        bundles = cls(lasting.clock, lasting.anchors.refresh)
        bundles.begin(WorkloadApi(address), lasting)
        return bundles

    def begin(self, agent: Agent, lasting: Lasting) -> None:
        """Follow both halves, beside the exchanges."""
        self._tasks = (
            lasting.beside(self._follow("X.509", agent.x509_bundles, self._take_x509)),
            lasting.beside(self._follow("JWT", agent.jwt_bundles, self._take_jwt)),
        )

    def close(self) -> None:
        """Follow no more."""
        for task in self._tasks:
            task.cancel()

    async def _follow(self, half: str, ask: Ask, take: Callable[[Told], None]) -> None:
        wait_s, silent_since, is_told = _FIRST_WAIT_S, self._clock(), False

        def hear(told: Told) -> None:
            self._silent.pop(half, None)
            take(told)

        while True:
            heard, why = await _listen(ask, hear)
            self._silent[half] = why
            if heard:
                wait_s = _FIRST_WAIT_S
            if heard or not is_told:
                log.warning("workload-api-silent", extra={"half": half, "why": why})
                silent_since, is_told = self._clock(), True
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            if self._clock() - silent_since >= STALE_AFTER_S:
                take({})

    def _take_x509(self, told: Told) -> None:
        if told:
            self.arrived.set()
        if told != self._x509:
            self._x509 = told
            self._unite()

    def _take_jwt(self, told: Told) -> None:
        if told != self._jwt:
            self._jwt = told
            self._unite()

    def _unite(self) -> None:
        nothing = Bundle()
        self.bundles = {
            name: Bundle(self._x509.get(name, nothing).authorities, self._jwt.get(name, nothing).jwt_keys)
            for name in {*self._x509, *self._jwt}
        }
        self.revision += 1
        self._on_change()


async def _listen(ask: Ask, take: Callable[[Told], None]) -> tuple[bool, str]:
    """Take what the agent says until it says no more; return whether it said anything, and why it stopped."""
    heard = False
    try:
        async with aclosing(ask()) as stream:
            async for told in stream:
                take(told)
                heard = True
    except AgentUnreachable as error:
        return heard, error.detail
    return heard, "the stream has ended"
