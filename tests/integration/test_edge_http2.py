"""HTTP/2 at the edge, with h2 as client and judge: the same exchanges, the same refusals, many at a time."""

import asyncio
from dataclasses import replace

import pytest

from openmcp.errors import OpenMCPError
from openmcp.model.http import Peer, Request, Wire
from openmcp.model.tls import ServingTls
from openmcp.server.limits import ListenerLimits
from tests.support.certificates import Authority
from tests.support.edge import (
    JSON,
    QUICK,
    STREAM,
    WAIT_S,
    Gate,
    Recording,
    connected,
    edge,
    eventually,
    post,
    within,
)
from tests.support.http2 import POST, Fields, H2Client, head, speaking_http2

CA = Authority()
BODY = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


async def test_a_request_is_served_by_prior_knowledge() -> None:
    handler = Recording()
    async with edge(handler, public_url="https://gateway.example/") as worker, speaking_http2(worker) as client:
        answer = await client.call(head("POST", "/x?a=1", ("content-type", "application/json")), BODY)
    assert (answer.status, answer.body) == (200, BODY)
    assert answer.headers["content-length"] == str(len(BODY))
    assert "date" in answer.headers
    (request,) = handler.requests
    assert (request.method, request.path, request.query, request.body) == ("POST", "/x", "a=1", BODY)
    assert (request.http_version, request.listener, request.public_url) == ("2", "public", "https://gateway.example")
    assert request.headers == {"content-type": "application/json", "host": "localhost"}
    assert request.received_ns > 0


async def test_a_request_is_served_over_tls_where_the_client_offers_it() -> None:
    tls = ServingTls(CA.issue().pair)
    async with edge(Recording(), tls=tls) as worker:
        async with speaking_http2(worker, tls=CA.client_context()) as client:
            assert (await client.call(POST, BODY)).body == BODY
        async with connected(worker, tls=CA.client_context(alpn=("http/1.1",))) as older:
            await older.send(post(BODY))
            assert (await older.answer()).body == BODY


async def test_both_versions_are_served_at_one_port() -> None:
    async with edge(Recording()) as worker, speaking_http2(worker) as two, connected(worker) as one:
        await one.send(post(BODY))
        assert (await one.answer()).status == 200
        assert (await two.call()).status == 200


async def test_without_http2_its_preface_is_no_request() -> None:
    tls = ServingTls(CA.issue().pair)
    async with edge(Recording(), speaks_http2=False) as worker, connected(worker) as client:
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await client.answer()).status == 400
    async with (
        edge(Recording(), speaks_http2=False, tls=tls) as worker,
        connected(worker, tls=CA.client_context(alpn=("h2", "http/1.1"))) as client,
    ):
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("size", [1, 3, 14, 23, 24, 25])
async def test_the_preface_is_known_however_it_is_cut(size: int) -> None:
    async with edge(Recording()) as worker:
        (host, port), *_ = worker.addresses.values()
        client = H2Client(*await asyncio.open_connection(host, port), reads=True)
        client.h2.initiate_connection()
        data = client.h2.data_to_send()
        await client.send(data[:size])
        # Long enough that the halves are read apart.
        await asyncio.sleep(0.02)
        await client.send(data[size:])
        assert (await client.call()).status == 200
        client.leave()


async def test_requests_run_side_by_side_and_answers_come_as_they_are_ready() -> None:
    gates = {"/a": asyncio.Event(), "/b": asyncio.Event()}

    async def handler(request: Request, wire: Wire) -> None:
        await within(gates[request.path].wait())
        wire.respond(200, JSON, request.path.encode())

    async with edge(handler) as worker, speaking_http2(worker) as client:
        first, second = await client.ask(head("POST", "/a")), await client.ask(head("POST", "/b"))
        gates["/b"].set()
        assert (await client.answer(second)).body == b"/b"
        gates["/a"].set()
        assert (await client.answer(first)).body == b"/a"


async def test_a_large_body_passes_both_ways_through_the_windows() -> None:
    body = bytes(range(256)) * 12_000
    async with edge(Recording()) as worker, speaking_http2(worker) as client:
        for _ in range(3):
            assert (await client.call(POST, body)).body == body


