"""What servers with pinned definitions may show, judged in memory: list entries and calls against accepted digests.

Asked by `routing` in the path of an exchange, and by the catalogues after each reading of
the gateway's own. Holds a copy of the pins of each server, which the store confirms once
a second; without that confirmation nothing of a server in mode `block` is used. What is
to be remembered is written beside the exchanges.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from openmcp.errors import StoreUnavailable
from openmcp.mcp.message import Json, JsonObject
from openmcp.mcp.methods import Listing, SubjectKind
from openmcp.model.catalogue import Catalogue
from openmcp.model.pin import PIN_KINDS, Change, Offer, Pin, PinEvent, PinKey, Pinning, pin_key
from openmcp.model.server import Server
from openmcp.routing.definitions import described
from openmcp.routing.ledger import FIRST_SIGHT, Ledger, Pins

log = logging.getLogger(__name__)

LEASE_S: Final = 1.0
"""How long a copy holds before the store has to confirm it; also how soon an accepted tool is there everywhere."""

NAME_CHARS: Final = 1024
"""Longer names are never accepted: nobody could compare them."""

_CONFIRM_S: Final = 0.4
_RETRY_S: Final = 10.0
_MAX_RESOURCES: Final = 10_000
"""Resources of one server that are remembered; those beyond are shown, and not compared."""

_QUEUE: Final = 10_000
_TOLD: Final = 10_000
_TOLD_PER_MINUTE: Final = 200
_AT_ONCE: Final = 64

_KINDS: Final = {
    "tool": SubjectKind.TOOL,
    "prompt": SubjectKind.PROMPT,
    "resource": SubjectKind.RESOURCE,
    "template": SubjectKind.RESOURCE,
}

Tell = Callable[[PinEvent], None]


class _Book:
    """The copy of one server's pins."""

    def __init__(self, pins: Pins, now: float, former: "_Book | None") -> None:
        self.version = pins.version
        self.mark = pins.mark
        self.confirmed_at = now
        self.accepted: dict[PinKey, frozenset[str]] = {}
        self.noted: dict[PinKey, frozenset[str]] = {}
        self.offered: Mapping[PinKey, set[str]] = former.offered if former is not None else {}
        """What the replicas offer, by the gateway's newest reading."""

        self.told: _Told = former.told if former is not None else _Told()
        for pin in pins.pins.values():
            self.take(pin)

    def take(self, pin: Pin) -> None:
        """Copy a pin."""
        self.accepted[pin.key] = frozenset(sight.digest for sight in pin.accepted)
        self.noted[pin.key] = frozenset(sight.digest for sight in pin.seen)

    def is_accepted(self, key: PinKey, digest: str) -> bool:
        """Whether this version was accepted, and no replica offers one that was not."""
        return digest in self.accepted.get(key, ()) and self.is_accepted_as_offered(key)

    def is_accepted_as_offered(self, key: PinKey) -> bool:
        """Whether all versions that the replicas offer now were accepted, and at least one ever was."""
        accepted = self.accepted.get(key, frozenset())
        return bool(accepted) and accepted.issuperset(self.offered.get(key, ()))

    @property
    def is_seen(self) -> bool:
        """Whether every kind of list was seen whole at least once."""
        return len(self.mark.first_seen) == len(PIN_KINDS)


class _Told:
    """What was told already, so that it is told once, and not too much of it."""

    def __init__(self) -> None:
        self._told: set[tuple[PinKey, str]] = set()
        self._since = float("-inf")
        self._count = 0

    def is_news(self, key: PinKey, digest: str, now: float) -> bool:
        if (key, digest) in self._told or not self._has_room(now):
            return False
        if len(self._told) >= _TOLD:
            self._told.clear()
        self._told.add((key, digest))
        return True

    def _has_room(self, now: float) -> bool:
        if abs(now - self._since) >= 60.0:
            self._since, self._count = now, 0
        self._count += 1
        return self._count <= _TOLD_PER_MINUTE


