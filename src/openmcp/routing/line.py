"""The gateway's own conversation with one replica: is it well, and what does it offer?

Speaks the era that the replica speaks: `server/discover` first, otherwise `initialize`
and `ping` in one session of the gateway's own. What is sent goes through `Ask`, which
the runtime makes from the gateway's own permission. Used by the prober only.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from openmcp.errors import UnknownSession, UpstreamBroken, UpstreamFailed, UpstreamUnreachable
from openmcp.mcp import message as messages
from openmcp.mcp import methods, revisions
from openmcp.mcp.message import Json, JsonObject, Message
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.mcp.revisions import Era, Revision
from openmcp.model.catalogue import Catalogue, Definition
from openmcp.model.pin import Offer, Pinning, pin_key
from openmcp.model.server import Replica, Server
from openmcp.model.session import Session
from openmcp.routing.definitions import entries

_CLIENT_INFO: JsonObject = {"name": "openmcp", "version": "0"}
_METHOD_NOT_FOUND = -32601
_PAGES = 200
"""Pages read of one list at most: a list that never ends must not keep us."""

_MAX_ENTRIES = 10_000
_MAX_BYTES = 32 << 20
"""What is read of all lists of a server in one go; the lists beyond it are not complete."""

_LISTS = (
    (methods.TOOLS_LIST, SubjectKind.TOOL),
    (methods.PROMPTS_LIST, SubjectKind.PROMPT),
    (methods.RESOURCES_LIST, SubjectKind.RESOURCE),
    (methods.RESOURCES_TEMPLATES_LIST, SubjectKind.RESOURCE),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a replica answered to the gateway itself."""

    status: int
    message: Message | None
    session_id: str | None = None


class Ask(Protocol):
    """Sends one message of the gateway's own; without a message it ends the session (DELETE)."""

    async def __call__(
        self, server: Server, replica: Replica, *, message: Message | None, revision: Revision, session: Session | None
    ) -> Answer:
        """Return what came back. Raises: UpstreamFailed."""
        ...


