"""The pins of all servers as the state store keeps them: read, remembered, noted, accepted.

Used by `pins` for the gateway and by `openmcp pin` for people, on one store at the same
time. Per server there is a mark, which gets a new version whenever something was added
or accepted, so that whoever holds a copy knows by one small read whether it is current.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

import msgspec

from openmcp.errors import StoreConflict, StoreUnavailable
from openmcp.model.pin import Offer, Pin, PinKey, Sight
from openmcp.state.keys import PIN_TEXTS, PINS
from openmcp.state.store import ABSENT, MAX_SCAN, MAX_VALUE_BYTES, Expected, Item, Store, Version

T = TypeVar("T")

FIRST_SIGHT: Final = "first sight"
"""Who accepted what a server offered when the gateway saw it first."""

TEXT_BYTES: Final = MAX_VALUE_BYTES - 1024
"""Longer definitions are kept up to here; their digest is that of the whole."""

_ACCEPTED: Final = 64
_SEEN: Final = 16
"""Versions kept of one definition; a server that shows more and more of them loses the oldest."""

_ATTEMPTS: Final = 8
_SEEN_LIFE_S: Final = 90 * 86_400.0


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a server's pins as a whole."""

    first_seen: dict[str, float] = {}
    """Kinds whose whole list was seen, so that what comes later is new: kind → Unix seconds."""

    changes: int = 0


class Touched(NamedTuple):
    """What `touch` did."""

    former: Version | None
    """The mark's version before; `None` = there was none."""

    version: Version
    mark: Mark


@dataclass(frozen=True, slots=True)
class Pins:
    """A copy of the pins of one server."""

    version: Version | None
    """Of the mark; `None` = the server was never seen."""

    mark: Mark
    pins: Mapping[PinKey, Pin] = field(default_factory=dict[PinKey, Pin])


