"""`Watchers`: hands hints about changed keys to whoever iterates a watch. Used by the stores of this folder."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

_PENDING: Final = 1000
"""Hints kept for a slow reader; beyond, one empty hint says "look yourself"."""


class Watchers:
    """The running watches of one store; used on its event loop only."""

    def __init__(self) -> None:
        self._watches: set[_Watch] = set()

    def __bool__(self) -> bool:
        return bool(self._watches)

    def notify(self, ns: str, key: str) -> None:
        """Tell those who watch this key."""
        for watch in self._watches:
            if watch.ns == ns and key.startswith(watch.prefix):
                watch.tell(key)

    def notify_all(self) -> None:
        """Tell everyone that something changed."""
        for watch in self._watches:
            watch.tell("")

    def close(self) -> None:
        """End every watch."""
        for watch in self._watches:
            watch.end()

    async def watch(self, ns: str, prefix: str) -> AsyncGenerator[str, None]:
        """Yield hints until the store closes or the reader leaves."""
        watch = _Watch(ns, prefix)
        self._watches.add(watch)
        try:
            while not watch.is_over or watch.keys:
                if not watch.keys:
                    watch.changed.clear()
                    await watch.changed.wait()
                while watch.keys:
                    # Taken out before it is given away: a change that comes meanwhile is a new hint.
                    key = next(iter(watch.keys))
                    del watch.keys[key]
                    yield key
        finally:
            self._watches.discard(watch)


class _Watch:
    def __init__(self, ns: str, prefix: str) -> None:
        self.ns = ns
        self.prefix = prefix
        self.keys: dict[str, None] = {}
        self.changed = asyncio.Event()
        self.is_over = False

    def tell(self, key: str) -> None:
        if len(self.keys) >= _PENDING:
            self.keys = {"": None}
        self.keys[key] = None
        self.changed.set()

    def end(self) -> None:
        self.is_over = True
        self.changed.set()
