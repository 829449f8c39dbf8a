"""Event streams of a scripted replica: order, ticks, backpressure, and every way they end."""

import asyncio

import pytest

from openmcp import errors
from openmcp.mcp.sse import Event
from openmcp.model.server import Server, Timeouts
from tests.unit.upstream.replica import (
    LAST_CHUNK,
    RESULT,
    STREAM_HEAD,
    WAIT_S,
    Asker,
    Peer,
    always,
    answer,
    asking,
    chunk,
    permitted,
    scripted,
    server_of,
)


def event(data: bytes = RESULT, *, id: str = "") -> bytes:
    return (f"id: {id}\n".encode() if id else b"") + b"event: message\ndata: " + data + b"\n\n"


async def collect(asker: Asker, server: Server, into: list[Event | None]) -> None:
    """Read a whole stream; what came before a failure is in `into`."""
    async with asyncio.timeout(WAIT_S), asker.client.send(permitted(server), server.replicas) as reply:
        assert reply.is_stream
        async for item in reply.events():
            into.append(item)


async def test_events_arrive_whole_and_in_order_however_the_stream_is_cut() -> None:
    raw = STREAM_HEAD + chunk(b": hi\n\n") + chunk(event(b"1", id="a")) + chunk(event(b"2")) + LAST_CHUNK

    async def script(peer: Peer) -> None:
        for cut in range(1, len(raw)):
            await peer.request()
            await peer.send(raw[:cut])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await peer.send(raw[cut:])

    async with scripted(script) as up, asking() as asker:
        for _ in range(1, len(raw)):
            got: list[Event | None] = []
            await collect(asker, server_of(up.replica), got)
            assert got == [Event(b"1", id="a", event="message"), Event(b"2", event="message")]
        assert up.connections == 1


async def test_an_event_is_given_before_the_next_one_exists() -> None:
    seen = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(event(b"1")))
        await seen.wait()
        await peer.send(chunk(event(b"2")) + LAST_CHUNK)

    async with scripted(script) as up, asking() as asker, asyncio.timeout(WAIT_S):
        server = server_of(up.replica)
        async with asker.client.send(permitted(server), server.replicas) as reply:
            got: list[bytes] = []
            async for item in reply.events():
                assert item
                got.append(item.data)
                seen.set()
        assert got == [b"1", b"2"]


async def test_silence_gives_ticks_though_the_replica_sends_comments() -> None:
    ticked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        while not ticked.is_set():
            await peer.send(chunk(b": ping\n\n"))
            await asyncio.sleep(0.02)
        await peer.send(chunk(event(b"1")) + LAST_CHUNK)

    async with scripted(script) as up, asking(tick_s=0.1) as asker, asyncio.timeout(WAIT_S):
        server = server_of(up.replica)
        got: list[Event | None] = []
        async with asker.client.send(permitted(server), server.replicas) as reply:
            async for item in reply.events():
                got.append(item)
                if got.count(None) == 3:
                    ticked.set()
    assert got[:3] == [None, None, None]
    assert got[-1] == Event(b"1", event="message")


async def test_a_stream_that_stays_silent_is_given_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(event(b"1")))
        await peer.until_closed()

    async with scripted(script) as up, asking(tick_s=0.1) as asker:
        got: list[Event | None] = []
        with pytest.raises(errors.UpstreamTimeout) as failure:
            await collect(asker, server_of(up.replica, timeouts=Timeouts(stream_idle_s=0.35)), got)
        assert up.replica.url in failure.value.detail
        assert got[0] == Event(b"1", event="message")
        assert None in got
        await up.script_ended()


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_cut_stream_is_an_unknown_outcome_after_what_came(ending: str) -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(event(b"1")) + b"40\r\nevent: mess")
        await go.wait()
        getattr(peer, ending)()

    async with scripted(script) as up, asking() as asker, asyncio.timeout(WAIT_S):
        server = server_of(up.replica)
        async with asker.client.send(permitted(server), server.replicas) as reply:
            events = reply.events()
            assert await anext(events) == Event(b"1", event="message")
            go.set()
            with pytest.raises(errors.OutcomeUnknown):
                await anext(events)
        assert asker.observed == [(up.replica.url, True)]


