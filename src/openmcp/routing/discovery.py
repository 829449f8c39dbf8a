"""Finds the replicas of servers that are known by a name, and follows it as its addresses change.

Each address is a replica. What a name no longer says is gone at once, as if it had been
taken out of the configuration; while a name cannot be resolved the last addresses stay.
Owned by the runtime, which puts what has changed in force like a reload.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from openmcp.model.server import Named, Replica, Server

log = logging.getLogger(__name__)

_MAX_ADDRESSES: Final = 256
"""More addresses than this under one name are a mistake; the first ones, in order, are taken."""

_RESOLVE_S: Final = 5.0

Resolve: TypeAlias = Callable[[str, int], Awaitable[Iterable[str]]]
"""From a name and a port to IP addresses. Raises: OSError if there are none now."""


async def resolve(name: str, port: int) -> Iterable[str]:
    """Ask the operating system."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Discovery:
    """The addresses behind the names of all servers."""

    def __init__(self, changed: Callable[[], None], ask: Resolve = resolve) -> None:
        """`changed`: called when `applied` would say something else than before."""
        self._changed = changed
        self._ask = ask
        self._found: dict[Named, tuple[Replica, ...]] = {}
        self._failing: set[Named] = set()
        self._tasks: list[asyncio.Task[None]] = []

    def applied(self, servers: Sequence[Server]) -> tuple[Server, ...]:
        """Return the servers with the replicas that are known of those that have a name."""
        return tuple(
            replace(server, replicas=self._found.get(server.named, ())) if server.named is not None else server
            for server in servers
        )

    async def first(self, servers: Sequence[Server]) -> None:
        """Resolve every name once, for a few seconds at most; what fails is tried again by `follow`."""
        await asyncio.gather(*[self._look(named) for named in _names(servers)])

    def follow(self, servers: Sequence[Server]) -> None:
        """Resolve the names of these servers from now on, and no others."""
        for task in self._tasks:
            task.cancel()
        names = _names(servers)
        self._found = {named: found for named, found in self._found.items() if named in names}
        self._failing &= names
        self._tasks = [asyncio.create_task(self._watch(named), name=f"resolve {named.host}") for named in names]

    async def stop(self) -> None:
        """Resolve no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, named: Named) -> None:
        while True:
            # What is not known yet is what a reload has just brought.
            if named in self._found:
                await asyncio.sleep(named.refresh_s)
            if await self._look(named):
                self._changed()
            elif named not in self._found:
                await asyncio.sleep(min(1.0, named.refresh_s))

    async def _look(self, named: Named) -> bool:
        """Resolve a name; return whether it says something new."""
        try:
            async with asyncio.timeout(_RESOLVE_S):
                addresses = sorted(set(await self._ask(named.host, named.port)))
        except (OSError, UnicodeError) as error:
            if named not in self._failing:
                log.warning("name-not-resolved", extra={"host": named.host, "why": str(error) or "no answer in time"})
            self._failing.add(named)
            return False
        self._failing.discard(named)
        found = tuple(named.at(address) for address in addresses[:_MAX_ADDRESSES])
        if not found or found == self._found.get(named):
            return False
        self._found[named] = found
        log.info("name-resolved", extra={"host": named.host, "addresses": addresses[:_MAX_ADDRESSES]})
        return True


def _names(servers: Sequence[Server]) -> set[Named]:
    return {server.named for server in servers if server.named is not None}
