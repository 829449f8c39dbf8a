"""Slow readers: what is written waits, the writer waits with it, and a reader that stands still is given up."""

import asyncio
import resource
from pathlib import Path

from openmcp.model.http import Request, Wire
from openmcp.server.limits import KIB, MIB, ListenerLimits
from tests.support.edge import STREAM, WAIT_S, connected, edge, post

EVENT = b"data: " + b"x" * 1000 + b"\n\n"
COUNT = 60_000


def memory_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


async def test_long_stream_to_a_slow_reader_takes_no_memory() -> None:
    written = 0
    most = 0

    async def handler(request: Request, wire: Wire) -> None:
        nonlocal written, most
        wire.begin(200, STREAM)
        before = memory_bytes()
        for n in range(COUNT):
            wire.write(EVENT)
            written += len(EVENT)
            await wire.drain()
            if n % 1000 == 0:
                most = max(most, memory_bytes() - before)
        wire.end()

    async with edge(handler) as worker, connected(worker, limit=16 * KIB) as client:
        await client.send(post())
        await client.read_until(b"\r\n\r\n")
        # What fits into the sockets is on its way; then the writer stands still.
        at = -1
        while at != written:
            at = written
            await asyncio.sleep(0.1)
        assert written < 16 * MIB
        body = 0
        async with asyncio.timeout(30):
            while data := await client.reader.read(64 * KIB):
                body += data.count(b"x")
                if data.endswith(b"0\r\n\r\n"):
                    break
        await asyncio.sleep(0)
    assert body == COUNT * 1000
    assert most < 8 * MIB


async def test_writer_that_never_waits_for_anything_else_is_held_as_well() -> None:
    drained = 0

    async def handler(request: Request, wire: Wire) -> None:
        nonlocal drained
        wire.begin(200, STREAM)
        while True:
            wire.write(b"x" * MIB)
            await wire.drain()
            drained += 1

    async with edge(handler) as worker, connected(worker, limit=16 * KIB) as client:
        await client.send(post())
        await client.read_until(b"\r\n\r\n")
        at = -1
        while at != drained:
            at = drained
            await asyncio.sleep(0.1)
        assert drained < 32


async def test_reader_that_stands_still_is_given_up_in_time() -> None:
    ended = asyncio.Event()

    async def handler(request: Request, wire: Wire) -> None:
        wire.begin(200, STREAM)
        try:
            while True:
                wire.write(b"x" * MIB)
                await wire.drain()
        finally:
            ended.set()

    limits = ListenerLimits(tick_s=0.02, write_timeout_s=0.2)
    async with edge(handler, limits) as worker, connected(worker, limit=16 * KIB) as client:
        await client.send(post())
        await client.read_until(b"\r\n\r\n")
        await asyncio.wait_for(ended.wait(), WAIT_S)


async def test_several_writers_of_one_stream_are_all_let_go_again() -> None:
    async def writer(wire: Wire) -> None:
        for _ in range(20):
            wire.write(b"x" * MIB)
            await wire.drain()

    async def handler(request: Request, wire: Wire) -> None:
        wire.begin(200, STREAM)
        await asyncio.gather(writer(wire), writer(wire), writer(wire))
        wire.end()

    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post())
        assert len((await client.answer()).body) == 60 * MIB


async def test_last_answer_of_a_connection_may_be_read_slowly() -> None:
    async def handler(request: Request, wire: Wire) -> None:
        wire.respond(200, STREAM, b"x" * 20 * MIB)

    limits = ListenerLimits(tick_s=0.02, linger_timeout_s=0.05)
    async with edge(handler, limits) as worker, connected(worker, limit=16 * KIB) as client:
        await client.send(post(b"{}", "Connection: close"))
        await client.read_until(b"\r\n\r\n")
        await asyncio.sleep(0.5)
        assert len(await client.rest()) == 20 * MIB