class Pinboard:
    """Judges and remembers the definitions of all servers that are configured so."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float], tell: Tell) -> None:
        """`tell` hears of every change once; it must not raise."""
        self._ledger = ledger
        self._clock = clock
        self._tell = tell
        self._modes: dict[str, Pinning] = {}
        self._books: dict[str, _Book] = {}
        self._failed_at: dict[str, float] = {}
        self._confirming: dict[str, asyncio.Task[None]] = {}
        self._unwritten: deque[tuple[str, Offer]] = deque()
        self._writing: asyncio.Task[None] | None = None

    def configure(self, servers: Iterable[Server]) -> None:
        """Take over the modes of a new snapshot."""
        self._modes = {server.name: server.pinning for server in servers if server.pinning is not Pinning.NONE}
        self._books = {name: book for name, book in self._books.items() if name in self._modes}

    def mode(self, server: str) -> Pinning:
        """Return what happens at this server where a definition has changed, by the newest snapshot."""
        return self._modes.get(server, Pinning.NONE)

    # ------------------------------------------------------------ in the path of an exchange

    async def confirm(self, server: Server, *, within_s: float = LEASE_S) -> None:
        """Return when the copy of the server's pins is not older than this.

        Raises: StoreUnavailable in mode `block`, within half a second.
        """
        book = self._books.get(server.name)
        if book is not None and abs(self._clock() - book.confirmed_at) < within_s:
            return
        if server.pinning is not Pinning.BLOCK and self._has_just_failed(server.name):
            # Whoever only wants to be warned does not wait for a store that is lost.
            return
        task = self._confirming.get(server.name)
        if task is None:
            task = self._confirming[server.name] = asyncio.create_task(self._confirm(server.name), name="confirm pins")
            task.add_done_callback(lambda done: self._has_confirmed(server.name, done))
        try:
            async with asyncio.timeout(_CONFIRM_S):
                await asyncio.shield(task)
        except (StoreUnavailable, TimeoutError) as error:
            why = str(error) or "no answer in time"
            if server.pinning is Pinning.BLOCK:
                raise StoreUnavailable(detail=f"the pins of {server.name} cannot be read: {why}") from None
            self._failed_at[server.name] = self._clock()
            log.warning("pins-not-read", extra={"server": server.name, "why": why})

    def _has_just_failed(self, server: str) -> bool:
        failed_at = self._failed_at.get(server)
        return failed_at is not None and abs(self._clock() - failed_at) < _RETRY_S

    def is_seen(self, server: str) -> bool:
        """Whether all lists of the server were seen whole at some time; before that nothing is accepted."""
        book = self._books.get(server)
        return book is not None and book.is_seen

    def is_held(self, server: str, key: PinKey, digest: str | None) -> bool:
        """Whether a definition is kept from agents; without a digest: as the replicas offer it now."""
        return self.mode(server) is Pinning.BLOCK and not self._may_be_used(self._books.get(server), key, digest)

    def is_pinned(self, server: str, key: PinKey, digest: str) -> bool:
        """Whether this very version was accepted."""
        book = self._books.get(server)
        return book is not None and digest in book.accepted.get(key, ())

    def sift(self, server: str, listing: Listing, result: JsonObject, *, replica: str) -> JsonObject:
        """Return a list result as agents may see it; what it shows that nobody has accepted is told and remembered."""
        mode, listed = self.mode(server), result.get(listing.key)
        if mode is Pinning.NONE or not isinstance(listed, list):
            return result
        kept = [entry for entry in listed if self._is_shown(server, listing, entry, replica=replica)]
        return {**result, listing.key: kept} if len(kept) < len(listed) else result

    # ------------------------------------------------------------ beside the exchanges

    async def compare(self, server: Server, catalogue: Catalogue) -> None:
        """Compare what all replicas list with what is known; what is seen for the first time is accepted.

        Raises: StoreUnavailable.
        """
        name = server.name
        await self._confirm(name)
        whole = {kind for kind, about in _KINDS.items() if about in catalogue.complete}
        fresh = whole - self._books[name].mark.first_seen.keys()
        if fresh:
            await self._begin(name, fresh, [offer for offer in catalogue.offers if offer.key.kind in fresh])
        book = self._books.get(name)
        if book is None:
            return
        offered: dict[PinKey, set[str]] = {}
        for offer in catalogue.offers:
            offered.setdefault(offer.key, set()).add(offer.digest)
        book.offered = offered
        for offer in catalogue.offers:
            self._look(name, book, offer)

    async def _begin(self, server: str, kinds: Iterable[str], offers: Sequence[Offer]) -> None:
        """Accept what is there when a kind of list is seen whole for the first time."""
        now = self._clock()
        for start in range(0, len(offers), _AT_ONCE):
            some = (offer for offer in offers[start : start + _AT_ONCE] if _is_legible(offer))
            await asyncio.gather(*(self._ledger.accept(server, offer, by=FIRST_SIGHT, at=now) for offer in some))
        # Only now: whoever is interrupted before begins anew, and holds nothing back for want of a first sight.
        await self._ledger.touch(server, first_seen=kinds, at=now)
        await self._confirm(server)
        log.info("definitions-first-seen", extra={"server": server, "kinds": sorted(kinds), "count": len(offers)})

    async def close(self) -> None:
        """Write what is still to be remembered, as far as the store answers."""
        writing = self._writing
        if writing is not None:
            await asyncio.wait((writing,), timeout=_CONFIRM_S)
            writing.cancel()

    async def settled(self) -> None:
        """Return when all that was seen so far is written, or could not be."""
        while self._writing is not None:
            await asyncio.wait((self._writing,))

    # ------------------------------------------------------------ the copy

    async def _confirm(self, server: str) -> None:
        book = self._books.get(server)
        if book is not None and await self._ledger.version(server) == book.version:
            book.confirmed_at = self._clock()
            return
        pins = await self._ledger.load(server)
        if server not in self._modes:
            return
        self._books[server] = _Book(pins, self._clock(), self._books.get(server))
        if book is not None:
            self._tell_accepted(server, book, pins)

    def _has_confirmed(self, server: str, task: asyncio.Task[None]) -> None:
        self._confirming.pop(server, None)
        if not task.cancelled():
            task.exception()  # Looked at, for nobody may be waiting for it any more.

    def _tell_accepted(self, server: str, former: _Book, pins: Pins) -> None:
        for key, pin in pins.pins.items():
            noted = former.noted.get(key, frozenset())
            for sight in pin.accepted:
                if sight.digest in noted:
                    self._say(PinEvent(server, Change.ACCEPTED, key, sight.digest, by=sight.by))

    def _say(self, event: PinEvent) -> None:
        level = logging.INFO if event.change is Change.ACCEPTED else logging.WARNING
        facts = {"server": event.server, "kind": event.key.kind, "subject": event.key.name, "digest": event.digest}
        log.log(level, f"definition-{event.change.value}", extra={**facts, "by": event.by, "held": event.is_held})
        self._tell(event)

    # ------------------------------------------------------------ judging

    def _may_be_used(self, book: _Book | None, key: PinKey, digest: str | None) -> bool:
        if book is None:
            return False
        if key.kind == "resource" and not book.accepted.get(key):
            # Resources are data: a new one is remembered when it is seen, and compared from then on.
            return True
        return book.is_accepted_as_offered(key) if digest is None else book.is_accepted(key, digest)

    def _is_shown(self, server: str, listing: Listing, entry: Json, *, replica: str) -> bool:
        found = described(listing, entry)
        if found is None:
            # Without a name there is nothing to compare; what agents see of it is for policy to say.
            return True
        definition, text = found
        offer = Offer(pin_key(listing, definition.subject.name), definition.digest, text, replica)
        book = self._books.get(server)
        if book is not None:
            self._look(server, book, offer)
        return not self.is_held(server, offer.key, offer.digest)

    def _look(self, server: str, book: _Book, offer: Offer) -> None:
        """Tell and remember an offer that is not accepted."""
        accepted = book.accepted.get(offer.key)
        if accepted is not None and offer.digest in accepted:
            return
        is_new_resource = offer.key.kind == "resource" and not accepted
        if is_new_resource and len(book.accepted) >= _MAX_RESOURCES:
            return
        if not is_new_resource and book.told.is_news(offer.key, offer.digest, self._clock()):
            change = Change.CHANGED if accepted else Change.NEW
            is_held = self.is_held(server, offer.key, offer.digest)
            self._say(PinEvent(server, change, offer.key, offer.digest, by=offer.replica, is_held=is_held))
        if offer.digest not in book.noted.get(offer.key, ()):
            self._remember(server, offer)

    # ------------------------------------------------------------ remembering

    def _remember(self, server: str, offer: Offer) -> None:
        if len(self._unwritten) >= _QUEUE or not _is_legible(offer):
            return
        self._unwritten.append((server, offer))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="remember definitions")
            self._writing.add_done_callback(self._has_written)

    def _has_written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled() and task.exception() is not None:
            log.error("definition-not-remembered", exc_info=task.exception())

    async def _write(self) -> None:
        changed: set[str] = set()
        while self._unwritten:
            server, offer = self._unwritten.popleft()
            book = self._books.get(server)
            if book is None or offer.digest in book.noted.get(offer.key, ()):
                continue
            try:
                book.take(await self._written(server, offer))
            except StoreUnavailable as error:
                # It stays held, and is seen again with the next list.
                log.warning("definition-not-remembered", extra={"server": server, "why": error.detail})
                continue
            changed.add(server)
        for server in changed:
            await self._say_changed(server)

    async def _written(self, server: str, offer: Offer) -> Pin:
        if offer.key.kind == "resource":
            pin = await self._ledger.first(server, offer, at=self._clock())
            if any(sight.digest == offer.digest for sight in pin.accepted):
                return pin
        return await self._ledger.note(server, offer, at=self._clock())

    async def _say_changed(self, server: str) -> None:
        try:
            touched = await self._ledger.touch(server, at=self._clock())
        except StoreUnavailable as error:
            log.warning("definition-not-remembered", extra={"server": server, "why": error.detail})
            return
        book = self._books.get(server)
        if book is not None and book.version == touched.former:
            # Nobody else has written meanwhile, so the copy is what this version stands for.
            book.version = touched.version


def _is_legible(offer: Offer) -> bool:
    return len(offer.key.name) <= NAME_CHARS
