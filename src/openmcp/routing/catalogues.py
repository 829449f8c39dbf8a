"""What every server offers: the gateway's own reading, and what each agent last saw.

The gateway reads a server's lists itself (through `Reader`, in a session of its own);
lists that pass to an agent are remembered for that agent alone, because a server may
show different things to different callers. A name that neither knows does not exist,
once a list was read to its last page. Lives longer than a snapshot.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from openmcp.errors import Hidden, StoreUnavailable
from openmcp.mcp import methods
from openmcp.mcp.message import Json, Message
from openmcp.mcp.methods import Listing, Subject, SubjectKind
from openmcp.model.agent import Agent
from openmcp.model.catalogue import Catalogue, Definition
from openmcp.model.decision import Permitted
from openmcp.model.pin import Pinning
from openmcp.model.server import Server
from openmcp.routing import templates
from openmcp.routing.definitions import definitions
from openmcp.routing.views import Views

Reader = Callable[[Server], Awaitable[Catalogue | None]]
"""Reads all lists of a server; `None` if it cannot be read now."""

Compare = Callable[[Server, Catalogue], Awaitable[None]]
"""Compares a reading with what is pinned. Raises: StoreUnavailable."""

log = logging.getLogger(__name__)

_REREAD_AFTER_S = 2.0
"""A miss reads the lists again, but not more often than this per server."""

_EMPTY = Catalogue()


class Catalogues:
    """The catalogue of every server."""

    def __init__(self, read: Reader, clock: Callable[[], float], *, compare: Compare | None = None) -> None:
        self._read = read
        self._compare = compare
        self._clock = clock
        self._own: dict[str, Catalogue] = {}
        self._read_at: dict[str, float] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._views = Views()

    def of(self, server: Server) -> Catalogue:
        """Return the gateway's own reading; empty while there is none."""
        return self._own.get(server.name, _EMPTY)

    def definition(self, server: Server, agent: Agent, *, subject: Subject) -> Definition | None:
        """Return the definition from this agent's own last list, else from the gateway's own list."""
        seen = self._views.find((server.name, agent.principal.binding), subject)
        return seen or self._own.get(server.name, _EMPTY).definitions.get(subject)

    async def resolve(self, server: Server, agent: Agent, *, subject: Subject) -> Definition | None:
        """Return the definition, reading the lists again if nobody has seen it; `None` if that cannot be known.

        Raises: Hidden if the lists are complete and the name is in none.
        """
        found = self.definition(server, agent, subject=subject)
        if found is not None or self._fits_a_template(server, subject):
            return found
        if self._may_reread(server):
            await self.refresh(server)
            found = self.definition(server, agent, subject=subject)
        if found is None and self._is_absent(server, subject):
            raise Hidden(detail=f"{server.name} lists no {subject.kind} of this name")
        return found

    def learn_from(self, message: Message, permitted: Permitted) -> None:
        """Remember what a result shows to the agent that asked for a list; of anything else nothing is learnt."""
        origin, agent, asked = permitted.arrival.origin, permitted.agent, permitted.message
        listing = methods.listing(origin.method) if origin is not None else None
        if listing is not None and agent is not None:
            is_first = asked is None or "cursor" not in asked.params
            result = message.result or {}
            self.learn(permitted.server, agent, listing=listing, result=result, is_first_page=is_first)

    def learn(self, server: Server, agent: Agent, *, listing: Listing, result: Json, is_first_page: bool) -> None:
        """Remember a list that passes to an agent, as that agent may see it."""
        if listing.name_field == "uriTemplate":
            return
        key = (server.name, agent.principal.binding)
        if is_first_page:
            self._views.begin(key, listing.kind)
        self._views.add(key, definitions(listing, result), known=self.of(server).definitions)

    def changed(self, server: Server) -> None:
        """Take note that the server said its lists have changed; the next miss reads them at once."""
        self._read_at.pop(server.name, None)

    async def refresh_if_due(self, server: Server) -> None:
        """Read the lists unless that was done a moment ago, and nothing is known to have changed since."""
        if self._may_reread(server):
            await self.refresh(server)

    def is_outdated(self, server: Server) -> bool:
        """Whether the lists were not read since the server said that they have changed."""
        return server.name not in self._read_at

    async def refresh(self, server: Server) -> None:
        """Read the lists; callers that come meanwhile share one reading."""
        task = self._reading.get(server.name)
        if task is None:
            task = asyncio.ensure_future(self._refresh(server))
            self._reading[server.name] = task
            task.add_done_callback(lambda _: self._reading.pop(server.name, None))
        await asyncio.shield(task)

    async def _refresh(self, server: Server) -> None:
        self._read_at[server.name] = self._clock()
        catalogue = await self._read(server)
        if catalogue is None:
            return
        self._own[server.name] = replace(catalogue, offers=()) if catalogue.offers else catalogue
        if self._compare is not None and server.pinning is not Pinning.NONE:
            try:
                await self._compare(server, catalogue)
            except StoreUnavailable as error:
                log.warning("definitions-not-compared", extra={"server": server.name, "why": error.detail})

    def _may_reread(self, server: Server) -> bool:
        read_at = self._read_at.get(server.name)
        return read_at is None or self._clock() - read_at >= _REREAD_AFTER_S

    def _is_absent(self, server: Server, subject: Subject) -> bool:
        return subject.kind in self.of(server).complete and not self._fits_a_template(server, subject)

    def fitting(self, server: Server, subject: Subject) -> list[str]:
        """Return the URI templates of the server that the subject can come from."""
        if subject.kind is not SubjectKind.RESOURCE:
            return []
        return [template for template in self.of(server).templates if templates.fits(template, subject.name)]

    def _fits_a_template(self, server: Server, subject: Subject) -> bool:
        return bool(self.fitting(server, subject))
