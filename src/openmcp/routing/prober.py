"""Probes every replica of every server, and reads the servers' lists, beside the exchanges.

Started by the runtime with each snapshot. Its verdicts go to the health book, its
readings to the catalogues; it decides nothing itself.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace

from openmcp.errors import OpenMCPError
from openmcp.mcp import revisions
from openmcp.mcp.methods import SubjectKind
from openmcp.mcp.revisions import Era
from openmcp.model.catalogue import Catalogue
from openmcp.model.pin import Pinning
from openmcp.model.server import Replica, Server
from openmcp.model.session import Session
from openmcp.routing.catalogues import Catalogues
from openmcp.routing.health import HealthBook
from openmcp.routing.line import Ask, Line

log = logging.getLogger(__name__)

_LISTS_EVERY_S = 60.0
"""The lists are read again this often, in seconds, beside misses and notices of change."""

_PROBE_S = 10.0
"""How long a probe may take, in seconds: one replica that hangs must not keep the others from coming back."""

_ENDING_S = 2.0
"""How long the end of a session may take, in seconds: nobody but its replica has any use of it."""

_ENDINGS_LIMIT = 256
"""Sessions that are being ended at one time; more are left to their replica."""


class Prober:
    """Probes all replicas of the current snapshot."""

    def __init__(self, ask: Ask, *, health: HealthBook, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._health = health
        self._clock = clock
        self._lines: dict[tuple[str, str], Line] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._endings: set[asyncio.Task[None]] = set()

    def know(self, servers: Sequence[Server]) -> None:
        """Speak with the replicas of these servers from now on, and end the gateway's sessions at all others."""
        former, self._lines = self._lines, {}
        for server in servers:
            for replica in server.replicas:
                key = (server.name, replica.url)
                line = former.pop(key) if key in former else Line(server, replica, self._ask, self._clock)
                line.server = server
                self._lines[key] = line
        for line in former.values():
            self._run(self._close(line))

    def start(self, servers: Sequence[Server], catalogues: Catalogues) -> None:
        """Probe these servers from now on, instead of the former ones."""
        for task in self._tasks:
            task.cancel()
        self.know(servers)
        self._tasks = [
            asyncio.create_task(self._watch(server, catalogues), name=f"probe {server.name}") for server in servers
        ]

    async def stop(self) -> None:
        """Stop probing, and end the gateway's own sessions."""
        for task in self._tasks:
            task.cancel()
        self.know(())
        under_way = {*self._tasks, *self._endings}
        self._tasks = []
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=_ENDING_S)
            for task in late:
                task.cancel()

    def is_legacy_only(self, server: Server) -> bool:
        """Whether every replica that answered so far speaks the legacy era only."""
        spoken = [line.revision for line in self._lines_of(server) if line.revision is not None]
        return bool(spoken) and all(revision.era is Era.LEGACY for revision in spoken)

    async def read(self, server: Server) -> Catalogue | None:
        """Return all that the server lists, from the first replica that answers; `None` if none does.

        Where definitions are pinned all replicas are asked, because each may offer others.
        """
        lines = [line for line in self._lines_of(server) if self._health.is_healthy(line.replica)]
        if server.pinning is not Pinning.NONE:
            return _united([one for one in await asyncio.gather(*map(self._read, lines)) if one is not None])
        for line in lines:
            catalogue = await self._read(line)
            if catalogue is not None:
                return catalogue
        return None

    async def _read(self, line: Line) -> Catalogue | None:
        try:
            return await line.read()
        except OpenMCPError as error:
            log.info("lists-not-read", extra=_facts(line, error))
            return None

    def end(self, session: Session, server: Server, replica: Replica) -> None:
        """End a session that the gateway cannot hand out, beside the exchange; a replica that refuses keeps it."""
        if len(self._endings) < _ENDINGS_LIMIT:
            self._run(self._end(session, server, replica))

    def _run(self, ending: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(ending, name="end session")
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _end(self, session: Session, server: Server, replica: Replica) -> None:
        try:
            async with asyncio.timeout(_ENDING_S):
                await self._ask(server, replica, message=None, revision=revisions.of(session.version), session=session)
        except (OpenMCPError, TimeoutError) as error:
            log.info("session-not-ended", extra={"server": server.name, "replica": replica.url, "why": str(error)})

    def _lines_of(self, server: Server) -> Iterator[Line]:
        # An exchange may have begun under an older configuration: what is not in use now is not spoken with again.
        for replica in server.replicas:
            line = self._lines.get((server.name, replica.url))
            if line is not None:
                yield line

    async def _watch(self, server: Server, catalogues: Catalogues) -> None:
        listed_at = float("-inf")
        while True:
            try:
                await self._probe_all(server)
                if self._clock() - listed_at >= _LISTS_EVERY_S:
                    listed_at = self._clock()
                    await catalogues.refresh(server)
            except Exception:
                # A fault of ours must not end the probing: an ejected replica could never come back.
                log.exception("probing-failed", extra={"server": server.name})
            await asyncio.sleep(server.health.interval_s)

    async def _probe_all(self, server: Server) -> None:
        if server.health.probe != "none":
            await asyncio.gather(*(self._probe(line) for line in self._lines_of(server)))

    async def _probe(self, line: Line) -> None:
        try:
            async with asyncio.timeout(_PROBE_S):
                await line.check()
        except (OpenMCPError, TimeoutError) as error:
            # Once it is ejected, that is known; its return is told.
            level = logging.WARNING if self._health.is_healthy(line.replica) else logging.DEBUG
            log.log(level, "probe-failed", extra=_facts(line, error))
            self._health.probed(line.replica, ok=False)
        else:
            self._health.probed(line.replica, ok=True)

    async def _close(self, line: Line) -> None:
        try:
            async with asyncio.timeout(_ENDING_S):
                await line.close()
        except (OpenMCPError, TimeoutError) as error:
            log.debug("own-session-not-ended", extra=_facts(line, error))


def _united(catalogues: Sequence[Catalogue]) -> Catalogue | None:
    """Return the first catalogue with the offers of all, complete where all are."""
    if not catalogues:
        return None
    return replace(
        catalogues[0],
        complete=frozenset(kind for kind in SubjectKind if all(kind in one.complete for one in catalogues)),
        offers=tuple(offer for catalogue in catalogues for offer in catalogue.offers),
    )


def _facts(line: Line, error: OpenMCPError | TimeoutError) -> dict[str, str]:
    why = error.detail if isinstance(error, OpenMCPError) else "no answer in time"
    return {"server": line.server.name, "replica": line.replica.url, "why": why}
