"""Frames that no honest client sends: none becomes a request or an exception, and each costs at most its connection."""

import asyncio
import logging
import struct

import pytest
from hpack import Encoder

from tests.support.edge import WAIT_S, Recording, connected, edge
from tests.support.http2 import Fields, H2Client, frame, frames, head

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 1, 4, 8


def block(fields: Fields) -> bytes:
    return bytes(Encoder().encode(fields))


def ask(fields: Fields, stream: int = 1, *, flags: int = END_STREAM | END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, block(fields))


def without(name: str) -> Fields:
    return [pair for pair in head() if pair[0] != name]


STREAM_FAULTS = {
    "no method": ask(without(":method")),
    "no path": ask(without(":path")),
    "no scheme": ask(without(":scheme")),
    "no authority and no host": ask(without(":authority")),
    "two methods": ask([(":method", "GET"), *head()]),
    "two paths": ask([(":path", "/y"), *head()]),
    "two authorities": ask([(":authority", "other"), *head()]),
    "empty path": ask(head("POST", "")),
    "pseudo-header behind a field": ask([*without(":path"), ("x", "y"), (":path", "/x")]),
    "unknown pseudo-header": ask([(":magic", "1"), *head()]),
    "status in a request": ask([(":status", "200"), *head()]),
    "upper-case name": ask(head("POST", "/x", ("X-Upper", "1"))),
    "space in a name": ask(head("POST", "/x", ("x y", "1"))),
    "colon in a name": ask(head("POST", "/x", ("x:y", "1"))),
    "empty name": ask(head("POST", "/x", ("", "1"))),
    "line break in a value": ask(head("POST", "/x", ("x", "a\r\nhost: evil"))),
    "line feed in a value": ask(head("POST", "/x", ("x", "a\nb"))),
    "NUL in a value": ask(head("POST", "/x", ("x", "a\0b"))),
    "line break in the path": ask(head("POST", "/x\r\n\r\nGET /y")),
    "connection": ask(head("POST", "/x", ("connection", "close"))),
    "keep-alive": ask(head("POST", "/x", ("keep-alive", "1"))),
    "proxy-connection": ask(head("POST", "/x", ("proxy-connection", "close"))),
    "transfer-encoding": ask(head("POST", "/x", ("transfer-encoding", "chunked"))),
    "upgrade": ask(head("POST", "/x", ("upgrade", "h2c"))),
    "te that is not trailers": ask(head("POST", "/x", ("te", "gzip"))),
    "two hosts": ask([*without(":authority"), ("host", "localhost"), ("host", "localhost")]),
    "length that is none": ask(head("POST", "/x", ("content-length", "a")), flags=END_HEADERS),
    "negative length": ask(head("POST", "/x", ("content-length", "-1")), flags=END_HEADERS),
    "two lengths": ask(head("POST", "/x", ("content-length", "1"), ("content-length", "2")), flags=END_HEADERS),
    "length without a body": ask(head("POST", "/x", ("content-length", "5"))),
    "length shorter than the body": ask(head("POST", "/x", ("content-length", "1")), flags=END_HEADERS)
    + frame(DATA, END_STREAM, 1, b"{}"),
    "length longer than the body": ask(head("POST", "/x", ("content-length", "9")), flags=END_HEADERS)
    + frame(DATA, END_STREAM, 1, b"{}"),
    "trailers that do not end": ask(head(), flags=END_HEADERS) + ask([("x", "1")], flags=END_HEADERS),
    "pseudo-header in trailers": ask(head(), flags=END_HEADERS) + ask([(":path", "/y")]),
    "window of zero": ask(head(), flags=END_HEADERS) + frame(WINDOW, 0, 1, b"\0\0\0\0"),
}

