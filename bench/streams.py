"""What streams cost in memory: many that are idle, and one that is read slowly."""

import asyncio
from dataclasses import dataclass

from bench import client, messages
from bench.contenders import Contender
from bench.processes import memory_bytes

IDLE_STREAMS = 2000
AT_ONCE = 50
SETTLE_S = 2.0
SLOW_S = 4.0
SLOW_PAUSE_S = 0.1
SLOW_READ_BYTES = 4096


@dataclass(frozen=True)
class StreamResult:
    """`idle_kib`: per idle stream; `slow_mib`: growth while one stream is read slowly. None: see `fault`."""

    name: str
    idle_kib: float | None = None
    slow_mib: float | None = None
    fault: str | None = None


def measure(contender: Contender) -> StreamResult:
    """Both figures; the contender should be fresh, since memory once taken is rarely given back."""
    if contender.fault is not None:
        return StreamResult(contender.name, fault=contender.fault)
    try:
        slow = asyncio.run(_slow(contender))
        idle = asyncio.run(_idle(contender))
    except (RuntimeError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        return StreamResult(contender.name, fault=f"{type(error).__name__}: {error}")
    return StreamResult(contender.name, idle, slow)


async def _idle(contender: Contender) -> float:
    """KiB per idle stream, each in a session of its own; the session itself counts as well."""
    before = memory_bytes(contender.pid)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> client.Stream:
        async with gate:
            fields = await asyncio.to_thread(_fields, contender, "/idle")
            return await client.open_stream(contender.port, "/idle", fields=fields)

    opening = [asyncio.create_task(one()) for _ in range(IDLE_STREAMS)]
    try:
        streams = await asyncio.gather(*opening)
        await asyncio.sleep(SETTLE_S)
        grown = memory_bytes(contender.pid) - before
    finally:
        for task in opening:
            task.cancel()
    for stream in streams:
        stream.close()
    return grown / IDLE_STREAMS / 1024


async def _slow(contender: Contender) -> float:
    """MiB by which the proxy grew at most, while a large stream was read at about 40 KB/s."""
    fields = await asyncio.to_thread(_fields, contender, "/flood")
    before = memory_bytes(contender.pid)
    stream = await client.open_stream(contender.port, "/flood", fields=fields, buffer=SLOW_READ_BYTES)
    most = 0
    try:
        for _ in range(int(SLOW_S / SLOW_PAUSE_S)):
            if not await asyncio.wait_for(stream.reader.read(SLOW_READ_BYTES), client.TIMEOUT_S):
                raise RuntimeError("the stream ended before its reader had read it")
            most = max(most, memory_bytes(contender.pid) - before)
            await asyncio.sleep(SLOW_PAUSE_S)
    finally:
        stream.close()
    return most / 1024 / 1024


def _fields(contender: Contender, path: str) -> dict[str, str]:
    session = messages.SOME_SESSION
    if contender.own_sessions:
        # Two thousand at once may be told to come back in a second: what is measured is memory.
        session = client.patiently(lambda: client.open_session(contender.port, path, key=contender.key))
    fields = messages.headers("legacy", session=session, key=contender.key)
    return fields | {"Accept": "text/event-stream"}
