"""Answers that are not what they seem: each is refused, and its connection never used again."""

import pytest

from openmcp import errors
from tests.unit.upstream.replica import LAST_CHUNK, RESULT, Peer, asking, chunk, scripted, server_of

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b"Content-Length: %d\r\n\r\n" % len(RESULT) + RESULT
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

MALFORMED = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "another protocol that the parser knows": b"RTSP/1.0 200 OK\r\n" + BODY,
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n" + BODY,
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + BODY,
    "blank line first": b"\r\n" + OK + BODY,
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "status of two digits": b"HTTP/1.1 99 OK\r\n" + BODY,
    "status beyond all classes": b"HTTP/1.1 999 OK\r\n" + BODY,
    "switching protocols": b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "length and chunks": OK + b"Content-Length: 3\r\n" + CHUNKED + chunk(b"abc") + LAST_CHUNK,
    "two lengths": OK + b"Content-Length: 36\r\nContent-Length: 36\r\n\r\n" + RESULT,
    "signed length": OK + b"Content-Length: +36\r\n\r\n" + RESULT,
    "length of many digits": OK + b"Content-Length: " + b"0" * 5000 + b"3\r\n\r\nabc",
    "unknown coding": OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "unknown coding before chunks": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk(b"abc") + LAST_CHUNK,
    "coding named twice": OK + b"Transfer-Encoding: chunked\r\n" + CHUNKED + chunk(b"abc") + LAST_CHUNK,
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + CHUNKED + chunk(b"abc") + LAST_CHUNK,
    "chunk size that is no number": OK + CHUNKED + b"zz\r\nabc\r\n" + LAST_CHUNK,
    "chunk longer than it says": OK + CHUNKED + b"2\r\nabc\r\n" + LAST_CHUNK,
    "space before the colon": OK + b"Content-Length : 36\r\n\r\n" + RESULT,
    "folded line": OK + b"Content-Type: a\r\n b\r\n" + BODY,
    "NUL in a value": OK + b"Content-Type: a\0b\r\n" + BODY,
    "body with 204": b"HTTP/1.1 204 No Content\r\n" + BODY,
    "body with 103": b"HTTP/1.1 103 Early Hints\r\n" + BODY,
    "compressed": OK + b"Content-Encoding: gzip\r\n" + BODY,
    "two content types": OK + b"Content-Type: application/json\r\nContent-Type: text/event-stream\r\n" + BODY,
    "two session ids": OK + b"Mcp-Session-Id: a\r\nMcp-Session-Id: b\r\n" + BODY,
    "head too long": OK + b"X-Fill: " + b"x" * (70 << 10) + b"\r\n" + BODY,
    "head too long in many lines": OK + b"X-Fill: 123456\r\n" * 5000 + BODY,
    "head without end": OK + b"X-Fill: " + b"x" * (400 << 10),
    "trailer without end": OK + CHUNKED + chunk(RESULT) + b"0\r\nX-Fill: " + b"x" * (400 << 10),
    "chunk extension without end": OK + CHUNKED + b"3;fill=" + b"x" * (400 << 10),
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    "declared body too long": OK + b"Content-Length: 100001\r\n\r\n",
    "body too long": OK + CHUNKED + chunk(b"x" * 60_000) * 2 + LAST_CHUNK,
    "body too long, ended by close": OK + b"\r\n" + b"x" * 100_001,
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_answer_is_refused_and_its_connection_closed(raw: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.writer.write(raw)
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        with pytest.raises(errors.UpstreamBroken) as failure:
            await asker.ask(server_of(up.replica, message_bytes=100_000))
        assert up.replica.url in failure.value.detail
        assert asker.observed == [(up.replica.url, False)]
        await up.script_ended()


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Content-Length: 0%d\r\n\r\n" % len(RESULT) + RESULT,
        OK + b"Content-Encoding: Identity\r\n" + BODY,
        OK + b"Transfer-Encoding: Chunked\r\n\r\n" + chunk(RESULT) + LAST_CHUNK,
        OK + b"X-Fill: " + b"x" * (60 << 10) + b"\r\n" + BODY,
        b"HTTP/1.0 200 OK\r\n" + BODY,
        OK + b"Upgrade: h2c\r\nConnection: upgrade\r\n" + BODY,
    ],
    ids=["leading zero", "identity", "capital letters", "long head", "HTTP/1.0", "offered upgrade"],
)
async def test_an_unusual_answer_that_is_right_is_read(raw: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        assert await asker.ask(server_of(up.replica, message_bytes=100_000)) == (200, RESULT)
