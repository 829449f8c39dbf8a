"""A `Store` in the memory of one process: for demos and tests, lost at its end."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

from openmcp.errors import StoreConflict, StoreUnavailable
from openmcp.state import store
from openmcp.state.opening import StoreUrl
from openmcp.state.store import Capabilities, Expected, Health, Item, Page, Store, Version
from openmcp.state.watchers import Watchers

_SWEEP_EVERY: Final = 256
"""Writes between two looks for expired items, so that they do not pile up."""

_SWEEP_LOOKS: Final = 1024


class MemoryStore:
    """Items in a dictionary. Nothing here waits, so the event loop makes every call atomic."""

    capabilities = Capabilities(durable=False, shared=False, push_watch=True)

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._items: OrderedDict[tuple[str, str], Item] = OrderedDict()
        self._version = 0
        self._writes = 0
        self._watchers = Watchers()
        self._is_open = False

    @classmethod
    def from_url(cls, url: StoreUrl, *, data_dir: Path, clock: Callable[[], float], deadline_s: float) -> "MemoryStore":
        if url.rest:
            raise ValueError("`memory:` takes nothing behind the colon")
        return cls(clock=clock)

    async def open(self) -> None:
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False
        self._watchers.close()

    async def get(self, ns: str, key: str) -> Item | None:
        self._check()
        return self._live(ns, key)

    async def put(
        self,
        ns: str,
        key: str,
        value: bytes,
        *,
        ttl_s: float | None = None,
        if_version: Expected = None,
        durable: bool = False,
    ) -> Version:
        self._check()
        store.check(key, value)
        item = self._live(ns, key)
        if not store.admits(if_version, item.version if item else None):
            raise StoreConflict
        return self._write(ns, key, value, None if ttl_s is None else self._clock() + ttl_s)

    async def delete(self, ns: str, key: str, *, if_version: Version | None = None) -> bool:
        self._check()
        item = self._live(ns, key)
        if not store.admits(if_version, item.version if item else None):
            raise StoreConflict
        if item is None:
            return False
        del self._items[ns, key]
        self._watchers.notify(ns, key)
        return True

    async def add(self, ns: str, key: str, delta: int, *, ttl_s: float | None = None) -> int:
        self._check()
        store.check(key)
        item = self._live(ns, key)
        count = store.counted(item.value if item else None, delta)
        ends = item.expires_at if item else None if ttl_s is None else self._clock() + ttl_s
        self._write(ns, key, str(count).encode(), ends)
        return count

    async def scan(self, ns: str, prefix: str = "", *, limit: int = 100, cursor: str | None = None) -> Page:
        self._check()
        store.check_limit(limit)
        now = self._clock()
        found = sorted(
            (key, item)
            for (space, key), item in self._items.items()
            if space == ns and key.startswith(prefix) and (cursor is None or key > cursor) and _is_live(item, now)
        )
        items = tuple(found[:limit])
        return Page(items, items[-1][0] if len(found) > limit else None)

    async def watch(self, ns: str, prefix: str = "") -> AsyncIterator[str]:
        self._check()
        async with aclosing(self._watchers.watch(ns, prefix)) as hints:
            async for key in hints:
                yield key

    async def health(self) -> Health:
        return Health(self._is_open, "" if self._is_open else "the store is closed")

    def _check(self) -> None:
        if not self._is_open:
            raise StoreUnavailable(detail="the store is closed")

    def _live(self, ns: str, key: str) -> Item | None:
        item = self._items.get((ns, key))
        return item if item is not None and _is_live(item, self._clock()) else None

    def _write(self, ns: str, key: str, value: bytes, expires_at: float | None) -> Version:
        self._version += 1
        self._items[ns, key] = Item(value, self._version, expires_at)
        self._writes += 1
        if self._writes % _SWEEP_EVERY == 0:
            self._sweep()
        self._watchers.notify(ns, key)
        return self._version

    def _sweep(self) -> None:
        """Remove expired items among some; those that stay go to the end, so that all get their turn."""
        now = self._clock()
        for _ in range(min(_SWEEP_LOOKS, len(self._items))):
            place, item = next(iter(self._items.items()))
            if _is_live(item, now):
                self._items.move_to_end(place)
            else:
                del self._items[place]


def _is_live(item: Item, now: float) -> bool:
    return item.expires_at is None or item.expires_at > now


_: type[Store] = MemoryStore