async def test_a_body_in_many_small_frames_is_one_body() -> None:
    async with edge(Recording()) as worker, speaking_http2(worker) as client:
        stream = await client.ask(POST, None, ends=False)
        for byte in BODY:
            await client.body(stream, bytes((byte,)), ends=False)
        await client.body(stream, b"", ends=True)
        assert (await client.answer(stream)).body == BODY


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("DELETE", 200), ("HEAD", 200), ("GET", 204)])
async def test_answers_have_bodies_where_http_says_so(method: str, status: int) -> None:
    async def handler(request: Request, wire: Wire) -> None:
        wire.respond(status, (), b"abc")

    async with edge(handler) as worker, speaking_http2(worker) as client:
        answer = await client.call(head(method), None)
    assert answer.status == status
    assert answer.body == (b"abc" if method in ("GET", "DELETE") and status == 200 else b"")
    assert answer.headers.get("content-length") == (None if status == 204 else "3")


async def test_expect_is_answered_before_the_body() -> None:
    async with edge(Recording()) as worker, speaking_http2(worker) as client:
        stream = await client.ask((*POST, ("expect", "100-continue")), None, ends=False)
        await client.ping()
        await client.body(stream, BODY, ends=True)
        assert (await client.answer(stream)).body == BODY


# ---------------------------------------------------------------- event streams


async def test_events_leave_one_by_one_and_the_head_before_them() -> None:
    steps: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(_: Request, wire: Wire) -> None:
        wire.begin(200, STREAM)
        wire.write(b": open\n\n")
        while event := await steps.get():
            wire.write(event)
            await wire.drain()
        wire.end()

    async with edge(handler) as worker, speaking_http2(worker) as client:
        stream = await client.ask(head("GET"), None)
        heard = client.heard[stream]
        for expected in (b": open\n\n", b"data: 1\n\n", b"data: 2\n\n"):
            while not heard.body.endswith(expected):
                await client.hear()
            assert heard.headers["content-type"] == "text/event-stream"
            steps.put_nowait(b"data: %d\n\n" % (heard.body.count(b"data") + 1))
        steps.put_nowait(b"")
        assert (await client.answer(stream)).body == b": open\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n"


async def test_a_slow_reader_of_one_stream_holds_up_its_writer_and_no_other_stream() -> None:
    written = 0
    stop = asyncio.Event()

    async def handler(request: Request, wire: Wire) -> None:
        nonlocal written
        if request.path == "/quick":
            return wire.respond(200, JSON, b"{}")
        wire.begin(200, STREAM)
        for _ in range(10_000):
            wire.write(b"x" * 16_384)
            written += 16_384
            await wire.drain()
        stop.set()

    limits = replace(QUICK, write_buffer_bytes=65_536)
    # The window of the connection is not the slow stream's alone: h2 starts with 64 KiB for both.
    async with edge(handler, limits) as worker, speaking_http2(worker, reads=False, window=20_000) as client:
        stream = await client.ask(head("GET", "/slow"), None)
        while len(client.heard[stream].body) < 20_000:
            await client.hear()
        await client.ping()
        assert written <= 65_536 + 3 * 16_384
        assert (await client.call(head("POST", "/quick"))).status == 200
        # And it goes on where the reader does.
        client.h2.acknowledge_received_data(20_000, stream)
        await client.flush()
        while len(client.heard[stream].body) < 40_000:
            await client.hear()
        assert not stop.is_set()


async def test_an_answer_that_is_not_taken_in_time_is_ended() -> None:
    limits = ListenerLimits(tick_s=0.02, write_timeout_s=0.2)

    async def handler(_: Request, wire: Wire) -> None:
        wire.respond(200, JSON, b"x" * 100_000)

    async with edge(handler, limits) as worker, speaking_http2(worker, reads=False, window=10) as client:
        stream = await client.ask()
        assert await client.until_reset(stream) == 2
        assert (await client.call(head("HEAD"), None)).status == 200


async def test_a_writer_whose_reader_takes_nothing_is_ended() -> None:
    limits = ListenerLimits(tick_s=0.02, write_timeout_s=0.2)
    gone = asyncio.Event()

    async def handler(_: Request, wire: Wire) -> None:
        wire.begin(200, STREAM)
        try:
            while True:
                wire.write(b"x" * 10_000)
                await wire.drain()
        finally:
            gone.set()

    async with edge(handler, limits) as worker, speaking_http2(worker, reads=False, window=10) as client:
        assert await client.until_reset(await client.ask()) == 2
        await within(gone.wait())


async def test_requests_wait_while_their_client_takes_no_answers() -> None:
    begun = 0

    async def handler(_: Request, wire: Wire) -> None:
        nonlocal begun
        begun += 1
        wire.respond(200, JSON, b"x" * 1_000_000)

    async with edge(handler) as worker, speaking_http2(worker, reads=False, window=10) as client:
        for _ in range(20):
            await client.ask()
            await client.ping()
        assert begun == 2
        assert worker.exchanges == 0


