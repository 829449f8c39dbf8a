"""What a client of the edge gets for valid requests: answers in order, streams, and the end of a connection."""

import asyncio
import dataclasses

import pytest

from openmcp.model.http import Request, Wire
from openmcp.server.limits import ListenerLimits
from tests.support.edge import JSON, QUICK, STREAM, Client, Gate, Recording, connected, edge, eventually, post, within

# ---------------------------------------------------------------- requests


async def test_handler_gets_the_request_as_it_was_sent() -> None:
    handler = Recording()
    public = "https://mcp.example/"
    async with edge(handler, public_url=public, trusted_peers=["127.0.0.0/8"]) as worker, connected(worker) as client:
        fields = ("X-Tag: a", "x-tag:\t b ", "Mcp-Session-Id: s-1", "mcp_session_id: forged", "Mcp-Param-a_b: 1")
        await client.send(post(b'{"a":1}', *fields, target="/a%20b?q=1/../2"))
        answer = await client.answer()
    (request,) = handler.requests
    assert answer.body == request.body == b'{"a":1}'
    assert (request.method, request.path, request.query) == ("POST", "/a%20b", "q=1/../2")
    assert request.headers == {
        "host": "localhost",
        "x-tag": "a, b",
        "mcp-session-id": "s-1",
        "mcp-param-a_b": "1",
        "content-length": "7",
    }
    assert request.repeated == {"x-tag"}
    assert (request.listener, request.public_url) == ("public", "https://mcp.example")
    assert (request.peer.address, request.peer.is_trusted, request.peer.certificate) == ("127.0.0.1", True, None)
    assert request.received_ns > 0


async def test_peer_is_not_trusted_unless_the_listener_says_so() -> None:
    handler = Recording()
    async with edge(handler, trusted_peers=["10.0.0.0/8"]) as worker, connected(worker) as client:
        await client.send(post())
        await client.answer()
    assert handler.requests[0].peer.is_trusted is False


async def test_chunked_body_arrives_whole() -> None:
    handler = Recording()
    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post(b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "Transfer-Encoding: Chunked", length=False))
        assert (await client.answer()).body == b"abcde"


async def test_body_arrives_whole_however_it_is_cut() -> None:
    handler = Recording()
    raw = post(b"0123456789")
    async with edge(handler) as worker, connected(worker) as client:
        for at in range(len(raw)):
            await client.send(raw[at : at + 1])
        assert (await client.answer()).body == b"0123456789"


async def test_empty_lines_in_front_are_passed_over() -> None:
    async with edge(Recording()) as worker, connected(worker) as client:
        await client.send(b"\r\n\r\n" + post(b"a") + b"\r\n" + post(b"b"))
        assert [(await client.answer()).body for _ in range(2)] == [b"a", b"b"]


async def test_listener_on_ipv6_names_its_peer() -> None:
    handler = Recording()
    async with edge(handler, host="::1", trusted_peers=["::1/128"]) as worker, connected(worker) as client:
        await client.send(post())
        await client.answer()
    assert (handler.requests[0].peer.address, handler.requests[0].peer.is_trusted) == ("::1", True)


async def test_body_of_other_methods_is_thrown_away() -> None:
    handler = Recording()
    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post(b"abc").replace(b"POST", b"DELETE"))
        assert (await client.answer("DELETE")).body == b""
        await client.send(post(b"next"))
        assert (await client.answer()).body == b"next"


async def test_client_that_expects_100_gets_it_before_it_sends_the_body() -> None:
    async with edge(Recording()) as worker, connected(worker) as client:
        await client.send(post(b"", "Expect: 100-continue", "Content-Length: 2", length=False))
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"{}")
        assert (await client.answer()).body == b"{}"


async def test_client_that_expects_100_and_sends_at_once_gets_no_100() -> None:
    async with edge(Recording()) as worker, connected(worker) as client:
        await client.send(post(b"{}", "Expect: 100-continue"))
        assert (await client.read_until(b"\r\n")) == b"HTTP/1.1 200 OK\r\n"


async def test_listener_answers_for_its_public_host_and_its_origin() -> None:
    handler = Recording()
    async with edge(handler, public_url="https://mcp.example") as worker, connected(worker) as client:
        raw = post(b"{}", "Origin: https://mcp.example")
        await client.send(raw.replace(b"localhost", b"mcp.example"))
        assert (await client.answer()).status == 200


# ---------------------------------------------------------------- answers


async def test_answer_has_its_length_and_date_and_names_no_server() -> None:
    async with edge(Recording()) as worker, connected(worker) as client:
        await client.send(post(b"{}"))
        answer = await client.answer()
    assert answer.headers["content-length"] == "2"
    assert answer.headers["date"].endswith(" GMT")
    assert not {"server", "connection", "transfer-encoding"} & answer.headers.keys()