async def test_bad_framing_within_a_stream_is_a_broken_answer_after_what_came() -> None:
    async with scripted(always(STREAM_HEAD + chunk(event(b"1")) + b"xyz\r\n")) as up, asking() as asker:
        got: list[Event | None] = []
        with pytest.raises(errors.UpstreamBroken):
            await collect(asker, server_of(up.replica), got)
        assert got == [Event(b"1", event="message")]


async def test_a_stream_without_length_ends_with_its_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: TEXT/Event-Stream; charset=utf-8\r\n\r\n" + event(b"1"))

    async with scripted(script) as up, asking() as asker:
        got: list[Event | None] = []
        await collect(asker, server_of(up.replica), got)
        assert got == [Event(b"1", event="message")]


async def test_an_event_larger_than_allowed_breaks_the_stream_and_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.writer.write(STREAM_HEAD + chunk(event(b"1")) + chunk(event(b"x" * 300_000)))
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        got: list[Event | None] = []
        with pytest.raises(errors.UpstreamBroken) as failure:
            await collect(asker, server_of(up.replica, message_bytes=100_000), got)
        assert up.replica.url in failure.value.detail
        assert got == [Event(b"1", event="message")]
        await up.script_ended()


async def test_leaving_a_stream_early_closes_its_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(event(b"1")))
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker, asyncio.timeout(WAIT_S):
        server = server_of(up.replica)
        async with asker.client.send(permitted(server), server.replicas) as reply:
            assert asker.client.in_flight(up.replica) == 1
            async for _ in reply.events():
                break
        assert asker.client.in_flight(up.replica) == 0
        await up.script_ended()


async def test_a_task_cancelled_while_it_waits_for_an_event_closes_its_connection() -> None:
    waiting = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        server = server_of(up.replica)

        async def read() -> None:
            async with asker.client.send(permitted(server), server.replicas) as reply:
                waiting.set()
                await anext(reply.events())

        task = asyncio.create_task(read())
        await asyncio.wait_for(waiting.wait(), WAIT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await up.script_ended()


async def test_a_reply_stays_readable_after_its_connection_serves_another() -> None:
    raw = STREAM_HEAD + chunk(event(b"1")) + chunk(event(b"2")) + LAST_CHUNK
    async with scripted(always(raw)) as up, asking() as asker, asyncio.timeout(WAIT_S):
        server = server_of(up.replica)
        first = asker.client.send(permitted(server), server.replicas)
        second = asker.client.send(permitted(server), server.replicas)
        async with first as one, second as two:
            later = [item async for item in two.events()]
            assert later == [item async for item in one.events()]
            assert len(later) == 2
        assert up.connections == 1


async def test_a_slow_reader_stops_the_replica_and_loses_nothing() -> None:
    data = b"x" * 50_000
    count = 1_100
    piece = chunk(event(data))
    sent = 0
    stalled = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(STREAM_HEAD)
        peer.writer.transport.set_write_buffer_limits(high=0)
        for _ in range(count):
            peer.writer.write(piece)
            try:
                await asyncio.wait_for(peer.writer.drain(), 0.5)
            except TimeoutError:
                stalled.set()
                await peer.writer.drain()
            sent += 1
        await peer.send(LAST_CHUNK)

    # Silence while nobody listens is no silence: the stream outlives its idle bound.
    timeouts = Timeouts(stream_idle_s=0.4)
    async with scripted(script) as up, asking(tick_s=0.1) as asker, asyncio.timeout(40):
        server = server_of(up.replica, timeouts=timeouts)
        async with asker.client.send(permitted(server), server.replicas) as reply:
            events = reply.events()
            assert await anext(events)
            await asyncio.wait_for(stalled.wait(), WAIT_S)
            # What the kernel's socket buffers hold, and a little of ours.
            assert sent * len(piece) < 16 << 20
            got = 1
            async for item in events:
                assert item is None or item.data == data
                got += item is not None
        assert got == count
        assert up.connections == 1


async def test_a_stream_is_no_body_and_a_body_no_stream() -> None:
    async with scripted(always(answer())) as up, asking() as asker:
        server = server_of(up.replica)
        async with asker.client.send(permitted(server), server.replicas) as reply:
            with pytest.raises(errors.UpstreamBroken):
                reply.events()
    async with scripted(always(STREAM_HEAD + LAST_CHUNK)) as up, asking() as asker:
        server = server_of(up.replica)
        async with asker.client.send(permitted(server), server.replicas) as reply:
            with pytest.raises(errors.UpstreamBroken):
                await reply.body()