# ---------------------------------------------------------------- leaving


async def test_a_request_that_is_taken_back_is_cancelled() -> None:
    gate = Gate()
    async with edge(gate) as worker, speaking_http2(worker) as client:
        stream = await client.ask()
        await within(gate.has_begun.wait())
        await client.reset(stream)
        await within(gate.has_ended.wait())
        assert gate.was_cancelled
        assert worker.exchanges == 0
        gate.open.set()
        assert (await client.call()).status == 200


async def test_a_request_that_outlives_its_client_goes_on_when_it_is_taken_back() -> None:
    gate = Gate(outlives_client=True)
    async with edge(gate) as worker, speaking_http2(worker) as client:
        stream = await client.ask()
        await within(gate.has_begun.wait())
        await client.reset(stream)
        await client.ping()
        assert worker.exchanges == 1
        gate.open.set()
        await within(gate.has_ended.wait())
        assert not gate.was_cancelled


async def test_who_disconnects_leaves_all_streams() -> None:
    gate = Gate()
    async with edge(gate) as worker, speaking_http2(worker) as client:
        for _ in range(3):
            await client.ask()
        await eventually(lambda: gate.running == 3)
        client.leave()
        await eventually(lambda: gate.running == 0)
        await eventually(lambda: worker.connections == 0)


async def test_a_handler_that_fails_in_the_middle_resets_its_stream_alone() -> None:
    async def handler(request: Request, wire: Wire) -> None:
        if request.path == "/x":
            wire.begin(200, STREAM)
            wire.write(b"data: 1\n\n")
            raise RuntimeError("a fault of ours")
        wire.respond(200, JSON, b"{}")

    async with edge(handler) as worker, speaking_http2(worker) as client:
        assert await client.until_reset(await client.ask()) == 2
        assert (await client.call(head("POST", "/y"))).status == 200


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        (head("POST", "/x", authority="evil.example"), 421, "host-refused"),
        (head("POST", "/x", ("host", "other")), 400, "malformed"),
        (head("POST", "/a//b"), 400, "malformed"),
        (head("POST", "/x#y"), 400, "malformed"),
        (head("OPTIONS", "*"), 400, "malformed"),
        (head("PROPFIND"), 405, "method-not-allowed"),
        (head("POST", "/x", ("content-encoding", "gzip")), 415, "unsupported-media"),
        (head("POST", "/x", ("expect", "coffee")), 417, "expectation-refused"),
        (head("POST", "/x", ("origin", "https://evil.example")), 403, "origin-refused"),
        (head("POST", "/x", ("mcp-session-id", "a"), ("mcp-session-id", "b")), 400, "malformed"),
        (head("POST", "/x", ("authorization", "a"), ("authorization", "b")), 400, "malformed"),
        (head("POST", "/x", ("big", "x" * 40_000)), 431, "headers-too-large"),
        (head("POST", "/x", *(((f"x-{i}"), "y") for i in range(200))), 431, "headers-too-large"),
        (head("POST", "/x", ("content-length", "5000000")), 413, "body-too-large"),
    ],
)
async def test_what_is_refused_in_http1_is_refused_alike(fields: Fields, status: int, reason: str) -> None:
    handler = Recording()
    noted: list[tuple[str, int]] = []

    def note(_: Peer, listener: str, error: OpenMCPError, told: int) -> None:
        noted.append((error.kind, told))

    async with edge(handler, on_refusal=note) as worker, speaking_http2(worker) as client:
        # The body never comes, and need not: the answer does, and then the client is told to stop.
        stream = await client.ask(fields, None, ends=False)
        answer = await client.answer(stream)
        assert (answer.status, answer.reason) == (status, reason)
        assert await client.until_reset(stream) == 0
        assert (await client.call()).status == 200
    assert noted == [(reason, status)]
    assert len(handler.requests) == 1


async def test_a_body_that_grows_too_large_is_refused_and_its_connection_lives() -> None:
    limits = replace(QUICK, request_bytes=100_000)
    async with edge(Recording(), limits) as worker, speaking_http2(worker) as client:
        for _ in range(30):
            stream = await client.ask(POST, None, ends=False)
            await client.body(stream, b"x" * 100_001, ends=False)
            assert (await client.answer(stream)).status == 413
        assert (await client.call()).status == 200