async def test_whole_answer_is_one_piece() -> None:
    async with edge(Recording()) as worker, connected(worker) as client:
        await client.send(post(b"x" * 1000))
        assert (await client.read()).endswith(b"x" * 1000)


async def test_head_and_204_have_no_body() -> None:
    async def handler(request: Request, wire: Wire) -> None:
        wire.respond(200 if request.method == "HEAD" else 204, JSON, b"{}")

    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post(b"").replace(b"POST", b"HEAD") + post(b""))
        answer = await client.answer("HEAD")
        assert (answer.status, answer.headers["content-length"], answer.body) == (200, "2", b"")
        answer = await client.answer()
        assert (answer.status, answer.body) == (204, b"")
        assert "content-length" not in answer.headers


async def stream(request: Request, wire: Wire) -> None:
    wire.begin(200, STREAM)
    for piece in (b": \n\n", b"", b"data: 1\n\n", b"data: 2\n\n"):
        wire.write(piece)
        await wire.drain()
    wire.end()


async def test_stream_is_chunked_and_the_connection_lives_on() -> None:
    async with edge(stream) as worker, connected(worker) as client:
        for _ in range(2):
            await client.send(post())
            answer = await client.answer()
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.body == b": \n\ndata: 1\n\ndata: 2\n\n"


async def test_writes_of_one_turn_leave_as_one_chunk() -> None:
    async with edge(stream) as worker, connected(worker) as client:
        await client.send(post())
        raw = await client.read()
    assert raw.endswith(b"\r\n\r\n16\r\n: \n\ndata: 1\n\ndata: 2\n\n\r\n0\r\n\r\n")


async def test_event_leaves_before_the_next_is_written() -> None:
    following = asyncio.Event()

    async def handler(request: Request, wire: Wire) -> None:
        wire.begin(200, STREAM)
        wire.write(b"data: 1\n\n")
        await following.wait()
        wire.write(b"data: 2\n\n")
        wire.end()

    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post())
        assert b"data: 1" in await client.read_until(b"\n\n\r\n")
        following.set()
        assert b"data: 2" in await client.read_until(b"0\r\n\r\n")


async def test_head_of_a_stream_leaves_without_a_write() -> None:
    following = asyncio.Event()

    async def handler(request: Request, wire: Wire) -> None:
        wire.begin(200, STREAM)
        await following.wait()
        wire.end()

    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post())
        assert b"text/event-stream" in await client.read_until(b"\r\n\r\n")
        following.set()
        assert await client.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"


@pytest.mark.parametrize("path", ["/whole", "/stream"])
async def test_http_1_0_client_gets_an_answer_that_ends_with_the_connection(path: str) -> None:
    async def handler(request: Request, wire: Wire) -> None:
        if request.path == "/stream":
            await stream(request, wire)
        else:
            wire.respond(200, JSON, b"{}")

    async with edge(handler) as worker, connected(worker) as client:
        await client.send(b"GET %b HTTP/1.0\r\n\r\n" % path.encode())
        raw = await client.rest()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    assert b"Transfer-Encoding" not in head
    assert body == (b"{}" if path == "/whole" else b": \n\ndata: 1\n\ndata: 2\n\n")


async def test_handler_that_fails_is_answered_for_and_the_fault_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, wire: Wire) -> None:
        raise LookupError("secret detail")

    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post(b'{"jsonrpc":"2.0","id":7,"method":"ping"}'))
        answer = await client.answer()
        await client.send(post())
        assert (await client.answer()).status == 500
    # 200: a bare 500 would cost common clients their session.
    assert (answer.status, answer.reason, answer.error["code"]) == (200, "internal", -32603)
    assert b"secret" not in answer.body
    assert "LookupError: secret detail" in caplog.text


async def test_handler_that_fails_in_a_stream_breaks_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, wire: Wire) -> None:
        wire.begin(200, STREAM)
        wire.write(b"data: 1\n\n")
        await asyncio.sleep(0)
        raise LookupError

    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post())
        try:
            assert not (await client.rest()).endswith(b"0\r\n\r\n")
        except ConnectionResetError:
            pass
    assert "LookupError" in caplog.text


async def test_handler_that_answers_nothing_gives_500() -> None:
    async def handler(request: Request, wire: Wire) -> None:
        return

    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post())
        assert (await client.answer()).reason == "internal"


