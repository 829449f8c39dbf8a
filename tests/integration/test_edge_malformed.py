"""Requests with more than one reading are refused before anybody handles them, and their connection ends."""

import asyncio
from typing import NamedTuple

import pytest

from openmcp.server.limits import ListenerLimits
from tests.support.edge import Recording, connected, edge, post

SMALL = ListenerLimits(tick_s=0.02, header_bytes=2048, request_bytes=1000)


class Row(NamedTuple):
    name: str
    sent: bytes
    status: int
    kind: str


def head(line: str, *fields: str) -> bytes:
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def with_field(field: str, body: bytes = b"{}") -> bytes:
    return post(body, field)


def target(value: str) -> bytes:
    return head(f"GET {value} HTTP/1.1", "Host: localhost")


def chunked(body: bytes, *fields: str) -> bytes:
    return post(body, "Transfer-Encoding: chunked", *fields, length=False)


def upgrading(body: bytes, *fields: str, length: bool = False) -> bytes:
    return post(body, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", *fields, length=length)


CHUNKED = "Transfer-Encoding: chunked"
LINE = "POST /x HTTP/1.1"
HOST = "Host: localhost"

ROWS = [
    # Protocol and request line (RFC 9112 §3).
    Row("http 0.9", b"GET /x\r\n\r\n", 400, "malformed"),
    Row("http 0.9 with fields", b"GET /x HTTP/0.9\r\nHost: localhost\r\n\r\n", 400, "malformed"),
    Row("http 0.9, bare LF, fields and body", b"POST /x HTTP/0.9\nContent-Length: 2\n\n{}", 400, "malformed"),
    Row("http 2.0", head("GET /x HTTP/2.0", HOST), 400, "malformed"),
    Row("http 1.2", head("GET /x HTTP/1.2", HOST), 400, "malformed"),
    Row("http 1.10", head("GET /x HTTP/1.10", HOST), 400, "malformed"),
    Row("lower-case protocol", head("GET /x http/1.1", HOST), 400, "malformed"),
    Row("rtsp 1.0", head("POST /x RTSP/1.0", HOST), 400, "malformed"),
    Row("rtsp 1.1", head("GET /x RTSP/1.1", HOST), 400, "malformed"),
    Row("ice", head("SOURCE /x ICE/1.0", HOST), 400, "malformed"),
    Row("tls hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), 400, "malformed"),
    Row("two spaces before the target", head("GET  /x HTTP/1.1", HOST), 400, "malformed"),
    Row("two spaces before the protocol", head("GET /x  HTTP/1.1", HOST), 400, "malformed"),
    Row("tab in the request line", head("GET\t/x HTTP/1.1", HOST), 400, "malformed"),
    Row("space behind the protocol", head("GET /x HTTP/1.1 ", HOST), 400, "malformed"),
    Row("lone LF in front", b"\n" + head("GET /x HTTP/1.1", HOST), 400, "malformed"),
    Row("lone CR in front", b"\r" + head("GET /x HTTP/1.1", HOST), 400, "malformed"),
    Row("lower-case method", head("post /x HTTP/1.1", HOST), 400, "malformed"),
    Row("unknown method", head("FETCH /x HTTP/1.1", HOST), 400, "malformed"),
    Row("bare LF behind the request line", b"GET /x HTTP/1.1\nHost: localhost\r\n\r\n", 400, "malformed"),
    Row("bare CR behind the request line", b"GET /x HTTP/1.1\rHost: localhost\r\n\r\n", 400, "malformed"),
    # Methods.
    Row("connect", head("CONNECT localhost:80 HTTP/1.1", HOST), 405, "method-not-allowed"),
    Row("trace", head("TRACE /x HTTP/1.1", HOST), 405, "method-not-allowed"),
    Row("webdav", head("PROPFIND /x HTTP/1.1", HOST), 405, "method-not-allowed"),
    # Target.
    Row("absolute form", target("http://localhost/x"), 400, "malformed"),
    Row("asterisk form", head("OPTIONS * HTTP/1.1", HOST), 400, "malformed"),
    Row("no slash", target("x"), 400, "malformed"),
    Row("fragment", target("/x#y"), 400, "malformed"),
    Row("double slash", target("/a//b"), 400, "malformed"),
    Row("double slash in front", target("//b/x"), 400, "malformed"),
    Row("parent", target("/a/../b"), 400, "malformed"),
    Row("parent at the end", target("/a/.."), 400, "malformed"),
    Row("dot", target("/a/./b"), 400, "malformed"),
    Row("encoded parent", target("/a/%2e%2E/b"), 400, "malformed"),
    Row("half encoded parent", target("/a/.%2e/b"), 400, "malformed"),
    Row("parent with parameter", target("/a/..;x=1/b"), 400, "malformed"),
    Row("encoded slash", target("/a%2fb"), 400, "malformed"),
    Row("encoded slash, upper case", target("/a%2Fb"), 400, "malformed"),
    Row("encoded backslash", target("/a%5cb"), 400, "malformed"),
    Row("encoded NUL", target("/a%00"), 400, "malformed"),
    Row("encoded line break", target("/a%0d%0aX:y"), 400, "malformed"),
    Row("half an encoding", target("/a%2"), 400, "malformed"),
    Row("no encoding", target("/a%zz"), 400, "malformed"),
    Row("backslash", target("/a\\b"), 400, "malformed"),
    Row("not ASCII", target("/\xe4"), 400, "malformed"),
    Row("control character", target("/a\x01"), 400, "malformed"),
    Row("delete character", target("/a\x7f"), 400, "malformed"),
    Row("not ASCII in the query", target("/a?\xe4"), 400, "malformed"),
    # Host.
    Row("no host", head("GET /x HTTP/1.1"), 400, "malformed"),
    Row("two hosts", head("GET /x HTTP/1.1", HOST, HOST), 400, "malformed"),
    Row("empty host", head("GET /x HTTP/1.1", "Host:"), 400, "malformed"),
    Row("host with user", head("GET /x HTTP/1.1", "Host: localhost@evil"), 400, "malformed"),
    Row("host with path", head("GET /x HTTP/1.1", "Host: localhost/evil"), 400, "malformed"),
    Row("two hosts in one", head("GET /x HTTP/1.1", "Host: localhost, evil"), 400, "malformed"),
    Row("broken IPv6 host", head("GET /x HTTP/1.1", "Host: [::1::]"), 400, "malformed"),
    Row("foreign host", head("GET /x HTTP/1.1", "Host: evil.example"), 421, "host-refused"),
    Row("foreign host that begins like ours", head("GET /x HTTP/1.1", "Host: localhost.evil"), 421, "host-refused"),
    Row("foreign origin", with_field("Origin: https://evil.example"), 403, "origin-refused"),
    Row("null origin", with_field("Origin: null"), 403, "origin-refused"),
    Row("origin of another port", with_field("Origin: http://localhost:3000"), 403, "origin-refused"),
    # Framing (RFC 9112 §6).
    Row("chunked and length", post(b"0\r\n\r\n", "Transfer-Encoding: chunked"), 400, "malformed"),
    Row("length and chunked", head(LINE, HOST, "Content-Length: 5", "Transfer-Encoding: chunked"), 400, "malformed"),
    Row("gzip, chunked", chunked(b"0\r\n\r\n").replace(b"chunked", b"gzip, chunked"), 400, "malformed"),
    Row("gzip only", head(LINE, HOST, "Transfer-Encoding: gzip"), 400, "malformed"),
    Row("identity", head(LINE, HOST, "Transfer-Encoding: identity"), 400, "malformed"),
    Row("chunked twice", chunked(b"0\r\n\r\n", "Transfer-Encoding: chunked"), 400, "malformed"),
    Row("chunked, chunked", chunked(b"0\r\n\r\n").replace(b"chunked", b"chunked, chunked"), 400, "malformed"),
    Row("chunked with a strange letter", chunked(b"0\r\n\r\n").replace(b"chunked", b"chun\xe9ed"), 400, "malformed"),
    Row("xchunked", chunked(b"0\r\n\r\n").replace(b"chunked", b"xchunked"), 400, "malformed"),
    Row("empty transfer encoding", head(LINE, HOST, "Transfer-Encoding:"), 400, "malformed"),
    Row("folded transfer encoding", head(LINE, HOST, "Transfer-Encoding:", " chunked"), 400, "malformed"),
    Row("chunked in 1.0", chunked(b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "malformed"),
    Row("two lengths", post(b"{}", "Content-Length: 2"), 400, "malformed"),
    Row("two different lengths", post(b"{}", "Content-Length: 3"), 400, "malformed"),
    Row("length list", head(LINE, HOST, "Content-Length: 2, 2"), 400, "malformed"),
    Row("length with sign", head(LINE, HOST, "Content-Length: +2"), 400, "malformed"),
    Row("negative length", head(LINE, HOST, "Content-Length: -2"), 400, "malformed"),
    Row("hexadecimal length", head(LINE, HOST, "Content-Length: 0x2"), 400, "malformed"),
    Row("length with underscore", head(LINE, HOST, "Content-Length: 1_0"), 400, "malformed"),
    Row("empty length", head(LINE, HOST, "Content-Length:"), 400, "malformed"),
    Row("length past all bounds", head(LINE, HOST, "Content-Length: 99999999999999999999999"), 400, "malformed"),
    Row("chunk size with prefix", chunked(b"0x2\r\n{}\r\n0\r\n\r\n"), 400, "malformed"),
    Row("chunk size with sign", chunked(b"+2\r\n{}\r\n0\r\n\r\n"), 400, "malformed"),
    Row("chunk size with space", chunked(b"2 \r\n{}\r\n0\r\n\r\n"), 400, "malformed"),
    Row("chunk size past all bounds", chunked(b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"), 400, "malformed"),
    Row("negative chunk size", chunked(b"-1\r\n{}\r\n0\r\n\r\n"), 400, "malformed"),
    Row("chunk ended by bare LF", chunked(b"2\n{}\r\n0\r\n\r\n"), 400, "malformed"),
    Row("bare LF behind an extension", chunked(b"2;a\n{}\r\n0\r\n\r\n"), 400, "malformed"),
    Row("chunk longer than said", chunked(b"2\r\n{}}\r\n0\r\n\r\n"), 400, "malformed"),
    Row("trailer", chunked(b"2\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n"), 400, "malformed"),
    # Fields (RFC 9112 §5, RFC 9110 §5).
    Row("space before the colon", with_field("X-A : 1"), 400, "malformed"),
    Row("no colon", with_field("X-A"), 400, "malformed"),
    Row("no name", with_field(": 1"), 400, "malformed"),
    Row("name that is no token", with_field("X@A: 1"), 400, "malformed"),
    Row("name that is not ASCII", with_field("X\xe4: 1"), 400, "malformed"),
    Row("folded line", with_field("X-A: 1\r\n 2"), 400, "malformed"),
    Row("first field folded", head(LINE, " X-A: 1", HOST), 400, "malformed"),
    Row("NUL in a value", with_field("X-A: a\0b"), 400, "malformed"),
    Row("bare CR in a value", with_field("X-A: a\rX-B: b"), 400, "malformed"),
    Row("bare LF in a value", with_field("X-A: a\nX-B: b"), 400, "malformed"),
    Row("control character in a value", with_field("X-A: a\x01"), 400, "malformed"),
    Row("bare LF ends the head", b"GET /x HTTP/1.1\r\nHost: localhost\r\n\n", 400, "malformed"),
    Row("two content types", post(b"{}", "Content-Type: application/json", "content-type: text/x"), 400, "malformed"),
    Row("two credentials", post(b"{}", "Authorization: a", "AUTHORIZATION: b"), 400, "malformed"),
    Row("two sessions", post(b"{}", "Mcp-Session-Id: a", "mcp-session-id: b"), 400, "malformed"),
    Row("two versions", post(b"{}", "MCP-Protocol-Version: 2025-06-18", "MCP-Protocol-Version: x"), 400, "malformed"),
    Row("two names", post(b"{}", "Mcp-Name: a", "Mcp-Name: a"), 400, "malformed"),
    Row("two event ids", post(b"{}", "Last-Event-ID: a", "Last-Event-ID: b"), 400, "malformed"),
    Row("two origins", post(b"{}", "Origin: http://localhost", "Origin: null"), 400, "malformed"),
    Row("parameter twins", post(b"{}", "Mcp-Param-a_b: 1", "Mcp-Param-a-b: 2"), 400, "malformed"),
    Row("unknown expectation", post(b"{}", "Expect: 200-ok"), 417, "expectation-refused"),
    Row("compressed body", post(b"{}", "Content-Encoding: gzip"), 415, "unsupported-media"),
    # Upgrade is ignored, and changes nothing of where a body ends.
    Row("upgrade, chunked and length", upgrading(b"0\r\n\r\n", CHUNKED, length=True), 400, "malformed"),
    Row("upgrade, length and chunked", upgrading(b"0\r\n\r\n", "Content-Length: 5", CHUNKED), 400, "malformed"),
    Row("upgrade, two lengths", upgrading(b"{}", "Content-Length: 3", length=True), 400, "malformed"),
    Row("upgrade, length list", upgrading(b"{}", "Content-Length: 2, 2"), 400, "malformed"),
    Row("upgrade, gzip, chunked", upgrading(b"0\r\n\r\n", "Transfer-Encoding: gzip, chunked"), 400, "malformed"),
    Row("upgrade, gzip", upgrading(b"", "Transfer-Encoding: gzip"), 400, "malformed"),
    Row("upgrade, xchunked", upgrading(b"0\r\n\r\n", "Transfer-Encoding: xchunked"), 400, "malformed"),
    Row("upgrade, empty transfer encoding", upgrading(b"", "Transfer-Encoding:"), 400, "malformed"),
    Row("upgrade, chunked twice", upgrading(b"0\r\n\r\n", CHUNKED, CHUNKED), 400, "malformed"),
    Row("upgrade, chunked in 1.0", upgrading(b"0\r\n\r\n", CHUNKED).replace(b"P/1.1", b"P/1.0"), 400, "malformed"),
    Row("upgrade, chunk size with prefix", upgrading(b"0x2\r\n{}\r\n0\r\n\r\n", CHUNKED), 400, "malformed"),
    Row("upgrade, chunk longer than said", upgrading(b"2\r\n{}}\r\n0\r\n\r\n", CHUNKED), 400, "malformed"),
    Row("upgrade, chunk ended by bare LF", upgrading(b"2\n{}\r\n0\r\n\r\n", CHUNKED), 400, "malformed"),
    Row("upgrade, trailer", upgrading(b"2\r\n{}\r\n0\r\nX-Late: 1\r\n\r\n", CHUNKED), 400, "malformed"),
    Row("upgrade, body too long", upgrading(b"", "Content-Length: 1001"), 413, "body-too-large"),
    Row("upgrade, too long in chunks", upgrading(b"1\r\nx\r\n" * 1001, CHUNKED), 413, "body-too-large"),
    Row(
        "upgrade, foreign host",
        head("GET /x HTTP/1.1", "Host: evil", "Connection: Upgrade", "Upgrade: h2c"),
        421,
        "host-refused",
    ),
    Row(
        "upgrade by connect",
        head("CONNECT localhost:80 HTTP/1.1", HOST, "Connection: Upgrade", "Upgrade: h2c"),
        405,
        "method-not-allowed",
    ),
    # Sizes.
    Row("body announced too long", head(LINE, HOST, "Content-Length: 1001"), 413, "body-too-large"),
    Row("body too long in chunks", chunked(b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"), 413, "body-too-large"),
    Row("body too long in many chunks", chunked(b"1\r\nx\r\n" * 1001 + b"0\r\n\r\n"), 413, "body-too-large"),
    Row("endless extensions", chunked((b"1;" + b"e" * 8000 + b"\r\nx\r\n") * 100), 413, "body-too-large"),
    Row("long field", with_field("X-A: " + "a" * 3000), 431, "headers-too-large"),
    Row("long field without end", b"GET /x HTTP/1.1\r\nX-A: " + b"a" * 3000, 431, "headers-too-large"),
    Row("long target", target("/" + "a" * 3000), 431, "headers-too-large"),
    Row("long target without end", b"GET /" + b"a" * 3000, 431, "headers-too-large"),
    Row("many fields", post(b"{}", *["A: b"] * 140), 431, "headers-too-large"),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_malformed_request_is_refused_and_the_connection_ends(row: Row) -> None:
    handler = Recording()
    async with edge(handler, SMALL) as worker, connected(worker) as client:
        # What follows must never be taken for a request of its own.
        await client.send(row.sent + post(b"smuggled"))
        answer = await client.answer()
        assert await client.rest() == b""
    assert (answer.status, answer.reason) == (row.status, row.kind)
    assert answer.headers["connection"] == "close"
    assert handler.requests == []


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_malformed_request_is_refused_alike_when_it_comes_byte_by_byte(row: Row) -> None:
    handler = Recording()
    async with edge(handler, SMALL) as worker, connected(worker) as client:
        for at in range(0, len(row.sent), step := max(1, len(row.sent) // 200)):
            client.writer.write(row.sent[at : at + step])
            await asyncio.sleep(0)
        answer = await client.answer()
        assert await client.rest() == b""
    assert (answer.status, answer.reason) == (row.status, row.kind)
    assert handler.requests == []


async def test_refusal_reaches_a_client_that_is_still_sending() -> None:
    handler = Recording()
    async with edge(handler, SMALL) as worker, connected(worker) as client:
        await client.send(head(LINE, HOST, "Content-Length: 3000000"))
        client.writer.write(b"x" * 3_000_000)
        answer = await client.answer()
    assert answer.status == 413


async def test_refused_method_says_which_are_allowed() -> None:
    async with edge(Recording()) as worker, connected(worker) as client:
        await client.send(head("TRACE /x HTTP/1.1", HOST))
        assert (await client.answer()).headers["allow"] == "GET, POST, DELETE"


async def test_empty_lines_before_a_request_are_counted_as_its_head() -> None:
    async with edge(Recording(), SMALL) as worker, connected(worker) as client:
        await client.send(b"\r\n" * 2000)
        assert (await client.answer()).status == 431
