"""What every server offers: the gateway's own reading, and what each agent last saw.

The gateway reads a server's lists itself (through `Reader`, in a session of its own);
lists that pass to an agent are remembered for that agent alone, because a server may
show different things to different callers. A name that neither knows does not exist,
once a list was read to its last page. Lives longer than a snapshot.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator

from openmcp.errors import Hidden
from openmcp.mcp import headers
from openmcp.mcp.message import Json, JsonObject, canonical
from openmcp.mcp.methods import Listing, Subject, SubjectKind
from openmcp.model.agent import Agent
from openmcp.model.catalogue import Catalogue, Definition
from openmcp.model.server import Server
from openmcp.routing import templates
from openmcp.routing.views import Views

Reader = Callable[[Server], Awaitable[Catalogue | None]]
"""Reads all lists of a server; `None` if it cannot be read now."""

_REREAD_AFTER_S = 2.0
"""A miss reads the lists again, but not more often than this per server."""

_EMPTY = Catalogue()


class Catalogues:
    """The catalogue of every server."""

    def __init__(self, read: Reader, clock: Callable[[], float]) -> None:
        self._read = read
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
        if catalogue is not None:
            self._own[server.name] = catalogue

    def _may_reread(self, server: Server) -> bool:
        read_at = self._read_at.get(server.name)
        return read_at is None or self._clock() - read_at >= _REREAD_AFTER_S

    def _is_absent(self, server: Server, subject: Subject) -> bool:
        return subject.kind in self.of(server).complete and not self._fits_a_template(server, subject)

    def _fits_a_template(self, server: Server, subject: Subject) -> bool:
        if subject.kind is not SubjectKind.RESOURCE:
            return False
        return any(templates.fits(template, subject.name) for template in self.of(server).templates)


def definitions(listing: Listing, result: Json) -> Iterator[Definition]:
    """Yield the definitions in a list result; entries without a name are passed over."""
    entries = result.get(listing.key) if isinstance(result, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        name = entry.get(listing.name_field) if isinstance(entry, dict) else None
        if isinstance(entry, dict) and isinstance(name, str):
            yield _definition(Subject(listing.kind, name), entry)


def _definition(subject: Subject, entry: JsonObject) -> Definition:
    stable = {key: value for key, value in entry.items() if key != "_meta"}
    schema = entry.get("inputSchema")
    return Definition(
        subject=subject,
        digest=hashlib.sha256(canonical(stable)).hexdigest(),
        param_headers=headers.param_map(schema) if isinstance(schema, dict) else {},
    )