async def test_header_with_a_line_break_is_never_written(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, wire: Wire) -> None:
        wire.respond(200, [("X-A", "a\r\nX-B: b")], b"")

    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post())
        answer = await client.answer()
    assert (answer.status, "x-b" in answer.headers) == (500, False)
    assert "ValueError" in caplog.text


# ---------------------------------------------------------------- one after the other


async def test_requests_sent_ahead_are_answered_in_order_and_one_at_a_time() -> None:
    gate = Gate()
    async with edge(gate) as worker, connected(worker) as client:
        await client.send(b"".join(post(b"%d" % n) for n in range(20)))
        await client.send(b"".join(post(b"%d" % n) for n in range(20, 40)))
        await within(gate.has_begun.wait())
        gate.open.set()
        assert [(await client.answer()).body for _ in range(40)] == [b"%d" % n for n in range(40)]
    assert gate.most_running == 1


async def test_many_requests_in_one_read_beyond_the_limit_are_all_refused() -> None:
    raw = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3000
    async with edge(Recording(), ListenerLimits(concurrent_exchanges=0)) as worker, connected(worker) as client:
        client.writer.write(raw)
        assert [(await client.answer("GET")).status for _ in range(3000)] == [503] * 3000


async def test_refusal_comes_behind_the_answers_to_what_was_sent_before() -> None:
    async with edge(Recording()) as worker, connected(worker) as client:
        await client.send(post(b"good") + post(b"bad", "Content-Length: 9") + post(b"after"))
        assert (await client.answer()).body == b"good"
        assert (await client.answer()).status == 400
        assert await client.rest() == b""


async def waiting_to_be_sent(client: Client) -> int:
    """Return how much of what the client wrote is still with it when nothing moves any more."""
    before, now = -1, client.writer.transport.get_write_buffer_size()
    while now != before:
        await asyncio.sleep(0.2)
        before, now = now, client.writer.transport.get_write_buffer_size()
    return now


async def test_client_that_sends_too_much_ahead_is_not_read() -> None:
    gate = Gate()
    raw = post(b"x" * 100_000)
    async with edge(gate) as worker, connected(worker) as client:
        await client.send(post(b"first"))
        await within(gate.has_begun.wait())
        client.writer.write(raw * 200)
        assert await waiting_to_be_sent(client) > 10_000_000
        gate.open.set()
        assert (await client.answer()).body == b"first"
        for _ in range(200):
            assert len((await client.answer()).body) == 100_000


async def test_connection_close_is_honoured() -> None:
    handler = Recording()
    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post(b"a", "Connection: close") + post(b"b"))
        answer = await client.answer()
        assert answer.headers["connection"] == "close"
        assert await client.rest() == b""
    assert len(handler.requests) == 1


# ---------------------------------------------------------------- the client leaves


async def test_disconnect_cancels_the_exchange() -> None:
    gate = Gate()
    async with edge(gate) as worker, connected(worker) as client:
        await client.send(post())
        await within(gate.has_begun.wait())
        client.leave()
        await within(gate.has_ended.wait())
        await eventually(lambda: worker.exchanges == 0)
    assert gate.was_cancelled


async def test_disconnect_is_seen_while_requests_sent_ahead_wait() -> None:
    gate = Gate()
    async with edge(gate) as worker, connected(worker) as client:
        await client.send(post() * 3)
        await within(gate.has_begun.wait())
        client.leave()
        await within(gate.has_ended.wait())
        await eventually(lambda: worker.connections == 0)
    assert gate.was_cancelled


async def test_exchange_that_outlives_its_client_ends_by_itself() -> None:
    gate = Gate(outlives_client=True)
    async with edge(gate) as worker:
        async with connected(worker) as client:
            await client.send(post())
            await within(gate.has_begun.wait())
        await eventually(lambda: worker.connections == 0)
        assert worker.exchanges == 1
        gate.open.set()
        await within(gate.has_ended.wait())
        await eventually(lambda: worker.exchanges == 0)
    assert not gate.was_cancelled


async def test_exchange_that_no_longer_outlives_its_client_is_cancelled_at_its_next_write() -> None:
    has_left, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: Request, wire: Wire) -> None:
        wire.outlives_client = True
        wire.begin(200, STREAM)
        await eventually(lambda: not wire.is_open)
        has_left.set()
        wire.outlives_client = False
        try:
            wire.write(b"data: 1\n\n")
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with edge(handler) as worker:
        async with connected(worker) as client:
            await client.send(post())
            await client.read_until(b"\r\n\r\n")
        await within(has_left.wait())
        await within(ended.wait())


async def test_client_that_leaves_at_once_costs_nothing() -> None:
    async with edge(Recording()) as worker:
        for _ in range(20):
            async with connected(worker) as client:
                client.writer.write(post())
        await eventually(lambda: worker.connections == 0 and worker.exchanges == 0)


