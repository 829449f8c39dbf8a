"""A client that would rather speak another protocol is served in this one, and its body ends where it always does."""

import asyncio

import pytest

from tests.support.edge import Client, Recording, connected, edge, post

H2C = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAA",
)
WEBSOCKET = ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
CHUNKED = "Transfer-Encoding: chunked"
OFFERS = {
    "h2c": H2C,
    "websocket": WEBSOCKET,
    "several": ("connection: UPGRADE", "upgrade: h2c, websocket"),
    "one a line": ("Connection: Upgrade", "Upgrade: h2c", "Upgrade: foo/2"),
    "without connection": ("Upgrade: h2c",),
    "without protocol": ("Connection: Upgrade",),
}
# Whoever loses the body's end takes this for a request of its own.
BODY = post(b"smuggled", target="/smuggled")


def chunks(body: bytes, *fields: str) -> bytes:
    half = len(body) // 2
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]))
    return post(pieces + b"0\r\n\r\n", *fields, CHUNKED, length=False)


def get(*fields: str) -> bytes:
    return "\r\n".join(("GET /x HTTP/1.1", "Host: localhost", *fields, "", "")).encode()


async def send_slowly(client: Client, data: bytes) -> None:
    for at in range(len(data)):
        client.writer.write(data[at : at + 1])
        await asyncio.sleep(0)


offered = pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
slowly = pytest.mark.parametrize("is_slow", [False, True], ids=["at once", "byte by byte"])


@offered
@slowly
async def test_body_of_a_known_length_is_read_and_the_next_request_behind_it(
    offer: tuple[str, ...], is_slow: bool
) -> None:
    handler = Recording()
    async with edge(handler) as worker, connected(worker) as client:
        sent = post(BODY, *offer) + post(b"next", *offer) + post(b"last")
        await (send_slowly(client, sent) if is_slow else client.send(sent))
        answers = [await client.answer() for _ in range(3)]
    assert [(answer.status, answer.body) for answer in answers] == [(200, BODY), (200, b"next"), (200, b"last")]
    assert [request.path for request in handler.requests] == ["/x"] * 3


@offered
@slowly
async def test_body_in_chunks_is_read(offer: tuple[str, ...], is_slow: bool) -> None:
    handler = Recording()
    async with edge(handler) as worker, connected(worker) as client:
        for body in (BODY, b"next"):
            await (send_slowly(client, chunks(body, *offer)) if is_slow else client.send(chunks(body, *offer)))
            answer = await client.answer()
            assert (answer.status, answer.body) == (200, body)
    assert [request.path for request in handler.requests] == ["/x", "/x"]


@offered
async def test_what_is_sent_ahead_behind_chunks_is_not_taken_for_anything(offer: tuple[str, ...]) -> None:
    handler = Recording()
    async with edge(handler) as worker, connected(worker) as client:
        await client.send(chunks(b"body", *offer) + BODY)
        assert (await client.answer()).body == b"body"
        assert await client.rest() == b""
    assert [request.body for request in handler.requests] == [b"body"]


@offered
@slowly
async def test_request_without_a_body_is_served_and_the_next_one_behind_it(
    offer: tuple[str, ...], is_slow: bool
) -> None:
    handler = Recording()
    async with edge(handler) as worker, connected(worker) as client:
        sent = get(*offer) + post(b"", *offer) + get()
        await (send_slowly(client, sent) if is_slow else client.send(sent))
        assert [(await client.answer()).status for _ in range(3)] == [200, 200, 200]
    assert [request.method for request in handler.requests] == ["GET", "POST", "GET"]


async def test_frames_of_the_other_protocol_are_no_request() -> None:
    handler = Recording()
    async with edge(handler) as worker, connected(worker) as client:
        await client.send(get(*H2C) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await client.answer("GET")).status == 200
        assert (await client.answer("GET")).status == 400
        assert await client.rest() == b""
    assert len(handler.requests) == 1


async def test_client_that_waits_before_its_body_is_told_to_go_on() -> None:
    async with edge(Recording()) as worker, connected(worker) as client:
        await client.send(post(b"body", *H2C, "Expect: 100-continue")[:-4])
        assert await client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"body")
        assert (await client.answer()).body == b"body"


@pytest.mark.parametrize(
    "data",
    [
        post(b"body", "Connection: close, Upgrade", "Upgrade: h2c"),
        post(b"body", *H2C).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["close", "1.0"],
)
async def test_connection_ends_where_it_would_without_the_offer(data: bytes) -> None:
    handler = Recording()
    async with edge(handler) as worker, connected(worker) as client:
        await client.send(data + BODY)
        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"body", "close")
        assert await client.rest() == b""
    assert len(handler.requests) == 1
