"""Heads of answers and pieces of bodies, as bytes of HTTP/1.1.

Used by the connection when an exchange answers. Pure.
"""

from collections.abc import Sequence
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
BODILESS = frozenset((204, 304))


def has_body(method: str, status: int) -> bool:
    """Whether bytes follow the head (RFC 9110 §6.4.1)."""
    return method != "HEAD" and status not in BODILESS


def whole(
    status: int, headers: Sequence[tuple[str, str]], *, body: bytes, date: bytes, closes: bool, method: str
) -> bytes:
    """Return a whole answer."""
    if not has_body(method, status):
        # To HEAD the length is that of the answer GET would get; 204 and 304 have none.
        length = b"" if status in BODILESS else b"Content-Length: %d\r\n" % len(body)
        body = b""
    else:
        length = b"Content-Length: %d\r\n" % len(body)
    return b"".join(
        (
            _status_line(status),
            _fields(headers),
            date,
            length,
            b"Connection: close\r\n\r\n" if closes else b"\r\n",
            body,
        )
    )


def begun(status: int, headers: Sequence[tuple[str, str]], *, date: bytes, closes: bool, is_chunked: bool) -> bytes:
    """Return the head of an answer whose length is not known; without chunks its end is the connection's."""
    framing = b"Transfer-Encoding: chunked\r\n" if is_chunked else b""
    closing = b"Connection: close\r\n\r\n" if closes else b"\r\n"
    return b"".join((_status_line(status), _fields(headers), date, framing, closing))


def chunk(data: bytes) -> bytes:
    """Return one chunk; `data` must not be empty, for an empty one is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status


def _fields(headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers]
    for line in lines:
        # A line break in a value would begin a header, or an answer, that nobody here wrote.
        if not line.isprintable():
            raise ValueError(f"a header holds a control character: {line!r}")
    lines.append("")
    return "\r\n".join(lines).encode("latin-1")
