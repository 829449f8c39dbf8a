"""Reference servers as processes, and their side door: what a server saw, and the gates its tools wait at.

Used by fixtures. The side door is asked past any proxy, so a test can compare what
an agent was told with what the server did.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import Process

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30.0
# The side door waits that long for an entry of the journal.
WAIT_S = 10.0


@dataclass(frozen=True)
class Backend:
    """One running reference server."""

    name: str
    origin: str
    pid: int
    process: Process

    @property
    def url(self) -> str:
        return f"{self.origin}/mcp"

    async def saw(self, kind: str, tag: str) -> bool:
        """Whether a call with that tag comes to `started`, `finished`, `cancelled` or `echoed` here in bounded time."""
        return await self._entry(kind, tag, WAIT_S) is not None

    async def has_seen(self, kind: str, tag: str) -> bool:
        """Whether it has already come to that; waits for nothing."""
        return await self._entry(kind, tag, 0.0) is not None

    async def requests(self) -> list[dict[str, Any]]:
        """The HTTP requests as they arrived: `method`, `headers`, `body`, `status`."""
        async with self._door() as door:
            found: list[dict[str, Any]] = (await door.get("/requests")).json()
        return found

    async def open_gate(self, tag: str) -> None:
        """Let the tool go on that holds with this tag."""
        async with self._door() as door:
            (await door.post(f"/gates/{tag}")).raise_for_status()

    async def _entry(self, kind: str, tag: str, timeout_s: float) -> dict[str, Any] | None:
        async with self._door() as door:
            query = {"kind": kind, "tag": tag, "timeout_s": str(timeout_s)}
            found: dict[str, Any] | None = (await door.get("/journal", params=query)).json()
        return found

    def _door(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.origin, trust_env=False, timeout=WAIT_S + 5)


@contextmanager
def reference_server(
    name: str, *, folder: Path, state_key: str | None = None, options: Sequence[str] = ()
) -> Iterator[Backend]:
    """A reference server on a free port, answering; ended with the block."""
    command = [sys.executable, "-m", "tests.servers.reference", "--port", "0", "--replica", name, *options]
    if state_key:
        command += ["--state-key", state_key]
    with _started(name, command, folder) as backend:
        yield backend


@contextmanager
def v1_server(name: str, *, python: Path, folder: Path) -> Iterator[Backend]:
    """A server on the 1.x SDK, which knows the legacy era only; it has no side door."""
    with _started(name, [str(python), "-m", "tests.servers.v1", "--replica", name], folder) as backend:
        yield backend


@contextmanager
def _started(name: str, command: Sequence[str], folder: Path) -> Iterator[Backend]:
    process = Process(command, output=folder / f"server-{name}.log", cwd=ROOT)
    try:
        announced = json.loads(process.first_line(timeout_s=START_TIMEOUT_S))
        yield Backend(name=name, origin=announced["origin"], pid=announced["pid"], process=process)
    finally:
        process.stop()
