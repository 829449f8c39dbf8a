"""A store whose calls are timed, for whoever watches how it does. Wraps any other."""

import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from typing import Protocol

from openmcp.state.store import Capabilities, Expected, Health, Item, Page, Store, Version


class Observe(Protocol):
    """Told of each call, when it is over: well, by a conflict or by a failure."""

    def __call__(self, operation: str, *, duration_s: float) -> None: ...


class TimedStore:
    """Does what the store in it does."""

    def __init__(self, store: Store, observe: Observe, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._store = store
        self._observe = observe
        self._clock_s = clock_s

    @property
    def capabilities(self) -> Capabilities:
        """What the backend promises."""
        return self._store.capabilities

    async def open(self) -> None:
        """Get ready. Raises: StoreUnavailable."""
        await self._store.open()

    async def close(self) -> None:
        """Finish accepted writes, and release everything."""
        await self._store.close()

    async def get(self, ns: str, key: str) -> Item | None:
        """Return the live item, or `None`."""
        with self._timing("get"):
            return await self._store.get(ns, key)

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
        """Write the value and return its version. Raises: StoreConflict."""
        with self._timing("put"):
            return await self._store.put(ns, key, value, ttl_s=ttl_s, if_version=if_version, durable=durable)

    async def delete(self, ns: str, key: str, *, if_version: Version | None = None) -> bool:
        """Remove the item and return whether there was one. Raises: StoreConflict."""
        with self._timing("delete"):
            return await self._store.delete(ns, key, if_version=if_version)

    async def add(self, ns: str, key: str, delta: int, *, ttl_s: float | None = None) -> int:
        """Return the counter after adding. Raises: StoreConflict."""
        with self._timing("add"):
            return await self._store.add(ns, key, delta, ttl_s=ttl_s)

    async def scan(self, ns: str, prefix: str = "", *, limit: int = 100, cursor: str | None = None) -> Page:
        """Return items whose key begins with `prefix`."""
        with self._timing("scan"):
            return await self._store.scan(ns, prefix, limit=limit, cursor=cursor)

    def watch(self, ns: str, prefix: str = "") -> AsyncIterator[str]:
        """Yield hints about changed keys; not timed, since it is all waiting."""
        return self._store.watch(ns, prefix)

    async def health(self) -> Health:
        """Return whether the store answers now."""
        return await self._store.health()

    @contextmanager
    def _timing(self, operation: str) -> Generator[None]:
        began_s = self._clock_s()
        try:
            yield
        finally:
            self._observe(operation, duration_s=self._clock_s() - began_s)


_: type[Store] = TimedStore