class Line:
    """One replica, asked by the gateway itself."""

    def __init__(self, server: Server, replica: Replica, ask: Ask, clock: Callable[[], float]) -> None:
        self.server = server
        """As configured now: an exchange that began earlier must not bring former credentials back."""

        self.replica = replica
        self.revision: Revision | None = None
        """What the replica speaks; `None` until it has answered."""

        self.session: Session | None = None
        self._ask = ask
        self._clock = clock
        self._last_id = 0
        self._connecting: asyncio.Task[None] | None = None
        self._is_closed = False

    async def check(self) -> None:
        """Return if MCP works there.

        Raises: UpstreamFailed.
        """
        if self.revision is None:
            await self._connected()
        elif not await self._is_as_known(self.revision):
            # It may be another build by now, which speaks another era.
            await self._connect_again(self.revision, self.session)

    async def read(self) -> Catalogue:
        """Return all that the replica lists.

        Raises: UpstreamFailed.
        """
        await self._connected()
        revision, session = self.revision, self.session
        try:
            return await self._read()
        except UnknownSession:
            await self._connect_again(revision, session)
            return await self._read()

    async def _read(self) -> Catalogue:
        found: dict[Subject, Definition] = {}
        templates: list[str] = []
        offers: list[Offer] = []
        complete = set(SubjectKind)
        budget = _Budget()
        for method, kind in _LISTS:
            async for page in self._pages(method, budget):
                if page is None:
                    complete.discard(kind)
                    continue
                listed = _entries(method, page)
                if self.server.pinning is not Pinning.NONE:
                    offers += self._offers(method, listed)
                if method == methods.RESOURCES_TEMPLATES_LIST:
                    templates += [definition.subject.name for definition, _ in listed]
                else:
                    found |= {definition.subject: definition for definition, _ in listed}
        return Catalogue(found, tuple(templates), complete=frozenset(complete), offers=tuple(offers))

    def _offers(self, method: str, listed: Sequence[tuple[Definition, bytes]]) -> Iterator[Offer]:
        listing = methods.listing(method)
        assert listing is not None  # one of the four
        for definition, text in listed:
            yield Offer(pin_key(listing, definition.subject.name), definition.digest, text, self.replica.url)

    async def close(self) -> None:
        """End the gateway's own session, if there is one; none is opened any more.

        Raises: UpstreamFailed.
        """
        self._is_closed = True
        if self._connecting is not None:
            await asyncio.wait((self._connecting,))
        await self._disconnect()

    async def _disconnect(self) -> None:
        revision, session = self.revision, self.session
        self.revision = self.session = None
        if session is not None and revision is not None:
            await self._ask(self.server, self.replica, message=None, revision=revision, session=session)

    async def _connected(self) -> None:
        """Return when it is known what the replica speaks; callers that come meanwhile share one attempt."""
        if self.revision is not None:
            return
        if self._is_closed:
            raise UpstreamUnreachable(detail=f"{self.replica.url} is not in use any more")
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name="connect")
            self._connecting.add_done_callback(self._has_connected)
        # Whoever gives up leaves a session behind that nobody knew of.
        await asyncio.shield(self._connecting)

    def _has_connected(self, task: asyncio.Task[None]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # Looked at, for nobody may be waiting for it any more.

    async def _connect_again(self, revision: Revision | None, session: Session | None) -> None:
        """Connect from scratch, unless somebody else has done so since the replica was known as this."""
        if self.revision is revision and self.session is session:
            with suppress(UpstreamFailed):
                await self._disconnect()
        await self._connected()

    async def _connect(self) -> None:
        answer = await self._send(methods.SERVER_DISCOVER, revision=revisions.LATEST)
        if answer.message is not None and answer.message.kind is messages.Kind.RESULT:
            self.revision = revisions.LATEST
        else:
            await self._initialize()
        if self._is_closed:
            # Whoever closed it may have given up waiting for this.
            await self._disconnect()

    async def _initialize(self) -> None:
        legacy = revisions.LATEST_LEGACY
        params: JsonObject = {"protocolVersion": legacy.version, "capabilities": {}, "clientInfo": _CLIENT_INFO}
        answer = await self._send(methods.INITIALIZE, params, revision=legacy)
        result = answer.message.result if answer.message is not None else None
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        if not isinstance(version, str):
            raise UpstreamBroken(detail=f"HTTP {answer.status} to initialize, without a protocol version")
        self.revision = revisions.of(version)
        self.session = self._session(answer.session_id, version)
        note = messages.notification(methods.INITIALIZED)
        await self._ask(self.server, self.replica, message=note, revision=self.revision, session=self.session)

    def _session(self, session_id: str | None, version: str) -> Session | None:
        if session_id is None:
            return None
        return Session(
            id=session_id,
            server=self.server.name,
            replica=self.replica.url,
            binding="",
            version=version,
            created_at=self._clock(),
        )

    async def _is_as_known(self, revision: Revision) -> bool:
        """Whether the replica still answers in the way that it is known for. Raises: UpstreamFailed if not at all."""
        method = methods.SERVER_DISCOVER if revision.era is Era.MODERN else methods.PING
        try:
            answer = await self._request(method)
        except (UnknownSession, UpstreamBroken):
            return False
        # Some have no ping, and are well all the same.
        return answer.kind is messages.Kind.RESULT or (method == methods.PING and _says_method_not_found(answer))

    async def _request(self, method: str, params: JsonObject | None = None) -> Message:
        if self.revision is None:
            raise UnknownSession(detail="the gateway's own session has just ended")
        answer = await self._send(method, params, revision=self.revision)
        if answer.status == 404 and self.session is not None:
            raise UnknownSession(detail="the gateway's own session has ended")
        if answer.message is None:
            raise UpstreamBroken(detail=f"HTTP {answer.status} without a JSON-RPC answer to {method}")
        return answer.message

    async def _send(self, method: str, params: JsonObject | None = None, *, revision: Revision) -> Answer:
        if revision.era is Era.MODERN:
            params = {**(params or {}), "_meta": _modern_meta(revision)}
        self._last_id += 1
        session = self.session if revision.era is Era.LEGACY else None
        asked = messages.request(self._last_id, method, params)
        return await self._ask(self.server, self.replica, message=asked, revision=revision, session=session)

    async def _pages(self, method: str, budget: "_Budget") -> AsyncIterator[Json]:
        """Yield the results of all pages; `None` in place of what could not be read."""
        cursor: str | None = None
        for _ in range(_PAGES):
            answer = await self._request(method, {"cursor": cursor} if cursor is not None else None)
            if answer.kind is messages.Kind.ERROR:
                if not _says_method_not_found(answer):
                    yield None
                return
            if not budget.covers(answer, method):
                break
            yield answer.result
            cursor = _next_cursor(answer.result)
            if cursor is None:
                return
        yield None


class _Budget:
    """How much of a server's lists may still be read."""

    def __init__(self) -> None:
        self._entries = _MAX_ENTRIES
        self._bytes = _MAX_BYTES

    def covers(self, answer: Message, method: str) -> bool:
        """Whether a page is within what is left, once it is taken off."""
        listing = methods.listing(method)
        entries = (answer.result or {}).get(listing.key) if listing is not None else None
        self._entries -= len(entries) if isinstance(entries, list) else 0
        self._bytes -= len(messages.encode(answer))
        return self._entries >= 0 and self._bytes >= 0


def _entries(method: str, page: Json) -> list[tuple[Definition, bytes]]:
    listing = methods.listing(method)
    return list(entries(listing, page)) if listing is not None else []


def _modern_meta(revision: Revision) -> JsonObject:
    return {
        revisions.META_PROTOCOL_VERSION: revision.version,
        revisions.META_CLIENT_CAPABILITIES: {},
        revisions.META_CLIENT_INFO: _CLIENT_INFO,
    }


def _says_method_not_found(answer: Message) -> bool:
    return isinstance(answer.error, dict) and answer.error.get("code") == _METHOD_NOT_FOUND


def _next_cursor(result: Json) -> str | None:
    cursor = result.get("nextCursor") if isinstance(result, dict) else None
    return cursor if isinstance(cursor, str) else None
