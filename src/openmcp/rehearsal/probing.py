"""What servers list now, asked as the gateway itself asks: for checks of policies against what is really there."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from openmcp.audit.sinks.base import AuditSink
from openmcp.audit.writer import Writer
from openmcp.config.snapshot import Snapshot
from openmcp.model.catalogue import Catalogue
from openmcp.model.pin import Pinning
from openmcp.model.server import Server
from openmcp.runtime import Runtime
from openmcp.state.memory import MemoryStore
from openmcp.state.sealing import KEY_BYTES, Keyring
from openmcp.telemetry.metrics import Metrics

_READ_S: Final = 20.0


async def listings(snapshot: Snapshot, *servers: str) -> Mapping[str, Catalogue | None]:
    """Return what servers list on all their replicas, with the entries themselves; `None` if none answers.

    `servers`: their names; none given = all.
    """
    # Where definitions are pinned, every replica is read, and the entries come with their texts.
    asked = [
        replace(server, pinning=Pinning.WARN) for server in snapshot.servers if not servers or server.name in servers
    ]
    writer = Writer("rehearsal", [_Nowhere()])
    writer.start()
    runtime = Runtime(
        replace(snapshot, servers=tuple(asked)),
        store=MemoryStore(),
        keyring=Keyring(sealing=(secrets.token_bytes(KEY_BYTES),), hashing=secrets.token_bytes(KEY_BYTES)),
        writer=writer,
        metrics=Metrics(),
    )
    try:
        found = await asyncio.gather(*(_read(runtime, server) for server in asked))
    finally:
        await runtime.close()
        await asyncio.to_thread(writer.stop)
    return {server.name: catalogue for server, catalogue in zip(asked, found, strict=True)}


async def _read(runtime: Runtime, server: Server) -> Catalogue | None:
    try:
        async with asyncio.timeout(_READ_S):
            return await runtime.prober.read(server)
    except TimeoutError:
        return None


class _Nowhere:
    """Takes the evidence of questions that change nothing, and keeps none of it."""

    name = "nowhere"

    def open(self) -> None: ...

    def write(self, data: bytes) -> int:
        return len(data)

    def sync(self) -> None: ...

    def is_full(self) -> bool:
        return False

    def turn(self) -> None: ...

    def close(self) -> None: ...


_: type[AuditSink] = _Nowhere