class Ledger:
    """Reads and writes pins. Every method raises `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def version(self, server: str) -> Version | None:
        """Return the version of what is kept of a server; `None` = nothing."""
        item = await self._store.get(PINS, server)
        return item.version if item is not None else None

    async def load(self, server: str) -> Pins:
        """Return all pins of a server."""
        # The mark first: what is added while the pins are read gives it another version.
        item = await self._store.get(PINS, server)
        mark = _decoded(item, Mark) if item is not None else Mark()
        pins: dict[PinKey, Pin] = {}
        cursor: str | None = None
        while True:
            page = await self._store.scan(PINS, f"{server} ", limit=MAX_SCAN, cursor=cursor)
            for _, found in page.items:
                pin = _decoded(found, Pin)
                pins[pin.key] = pin
            cursor = page.cursor
            if cursor is None:
                return Pins(item.version if item is not None else None, mark, pins)

    async def servers(self) -> list[str]:
        """Return the names of all servers that have pins."""
        names: set[str] = set()
        cursor: str | None = None
        while True:
            page = await self._store.scan(PINS, limit=MAX_SCAN, cursor=cursor)
            names |= {key.partition(" ")[0] for key, _ in page.items}
            cursor = page.cursor
            if cursor is None:
                return sorted(names)

    async def accept(self, server: str, offer: Offer, *, by: str, at: float) -> Pin:
        """Accept a version, whose text is kept for good, and return the pin as it is now."""
        await self._keep(server, offer, ttl_s=None)

        def accepted(pin: Pin) -> Pin:
            if any(sight.digest == offer.digest for sight in pin.accepted):
                return pin
            seen = tuple(sight for sight in pin.seen if sight.digest != offer.digest)
            new = (*pin.accepted, Sight(offer.digest, at, by))[-_ACCEPTED:]
            return Pin(pin.kind, pin.name, new, seen)

        return await self._change(server, offer.key, accepted)

    async def first(self, server: str, offer: Offer, *, at: float) -> Pin:
        """Accept a version if none was ever known, and return the pin as it is now."""
        await self._keep(server, offer, ttl_s=None)

        def begun(pin: Pin) -> Pin:
            if pin.accepted or pin.seen:
                return pin
            return Pin(pin.kind, pin.name, (Sight(offer.digest, at, FIRST_SIGHT),))

        return await self._change(server, offer.key, begun)

    async def note(self, server: str, offer: Offer, *, at: float) -> Pin:
        """Remember a version that nobody has accepted, and return the pin as it is now."""
        await self._keep(server, offer, ttl_s=_SEEN_LIFE_S)

        def noted(pin: Pin) -> Pin:
            if any(sight.digest == offer.digest for sight in (*pin.accepted, *pin.seen)):
                return pin
            return Pin(pin.kind, pin.name, pin.accepted, (*pin.seen, Sight(offer.digest, at, offer.replica))[-_SEEN:])

        return await self._change(server, offer.key, noted)

    async def only(self, server: str, key: PinKey, digests: frozenset[str]) -> Pin:
        """Accept no other versions than these any more, and return the pin as it is now."""

        def narrowed(pin: Pin) -> Pin:
            kept = tuple(sight for sight in pin.accepted if sight.digest in digests)
            return Pin(pin.kind, pin.name, kept, pin.seen)

        return await self._change(server, key, narrowed)

    async def text(self, server: str, digest: str) -> bytes | None:
        """Return the canonical JSON of a version, cut at `TEXT_BYTES`; `None` if it is not kept."""
        item = await self._store.get(PIN_TEXTS, f"{server} {digest}")
        return item.value if item is not None else None

    async def touch(self, server: str, *, first_seen: Iterable[str] = (), at: float = 0.0) -> Touched:
        """Say that something of a server's pins has changed, and which kinds were seen whole for the first time."""
        for _ in range(_ATTEMPTS):
            item = await self._store.get(PINS, server)
            former = _decoded(item, Mark) if item is not None else Mark()
            mark = Mark({**{kind: at for kind in first_seen}, **former.first_seen}, former.changes + 1)
            try:
                version = await self._store.put(PINS, server, msgspec.json.encode(mark), if_version=_expected(item))
            except StoreConflict:
                continue
            return Touched(item.version if item is not None else None, version, mark)
        raise StoreUnavailable(detail=f"the pins of {server} are changed by too many at once")

    async def _keep(self, server: str, offer: Offer, *, ttl_s: float | None) -> None:
        key = f"{server} {offer.digest}"
        if ttl_s is not None and await self._store.get(PIN_TEXTS, key) is not None:
            return
        await self._store.put(PIN_TEXTS, key, offer.text[:TEXT_BYTES], ttl_s=ttl_s)

    async def _change(self, server: str, key: PinKey, change: Callable[[Pin], Pin]) -> Pin:
        place = _place(server, key)
        for _ in range(_ATTEMPTS):
            item = await self._store.get(PINS, place)
            former = _decoded(item, Pin) if item is not None else Pin(key.kind, key.name)
            pin = change(former)
            if item is not None and pin == former:
                return pin
            try:
                await self._store.put(PINS, place, msgspec.json.encode(pin), if_version=_expected(item))
            except StoreConflict:
                continue
            return pin
        raise StoreUnavailable(detail=f"the pin of {key.name} is changed by too many at once")


def _place(server: str, key: PinKey) -> str:
    """Return where a pin is kept: names may be longer than a key, and hold anything."""
    return f"{server} {key.kind} {hashlib.sha256(key.name.encode(errors='surrogatepass')).hexdigest()}"


def _expected(item: Item | None) -> Expected:
    return item.version if item is not None else ABSENT


def _decoded(item: Item, form: type[T]) -> T:
    try:
        return msgspec.json.decode(item.value, type=form)
    except msgspec.DecodeError as error:
        # Whatever it is, it is no proof that somebody accepted anything.
        raise StoreUnavailable(detail=f"a pin in the store cannot be read: {error}") from None
