"""`FileSource`: configuration in files and directories, watched.

Looks every 300 ms at what each file is (inode, size, times) instead of asking the
kernel for events: those do not arrive from network mounts, and a mounted ConfigMap
changes by a symbolic link two levels up.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from openmcp.config.loader import Loaded, attempt
from openmcp.config.source import ConfigSource
from openmcp.config.stamps import Stamp, stamp
from openmcp.errors import Misconfigured

INTERVAL_S = 0.3
"""A change is seen within two of these: at the first it is noticed, at the second it has settled."""


class FileSource:
    """Reads a bootstrap file (or several files and directories) and all that it names."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        env: Mapping[str, str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._paths = tuple(paths)
        self._env = env
        self._sleep = sleep
        self._outcome: Loaded | Misconfigured | None = None
        self._stamps: Mapping[Path, Stamp] = {}

    def load(self) -> Loaded:
        """Return the configuration as the files are now.

        Raises: Misconfigured with every fault of all files.
        """
        outcome = self._attempt()
        if isinstance(outcome, Misconfigured):
            raise outcome
        return outcome

    async def changes(self) -> AsyncIterator[Loaded | Misconfigured]:
        """Yield the outcome of each change, once it has settled; what was written without effect is left out."""
        if self._outcome is None:
            await asyncio.to_thread(self._attempt)
        while True:
            await self._settled_change()
            before = self._outcome
            outcome = await asyncio.to_thread(self._attempt)
            if not _is_same(outcome, before):
                yield outcome

    def _attempt(self) -> Loaded | Misconfigured:
        tried = attempt(self._paths, env=self._env)
        self._stamps = tried.watched
        self._outcome = tried.outcome
        return tried.outcome

    async def _settled_change(self) -> None:
        """Wait until something is different from what was loaded, and has been so for one interval."""
        seen = self._stamps
        while True:
            await self._sleep(INTERVAL_S)
            now = await asyncio.to_thread(_stamps_of, tuple(self._stamps))
            if now == seen and now != self._stamps:
                return
            seen = now


def _stamps_of(paths: Sequence[Path]) -> Mapping[Path, Stamp]:
    return {path: stamp(path) for path in paths}


def _is_same(outcome: Loaded | Misconfigured, before: Loaded | Misconfigured | None) -> bool:
    if isinstance(outcome, Misconfigured):
        return isinstance(before, Misconfigured) and outcome.faults == before.faults
    return outcome == before


_: type[ConfigSource] = FileSource