CONNECTION_FAULTS = {
    "even stream": ask(head(), 2),
    "stream zero": ask(head(), 0),
    "data before a head": frame(DATA, END_STREAM, 1, b"{}"),
    "data on stream zero": frame(DATA, 0, 0, b"{}"),
    "reset before a head": frame(RST, 0, 1, b"\0\0\0\0"),
    "window before a head": frame(WINDOW, 0, 1, b"\0\0\0\1"),
    "settings on a stream": frame(SETTINGS, 0, 1),
    "settings of odd size": frame(SETTINGS, 0, 0, b"\0\0\0"),
    "settings acknowledged with a payload": frame(SETTINGS, 1, 0, b"\0" * 6),
    "window that is too large": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)),
    "frames that are too small": frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)),
    "short ping": frame(PING, 0, 0, b"1234"),
    "ping on a stream": frame(PING, 0, 1, b"12345678"),
    "push from a client": frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + block(head())),
    "continuation of nothing": frame(CONTINUATION, END_HEADERS, 1, block(head())),
    "continuation that is interrupted": frame(HEADERS, 0, 1, block(head())) + frame(PING, 0, 0, b"12345678"),
    "continuation of another stream": frame(HEADERS, 0, 1, block(head())) + frame(CONTINUATION, END_HEADERS, 3),
    "compression that cannot be": frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
    "index beyond the table": frame(HEADERS, END_HEADERS, 1, b"\xff\x80\x01"),
    "padding longer than the frame": frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + block(head())),
    "frame that is too long": frame(DATA, 0, 1, b"x" * 16_385),
    "shrinking of the window below zero": frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "short window": frame(WINDOW, 0, 0, b"\0"),
    "short reset": ask(head(), flags=END_HEADERS) + frame(RST, 0, 1, b"\0"),
    "end of an empty goaway": frame(GOAWAY, 0, 0, b""),
    "continuations without end": frames(frame(HEADERS, 0, 1, block(head())), [frame(CONTINUATION, 0, 1)] * 100),
    "pings without end": frame(PING, 0, 0, b"12345678") * 10_000,
    "settings without end": frame(SETTINGS, 0, 0) * 10_000,
    "empty data without end": ask(head(), flags=END_HEADERS) + frame(DATA, 0, 1) * 50_000,
    "a head that unpacks to too much": frame(
        HEADERS, END_HEADERS | END_STREAM, 1, block([*head(), ("x", "y" * 4000)]) + b"\xbe" * 12_000
    ),
}


async def outcome(data: bytes, handler: Recording) -> tuple[set[int], int | None]:
    """Reset codes of all streams, and the code of a GOAWAY; then the worker serves the next client."""
    async with edge(handler) as worker:
        (host, port), *_ = worker.addresses.values()
        reader, writer = await asyncio.open_connection(host, port)
        client = H2Client(reader, writer, reads=True)
        client.h2.initiate_connection()
        client.h2.get_next_available_stream_id()
        client.h2.data_to_send()
        try:
            # A ping behind it shows when it was dealt with.
            await client.send(PREFACE + data + frame(PING, 0, 0, b"the end."))
        except ConnectionError:
            pass
        codes, goaway = await _read(reader)
        writer.close()
        async with connected(worker) as other:
            await other.send(b"DELETE /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await other.answer("DELETE")).status == 200
    return codes, goaway


async def _read(reader: asyncio.StreamReader) -> tuple[set[int], int | None]:
    codes: set[int] = set()
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                start = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(start[:3]))
            except (asyncio.IncompleteReadError, ConnectionError):
                return codes, -1
            if start[3] == RST:
                codes.add(int.from_bytes(payload))
            elif start[3] == GOAWAY:
                return codes, int.from_bytes(payload[4:8])
            elif start[3] == PING and payload == b"the end.":
                return codes, None


@pytest.mark.parametrize("data", STREAM_FAULTS.values(), ids=STREAM_FAULTS)
async def test_a_stream_that_is_no_http_is_reset_alone(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    handler = Recording()
    codes, goaway = await outcome(data, handler)
    assert [request.method for request in handler.requests] == ["DELETE"]
    assert goaway in (None, 1)
    assert codes <= {0, 1}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("data", CONNECTION_FAULTS.values(), ids=CONNECTION_FAULTS)
async def test_a_connection_that_is_no_http_is_ended(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    handler = Recording()
    _, goaway = await outcome(data, handler)
    assert [request.method for request in handler.requests] == ["DELETE"]
    assert goaway is not None
    assert goaway != 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_requests_that_are_taken_back_without_end_are_stopped() -> None:
    """Rapid reset: a client that asks and takes back costs us a connection, not the worker."""
    handler = Recording()
    data = frames(ask(head(), stream) + frame(RST, 0, stream, b"\0\0\0\x08") for stream in range(1, 40_001, 2))
    _, goaway = await outcome(data, handler)
    assert goaway is not None
    assert len(handler.requests) < 2_000