async def test_trailers_are_refused() -> None:
    async with edge(Recording()) as worker, speaking_http2(worker) as client:
        stream = await client.ask(POST, b"{}", ends=False)
        client.h2.send_headers(stream, [("x-sum", "1")], end_stream=True)
        await client.flush()
        assert (await client.answer(stream)).status == 400


async def test_a_body_that_does_not_come_is_refused_in_time() -> None:
    limits = ListenerLimits(tick_s=0.02, body_timeout_s=0.2)
    async with edge(Recording(), limits) as worker, speaking_http2(worker) as client:
        stream = await client.ask(POST, b"{", ends=False)
        assert (await client.answer(stream)).status == 408
        assert (await client.call()).status == 200


async def test_who_says_nothing_is_let_go() -> None:
    limits = ListenerLimits(tick_s=0.02, headers_timeout_s=0.2)
    async with edge(Recording(), limits) as worker, speaking_http2(worker) as client:
        await client.until_over()
        assert client.goaway is not None


async def test_who_has_nothing_to_ask_any_more_is_let_go() -> None:
    limits = ListenerLimits(tick_s=0.02, idle_timeout_s=0.2)
    async with edge(Recording(), limits) as worker, speaking_http2(worker) as client:
        assert (await client.call()).status == 200
        await client.until_over()
        assert client.goaway is not None
        assert worker.connections == 0


async def test_more_streams_than_allowed_are_refused_and_the_rest_goes_on() -> None:
    gate = Gate()
    limits = replace(QUICK, streams_per_connection=3)
    async with edge(gate, limits) as worker, speaking_http2(worker) as client:
        streams = [await client.ask() for _ in range(4)]
        assert await client.until_reset(streams[3]) == 7
        gate.open.set()
        for stream in streams[:3]:
            assert (await client.answer(stream)).status == 200
        assert gate.most_running == 3


async def test_bodies_beyond_the_workers_budget_are_refused_and_it_is_given_back() -> None:
    limits = replace(QUICK, buffered_bytes=50_000)
    async with edge(Recording(), limits) as worker, speaking_http2(worker) as client:
        for _ in range(3):
            stream = await client.ask(POST, None, ends=False)
            await client.body(stream, b"x" * 60_000, ends=False)
            assert (await client.answer(stream)).reason == "overloaded"
        stream = await client.ask(POST, b"x" * 40_000, ends=False)
        await client.reset(stream)
        assert (await client.call(POST, b"x" * 40_000)).status == 200


async def test_exchanges_beyond_the_workers_limit_are_refused() -> None:
    gate = Gate()
    limits = replace(QUICK, concurrent_exchanges=1)
    async with edge(gate, limits) as worker, speaking_http2(worker) as client:
        first = await client.ask()
        await within(gate.has_begun.wait())
        assert (await client.call()).reason == "overloaded"
        gate.open.set()
        assert (await client.answer(first)).status == 200


async def test_connections_beyond_the_limit_are_told_to_go() -> None:
    limits = replace(QUICK, connections=1)
    async with edge(Recording(), limits) as worker, speaking_http2(worker) as client:
        assert (await client.call()).status == 200
        (host, port), *_ = worker.addresses.values()
        reader, writer = await asyncio.open_connection(host, port)
        assert b" 503 " in await asyncio.wait_for(reader.read(), WAIT_S)
        writer.close()


# ---------------------------------------------------------------- the worker stops


async def test_when_the_worker_stops_streams_end_well_and_the_client_is_told() -> None:
    gate = Gate()
    async with edge(gate) as worker, speaking_http2(worker) as client, speaking_http2(worker) as idle:
        await idle.ping()
        stream = await client.ask()
        await within(gate.has_begun.wait())
        draining = asyncio.create_task(worker.drain())
        await idle.until_over()
        assert idle.goaway is not None
        while client.goaway is None:
            await client.hear()
        gate.open.set()
        assert (await client.answer(stream)).status == 200
        await client.until_over()
        await within(draining)


async def test_at_the_end_of_draining_streams_end_cleanly() -> None:
    async def handler(_: Request, wire: Wire) -> None:
        wire.begin(200, STREAM)
        wire.write(b": open\n\n")
        try:
            await asyncio.Event().wait()
        finally:
            wire.end()

    async with edge(handler, drain_timeout_s=0.1) as worker, speaking_http2(worker) as client:
        stream = await client.ask(head("GET"), None)
        while not client.heard[stream].body:
            await client.hear()
        draining = asyncio.create_task(worker.drain())
        assert (await client.answer(stream)).body == b": open\n\n"
        await within(draining)