# ---------------------------------------------------------------- limits


async def test_exchange_beyond_the_limit_is_refused_and_may_be_tried_again() -> None:
    gate = Gate()
    limits = ListenerLimits(concurrent_exchanges=1)
    connecting = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}'
    calling = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}'
    async with edge(gate, limits) as worker, connected(worker) as first, connected(worker) as second:
        await first.send(post(b"first"))
        await within(gate.has_begun.wait())
        await second.send(post(connecting))
        refused = await second.answer()
        assert (refused.status, refused.reason, refused.headers["retry-after"]) == (503, "overloaded", "1")
        # Later in a session a bare 503 would make common clients lose it.
        await second.send(post(calling))
        assert (await second.answer()).status == 200
        gate.open.set()
        assert (await first.answer()).body == b"first"
        await second.send(post(b"again"))
        assert (await second.answer()).body == b"again"


async def test_bodies_beyond_the_budget_are_refused_until_others_are_done() -> None:
    gate = Gate()
    limits = ListenerLimits(buffered_bytes=1500)
    async with edge(gate, limits) as worker, connected(worker) as first, connected(worker) as second:
        await first.send(post(b"x" * 1000))
        await within(gate.has_begun.wait())
        await second.send(post(b"x" * 1000))
        assert (await second.answer()).reason == "overloaded"
        gate.open.set()
        assert (await first.answer()).status == 200
        for _ in range(3):
            await first.send(post(b"x" * 1000))
            assert (await first.answer()).status == 200


async def test_connection_beyond_the_limit_is_turned_away() -> None:
    async with edge(Recording(), ListenerLimits(connections=1)) as worker, connected(worker) as first:
        await first.send(post())
        assert (await first.answer()).status == 200
        async with connected(worker) as second:
            assert (await second.answer()).status == 503
        await first.send(post())
        assert (await first.answer()).status == 200


def quick(
    *, headers_timeout_s: float = 10.0, body_timeout_s: float = 10.0, idle_timeout_s: float = 10.0
) -> ListenerLimits:
    return dataclasses.replace(
        QUICK, headers_timeout_s=headers_timeout_s, body_timeout_s=body_timeout_s, idle_timeout_s=idle_timeout_s
    )


async def test_head_that_does_not_end_is_refused_in_time() -> None:
    async with edge(Recording(), quick(headers_timeout_s=0.1)) as worker, connected(worker) as client:
        await client.send(b"POST /x HTTP/1.1\r\nHost: local")
        assert (await client.answer()).reason == "request-timeout"
        assert await client.rest() == b""


async def test_head_that_trickles_is_refused_in_time() -> None:
    async with edge(Recording(), quick(headers_timeout_s=0.2)) as worker, connected(worker) as client:

        async def trickle() -> None:
            for byte in post(b"{}", "X-A: " + "a" * 1000):
                await client.send(bytes((byte,)))
                await asyncio.sleep(0.01)

        trickling = asyncio.ensure_future(trickle())
        assert (await client.answer()).status == 408
        trickling.cancel()


async def test_second_head_that_does_not_end_is_refused_in_time() -> None:
    async with edge(Recording(), quick(headers_timeout_s=0.1)) as worker, connected(worker) as client:
        await client.send(post() + post()[:20])
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 408


async def test_body_that_does_not_end_is_refused_in_time() -> None:
    async with edge(Recording(), quick(body_timeout_s=0.1)) as worker, connected(worker) as client:
        await client.send(post(b"{}")[:-1])
        assert (await client.answer()).reason == "request-timeout"
        assert await client.rest() == b""


async def test_connection_without_a_request_is_closed_in_silence() -> None:
    async with edge(Recording(), quick(headers_timeout_s=0.1)) as worker, connected(worker) as client:
        assert await client.rest() == b""


async def test_idle_connection_is_closed_in_silence() -> None:
    async with edge(Recording(), quick(idle_timeout_s=0.1)) as worker, connected(worker) as client:
        await client.send(post())
        assert (await client.answer()).status == 200
        assert await client.rest() == b""


async def test_exchange_may_take_longer_than_any_timeout_of_requests() -> None:
    gate = Gate()
    limits = quick(headers_timeout_s=0.05, body_timeout_s=0.05, idle_timeout_s=0.05)
    async with edge(gate, limits) as worker, connected(worker) as client:
        await client.send(post(b"slow"))
        await within(gate.has_begun.wait())
        await asyncio.wait([asyncio.ensure_future(gate.has_ended.wait())], timeout=0.5)
        gate.open.set()
        assert (await client.answer()).body == b"slow"
