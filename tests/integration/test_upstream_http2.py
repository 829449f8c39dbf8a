"""HTTP/2 towards replicas, with h2 as the replica and judge: many exchanges on one connection, each on its own."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from openmcp import errors
from openmcp.model.server import Credential, Http2, Replica, Server, Timeouts
from openmcp.model.tls import CallingTls
from openmcp.upstream.http2 import PING_S, STREAM_WINDOW_BYTES, Connection
from tests.support.certificates import Authority
from tests.support.http2 import H2Asked, H2Peer
from tests.unit.upstream.replica import RESULT, WAIT_S, asking, permitted, replica_at, scripted, server_of
from tests.unit.upstream.replica import always as always_http1
from tests.unit.upstream.replica import answer as answer_http1

CA = Authority()
SSE = ("content-type", "text/event-stream")

Script = Callable[[H2Peer], Awaitable[None]]


@dataclass
class Up:
    """A listening replica."""

    replica: Replica
    connections: int = 0
    asked: list[H2Asked] = field(default_factory=list[H2Asked])

    def server(self, **changes: object) -> Server:
        return server_of(self.replica, **{"http2": Http2.PRIOR_KNOWLEDGE, **changes})


@asynccontextmanager
async def replica(script: Script, *, tls: ssl.SSLContext | None = None, streams: int = 100) -> AsyncIterator[Up]:
    """A replica that runs `script` on every connection; what goes wrong in it fails the test."""
    faults: list[BaseException] = []
    running: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up.connections += 1
        peer = H2Peer(reader, writer, streams, up.asked)
        try:
            await peer.start()
            await script(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(run(reader, writer))
        running.add(task)
        task.add_done_callback(lambda done: faults.append(error) if (error := done.exception()) else None)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    up = Up(replica_at(listener.sockets[0].getsockname()[1], is_tls=tls is not None))
    try:
        async with asyncio.timeout(2 * WAIT_S):
            yield up
    finally:
        listener.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if faults:
        raise faults[0]


async def always(peer: H2Peer) -> None:
    """Answer every request."""
    while True:
        await peer.answer(await peer.request(), RESULT)


async def test_what_is_permitted_arrives_as_one_request() -> None:
    async with replica(always) as up, asking() as asker:
        server = up.server(credentials=(Credential("X-Api-Key", "of the gateway"), Credential("Authorization", "b")))
        wish = (("Accept", "application/json"), ("Mcp-Session-Id", "s1"), ("X-Api-Key", "of the agent"))
        assert await asker.ask(server, headers=wish) == (200, RESULT)
    asked = up.asked[0]
    assert asked.fields[:4] == [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", up.replica.authority),
        (":path", "/mcp"),
    ]
    assert asked.body.startswith(b'{"jsonrpc":"2.0","id":1,"method":"tools/call"')
    assert asked.field("content-length") == [str(len(asked.body))]
    assert asked.field("accept-encoding") == ["identity"]
    assert asked.field("mcp-session-id") == ["s1"]
    assert asked.field("x-api-key") == ["of the gateway"]
    assert asked.field("authorization") == ["b"]
    assert not asked.field("host")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_get_and_delete_carry_no_body(method: str) -> None:
    async with replica(always) as up, asking() as asker:
        assert (await asker.ask(up.server(), method=method))[0] == 200
    assert up.asked[0].field(":method") == [method]
    assert not up.asked[0].body


async def test_exchanges_share_one_connection_and_are_answered_as_they_come() -> None:
    async def script(peer: H2Peer) -> None:
        asked = [await peer.request() for _ in range(20)]
        for one in reversed(asked):
            text = b"%b" % bytes(one.body)
            await peer.answer(one, RESULT + b" " * text.count(b'"id"'))

    async with replica(script) as up, asking() as asker:
        answers = await asyncio.gather(*[asker.ask(up.server()) for _ in range(20)])
        assert {status for status, _ in answers} == {200}
        assert up.connections == 1
        assert asker.client.in_flight(up.replica) == 0


async def test_no_more_exchanges_than_the_replica_takes_share_a_connection() -> None:
    arrived: asyncio.Queue[None] = asyncio.Queue()
    go_on = asyncio.Event()

    async def script(peer: H2Peer) -> None:
        asked: list[H2Asked] = []
        hearing = asyncio.create_task(_hear(peer, asked, arrived))
        await go_on.wait()
        for one in asked:
            await peer.answer(one, RESULT)
        await hearing

    async with replica(script, streams=2) as up, asking() as asker:
        tasks = [asyncio.create_task(asker.ask(up.server())) for _ in range(5)]
        for _ in tasks:
            await arrived.get()
        go_on.set()
        assert await asyncio.gather(*tasks) == [(200, RESULT)] * 5
        assert up.connections == 3


async def _hear(peer: H2Peer, asked: list[H2Asked], arrived: asyncio.Queue[None]) -> None:
    while True:
        asked.append(await peer.request())
        arrived.put_nowait(None)


async def test_events_come_one_by_one_and_leaving_takes_the_request_back() -> None:
    codes: asyncio.Queue[int] = asyncio.Queue()

    async def script(peer: H2Peer) -> None:
        asked = await peer.request()
        await peer.begin(asked, SSE)
        await peer.data(asked, b"data: 1\n\n")
        codes.put_nowait(await peer.until_reset(asked))
        await always(peer)

    async with replica(script) as up, asking() as asker:
        call = permitted(up.server())
        async with asker.client.send(call, (up.replica,)) as reply:
            async for event in reply.events():
                assert event is not None
                assert event.data == b"1"
                break
        assert await codes.get() == 8
        assert await asker.ask(up.server()) == (200, RESULT)
        assert up.connections == 1


async def test_a_slow_reader_holds_up_its_own_stream_and_no_other() -> None:
    sent = 0

    async def flood(peer: H2Peer, asked: H2Asked) -> None:
        nonlocal sent
        await peer.begin(asked, SSE)
        event = b"data: " + b"x" * 1000 + b"\n\n"
        while True:
            room = peer.h2.local_flow_control_window(asked.stream)
            if room < len(event):
                return
            peer.h2.send_data(asked.stream, event)
            sent += len(event)
            await peer.flush()

    async def script(peer: H2Peer) -> None:
        asked = await peer.request()
        await flood(peer, asked)
        await always(peer)

    async with replica(script) as up, asking() as asker:
        call = permitted(up.server())
        async with asker.client.send(call, (up.replica,)) as reply:
            for _ in range(50):
                assert await asker.ask(up.server()) == (200, RESULT)
            assert sent <= STREAM_WINDOW_BYTES + 65_536 + 2048
            assert up.connections == 1
            seen = 0
            async for event in reply.events():
                seen += event is not None
                if seen * 1008 >= sent - 1008:
                    break


async def test_a_large_answer_passes_through_the_windows() -> None:
    body = b'"' + b"x" * 3_000_000 + b'"'

    async def script(peer: H2Peer) -> None:
        while True:
            await peer.answer(await peer.request(), body)

    async with replica(script) as up, asking() as asker:
        for _ in range(12):
            assert await asker.ask(up.server()) == (200, body)


async def test_a_large_request_passes_through_the_windows() -> None:
    async with replica(always) as up, asking() as asker:
        for _ in range(3):
            assert await asker.ask(up.server(), text="x" * 1_000_000) == (200, RESULT)
        assert all(len(asked.body) > 1_000_000 for asked in up.asked)


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("code", "kind"), [(8, errors.OutcomeUnknown), (2, errors.OutcomeUnknown), (7, errors.UpstreamFailed)]
)
async def test_a_reset_is_never_asked_again(code: int, kind: type[errors.UpstreamFailed]) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.reset(await peer.request(), code)
        await always(peer)

    async with replica(script) as one, replica(always) as other, asking() as asker:
        with pytest.raises(errors.UpstreamFailed) as failure:
            await asker.ask(one.server(replicas=(one.replica, other.replica)))
        assert type(failure.value) is kind
        assert not other.asked
        assert await asker.ask(one.server()) == (200, RESULT)


async def test_what_a_goaway_leaves_out_fails_and_the_rest_goes_on_and_new_exchanges_go_elsewhere() -> None:
    async def script(peer: H2Peer) -> None:
        first = await peer.request()
        if up.connections > 1:
            return await always_from(peer, first)
        await peer.request()
        await peer.goaway(first.stream)
        await peer.answer(first, RESULT)

    async def always_from(peer: H2Peer, asked: H2Asked) -> None:
        await peer.answer(asked, RESULT)
        await always(peer)

    async with replica(script) as up, asking() as asker:
        outcomes = await asyncio.gather(*[asker.ask(up.server()) for _ in range(2)], return_exceptions=True)
        assert outcomes[0] == (200, RESULT)
        assert type(outcomes[1]) is errors.UpstreamFailed
        assert await asker.ask(up.server()) == (200, RESULT)
        assert up.connections == 2


async def test_a_connection_that_breaks_fails_all_of_its_exchanges() -> None:
    async def script(peer: H2Peer) -> None:
        asked = [await peer.request() for _ in range(3)]
        await peer.begin(asked[0], SSE)
        await peer.data(asked[0], b"data: 1\n\n")
        peer.writer.transport.abort()

    async with replica(script) as up, asking() as asker:
        outcomes = await asyncio.gather(*[asker.ask(up.server()) for _ in range(3)], return_exceptions=True)
        assert sum(isinstance(outcome, errors.OutcomeUnknown) for outcome in outcomes) >= 2
        assert asker.client.in_flight(up.replica) == 0


@pytest.mark.parametrize(
    "fields",
    [
        (("content-type", "application/json"), ("content-encoding", "gzip")),
        (("content-type", "application/json"), ("content-type", "text/plain")),
        (("content-type", "application/json"), ("content-length", "20000000")),
        (("content-type", "application/json"), ("content-length", "5")),
    ],
    ids=["coding", "two types", "too long", "wrong length"],
)
async def test_an_answer_that_cannot_be_read_is_refused_and_the_connection_lives(
    fields: tuple[tuple[str, str], ...],
) -> None:
    async def script(peer: H2Peer) -> None:
        await peer.answer(await peer.request(), RESULT, *fields)
        await always(peer)

    async with replica(script) as up, asking() as asker:
        with pytest.raises(errors.UpstreamFailed):
            await asker.ask(up.server())
        assert await asker.ask(up.server()) == (200, RESULT)
        assert up.connections == 1


async def test_a_body_beyond_the_limit_is_refused() -> None:
    async def script(peer: H2Peer) -> None:
        await peer.answer(await peer.request(), b"x" * 5000)
        await always(peer)

    async with replica(script) as up, asking() as asker:
        with pytest.raises(errors.UpstreamBroken):
            await asker.ask(up.server(message_bytes=1000))


async def test_bytes_that_are_no_frames_fail_the_exchange() -> None:
    async def script(peer: H2Peer) -> None:
        await peer.request()
        peer.writer.write(b"HTTP/1.1 200 OK\r\n\r\n" * 100)
        await peer.hear()

    async with replica(script) as up, asking() as asker:
        with pytest.raises(errors.UpstreamFailed):
            await asker.ask(up.server())


async def test_an_answer_that_does_not_come_is_given_up_and_taken_back() -> None:
    codes: asyncio.Queue[int] = asyncio.Queue()

    async def script(peer: H2Peer) -> None:
        codes.put_nowait(await peer.until_reset(await peer.request()))
        await always(peer)

    async with replica(script) as up, asking() as asker:
        with pytest.raises(errors.UpstreamTimeout):
            await asker.ask(up.server(timeouts=Timeouts(response_s=0.2)))
        assert await codes.get() == 8
        assert await asker.ask(up.server()) == (200, RESULT)
        assert up.connections == 1


async def test_a_cancelled_exchange_is_taken_back() -> None:
    arrived, codes = asyncio.Event(), asyncio.Queue[int]()

    async def script(peer: H2Peer) -> None:
        asked = await peer.request()
        arrived.set()
        codes.put_nowait(await peer.until_reset(asked))

    async with replica(script) as up, asking() as asker:
        task = asyncio.create_task(asker.ask(up.server()))
        await arrived.wait()
        task.cancel()
        assert await codes.get() == 8
        assert asker.client.in_flight(up.replica) == 0


async def test_a_replica_that_has_gone_silent_is_pinged_and_then_given_up() -> None:
    arrived = asyncio.Event()

    async def script(peer: H2Peer) -> None:
        await peer.request()
        arrived.set()
        await asyncio.Event().wait()

    async with replica(script) as up, asking() as asker:
        task = asyncio.create_task(asker.ask(up.server()))
        await arrived.wait()
        pool = asker.client.pool(up.server(), up.replica)
        connection = pool.take()
        assert isinstance(connection, Connection)
        now = asyncio.get_running_loop().time()
        connection.expire(now + PING_S + 1)
        assert not task.done()
        connection.expire(now + 2 * PING_S + 2)
        with pytest.raises(errors.OutcomeUnknown, match="ping"):
            await task


async def test_a_connection_that_rests_is_closed_in_time() -> None:
    ended = asyncio.Event()

    async def script(peer: H2Peer) -> None:
        try:
            await always(peer)
        finally:
            ended.set()

    async with replica(script) as up, asking() as asker:
        assert await asker.ask(up.server(idle_connection_s=0.1)) == (200, RESULT)
        await ended.wait()


# ---------------------------------------------------------------- which version is spoken


def replica_context(*protocols: str) -> ssl.SSLContext:
    context = CA.server_context(CA.issue())
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


async def test_with_tls_http2_is_spoken_where_the_replica_offers_it() -> None:
    async with replica(always, tls=replica_context("h2")) as up, asking() as asker:
        server = up.server(http2=Http2.AUTO, tls=CallingTls(CA.pem))
        assert await asker.ask(server) == (200, RESULT)
        assert await asyncio.gather(*[asker.ask(server) for _ in range(10)]) == [(200, RESULT)] * 10
        assert up.connections == 1
        assert up.asked[0].field(":scheme") == ["https"]


@pytest.mark.parametrize(
    ("mode", "protocols"),
    [(Http2.AUTO, ("http/1.1",)), (Http2.AUTO, ()), (Http2.NEVER, ("h2", "http/1.1"))],
)
async def test_else_http1_is_spoken(mode: Http2, protocols: tuple[str, ...]) -> None:
    async with scripted(always_http1(answer_http1()), tls=replica_context(*protocols)) as up, asking() as asker:
        server = server_of(up.replica, http2=mode, tls=CallingTls(CA.pem))
        assert [await asker.ask(server) for _ in range(2)] == [(200, RESULT)] * 2
        assert up.connections == 1


async def test_where_http2_is_demanded_nothing_else_is_spoken() -> None:
    async with scripted(always_http1(answer_http1()), tls=replica_context()) as up, asking() as asker:
        with pytest.raises(errors.UpstreamUnreachable, match="does not speak HTTP/2"):
            await asker.ask(server_of(up.replica, http2=Http2.PRIOR_KNOWLEDGE, tls=CallingTls(CA.pem)))
        assert not up.asked


async def test_a_replica_that_went_back_to_http1_is_followed() -> None:
    """Twenty exchanges that wait for one shared connection each get their own when it cannot be shared."""
    async with scripted(always_http1(answer_http1()), tls=replica_context("http/1.1")) as up, asking() as asker:
        server = server_of(up.replica, http2=Http2.AUTO, tls=CallingTls(CA.pem))
        pool = asker.client.pool(server, up.replica)
        pool._is_sharing = True  # what an earlier handshake has said
        assert await asyncio.gather(*[asker.ask(server) for _ in range(20)]) == [(200, RESULT)] * 20


async def test_who_gives_up_waiting_for_a_shared_connection_leaves_it_to_the_others() -> None:
    async with replica(always) as up, asking() as asker:
        first = asyncio.create_task(asker.ask(up.server()))
        others = [asyncio.create_task(asker.ask(up.server())) for _ in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*others) == [(200, RESULT)] * 3
        assert up.connections == 1
