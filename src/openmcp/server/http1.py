"""HTTP/1.x requests out of bytes, without any I/O.

`feed` takes what was read, `take` gives what came of it: a request that is whole, or a
refusal, after which nothing is read any more. What the client sent ahead stays in
`rest`, unread. Used by `connection.py`.

llhttp splits the bytes; what it leaves to its user is refused here: old and foreign
protocols, unlimited heads, bodies longer than allowed, trailers. Another protocol that
a client would rather speak (`Upgrade`) is never spoken, and its request served as it is.
"""

import time
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import NamedTuple, cast

import httptools

from openmcp.errors import BodyTooLarge, HeadersTooLarge, Malformed, OpenMCPError, Overloaded
from openmcp.model.http import Peer, Request
from openmcp.server.head import check_framing, check_method, read_fields
from openmcp.server.limits import KIB, ListenerLimits
from openmcp.server.target import split_target


class Phase(Enum):
    """How far the next request has come in."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()


# Looking a member up in its enum costs more than all else that is done with it.
_IDLE, _HEAD, _BODY = Phase


_HEAD_IS_NEW = -1


class _SentAheadError(Exception):
    """Stops the parser where the next request begins."""


class Arrival(NamedTuple):
    """A request that is whole."""

    request: Request
    keeps_alive: bool
    """Whether the client may send another one on this connection."""


class Budget:
    """The bodies that a worker holds at one time, in bytes."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Source(NamedTuple):
    """What a connection adds to each of its requests."""

    peer: Peer
    listener: str
    public_url: str
    check_head: Callable[[Mapping[str, str]], None]
    """Raises what the listener refuses, judged by the head alone (`hosts.HostGuard.check`)."""


class Http1:
    """The requests of one connection, read from its bytes."""

    __slots__ = (
        "_arrived", "_body", "_budget", "_chunked_allowance", "_fields", "_head", "_head_room", "_headers",
        "_keeps_body", "_limits", "_line", "_parser", "_path", "_phase", "_query", "_received_ns", "_refusal",
        "_repeated", "_size", "_size_before", "_source", "_stand_in", "_target", "_version", "is_done", "method",
        "rest", "wants_continue",
    )  # fmt: skip

    def __init__(self, source: Source, limits: ListenerLimits, budget: Budget) -> None:
        self.rest = b""
        """What came behind a whole request; to be fed again when that is answered."""

        self.is_done = False
        """Nothing more is read: the last request said `close`, or was refused."""

        self.wants_continue = False
        """The client waits for `100 Continue` before it sends the body."""

        self.method = ""
        """Of the request that was read last, also if it was refused."""

        self._source = source
        self._limits = limits
        self._budget = budget
        self._parser = httptools.HttpRequestParser(self)
        self._phase = _IDLE
        self._arrived: Arrival | OpenMCPError | None = None
        self._refusal: OpenMCPError | None = None
        self._head = b""
        self._line = b""
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_room = 0
        self._headers: Mapping[str, str] = {}
        self._body: bytes | bytearray = b""
        self._size = 0
        self._size_before = _HEAD_IS_NEW

    @property
    def phase(self) -> Phase:
        """How far the next request has come in."""
        return self._phase

    def feed(self, data: bytes) -> None:
        """Take what was read; then `take`, and look at `phase` and `rest`. Not before the last request was taken."""
        if self.is_done:
            return
        # The whole head so far, because the request line is looked at once more when the head is complete.
        self._head = self._head + data if self._head else data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            self._read_on(data, cast("int", pause.args[0]))
        except httptools.HttpParserError as fault:
            self._fail(fault, data)
        else:
            self._bound(data)

    def take(self) -> Arrival | OpenMCPError | None:
        """Return what has arrived, once."""
        arrived, self._arrived = self._arrived, None
        return arrived

    def close(self) -> None:
        """Give back what is held for a request that will not be handled."""
        self.is_done = True
        self.rest = b""
        self._budget.used -= len(self._body)
        self._body = b""
        if isinstance(self._arrived, Arrival):
            self._budget.used -= len(self._arrived.request.body)
        self._arrived = None

    def _read_on(self, data: bytes, head_end: int) -> None:
        """Read the body although the parser has stopped before it, at `Upgrade`; RFC 9110 §7.8 lets us ignore that.

        A fresh parser reads it, by the same rules. The head that it is fed instead of the real one
        says how long the body is, as the real one did when it was judged; no byte is read twice.
        """
        parser = self._parser = httptools.HttpRequestParser(_BodyOnly(self))
        try:
            parser.feed_data(self._stand_in + data[head_end:])
        except httptools.HttpParserError as fault:
            self._fail(fault, data)
        else:
            self._bound(data)

    def read_heads(self) -> None:
        """Read what comes next from its head on."""
        self._parser = httptools.HttpRequestParser(self)

    def _bound(self, data: bytes) -> None:
        """Limit what the parser does not show: a head that does not end, and the wrapping of chunks."""
        if self._phase is _BODY:
            self._head = b""
            self._size_before = self._size
            self._chunked_allowance -= len(data)
            if self._chunked_allowance < 0:
                self._end(BodyTooLarge(detail="more bytes around the body than in it"))
        elif self._arrived is not None:
            is_chunked = "transfer-encoding" in self._headers
            if not self.is_done and (data.endswith(b"\r") or (data.endswith(b"\n") and not is_chunked)):
                # Perhaps an odd or half empty line in front of the next request, which is to be judged as a whole.
                self._split(data)
            self._head = b""
        elif len(self._head) > self._limits.header_bytes:
            self._end(HeadersTooLarge())

    def _fail(self, fault: Exception, data: bytes) -> None:
        if self.is_done:  # bytes behind a request that said `close`
            return
        if self._arrived is not None:
            self._split(data)
        elif self._refusal is None and isinstance(fault, httptools.HttpParserCallbackError):
            raise fault.__context__ or fault  # a fault of ours
        else:
            self._end(self._refusal or Malformed("The HTTP request is not valid.", detail=str(fault)))

    def _split(self, data: bytes) -> None:
        """Set aside what came behind the request that has arrived; the parser cannot say where that begins."""
        self.read_heads()
        self._phase = _IDLE
        if "transfer-encoding" in self._headers:
            # Nobody sends ahead behind chunks, so it is not worth reading chunks twice: RFC 9112 §9.3.2 lets us close.
            self._arrived = cast("Arrival", self._arrived)._replace(keeps_alive=False)
            self.is_done = True
            return
        length = int(self._headers.get("content-length", 0))
        if self._size_before == _HEAD_IS_NEW:
            start = len(self._head) - len(self._head.lstrip(b"\r\n"))
            self.rest = self._head[self._head.index(b"\r\n\r\n", start) + 4 + length :]
        else:
            self.rest = data[length - self._size_before :]
        self._head = b""

    def _end(self, refusal: OpenMCPError) -> None:
        self._budget.used -= len(self._body)
        self._body = b""
        self.is_done = True
        self._arrived = refusal

    def _refuse(self, refusal: OpenMCPError) -> OpenMCPError:
        """Remember why; the parser carries no exception of ours through to `feed`."""
        self._refusal = refusal
        return refusal

    # ---------------------------------------------------------------- called by the parser

    def on_message_begin(self) -> None:
        """Forget the request before, unless nobody has taken it yet."""
        if self._arrived is not None:
            raise _SentAheadError
        self._phase = _HEAD
        self._target = b""
        self._fields = []
        self._head_room = self._limits.header_bytes
        self._size_before = _HEAD_IS_NEW

    def on_url(self, part: bytes) -> None:
        """Take a piece of the target."""
        self._target += part
        if len(self._target) > self._limits.header_bytes:
            raise self._refuse(HeadersTooLarge())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head."""
        self._head_room -= len(name) + len(value) + 4
        if self._head_room < 0:
            is_trailer = self._phase is _BODY
            raise self._refuse(Malformed("Trailers are not supported.") if is_trailer else HeadersTooLarge())
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Decide by the head alone whether the body is wanted."""
        self._received_ns = time.time_ns()
        try:
            self._read_head()
        except OpenMCPError as refusal:
            self._refusal = refusal
            raise
        self._phase = _BODY
        self._head_room = 0
        self._size = 0

    def on_body(self, part: bytes) -> None:
        """Take a piece of the body."""
        self.wants_continue = False
        self._size += len(part)
        if self._size > self._limits.request_bytes:
            raise self._refuse(BodyTooLarge())
        if not self._keeps_body:
            return
        if self._budget.used + len(part) > self._budget.limit:
            raise self._refuse(Overloaded(headers=(("Retry-After", "1"),), detail="buffered_bytes is used up"))
        self._budget.used += len(part)
        if not self._body:
            self._body = part
        elif isinstance(self._body, bytearray):
            self._body += part
        else:
            # One growing buffer: a body in two-byte chunks must not cost an object each.
            self._body = bytearray(self._body) + part

    def on_message_complete(self) -> None:
        """Hand out the request."""
        # Only here does the parser know; afterwards it has forgotten and says no.
        keeps_alive = self._parser.should_keep_alive() and self._version == "1.1"
        if "upgrade" in self._headers and self._parser.should_upgrade():
            # Complete is only the head: the parser takes the body for the other protocol's.
            self._stand_in = _stand_in(self._headers, keeps_alive=keeps_alive)
            return
        source = self._source
        request = Request(
            self.method,
            self._path,
            self._headers,
            bytes(self._body),
            source.peer,
            self._query,
            self._repeated,
            source.listener,
            source.public_url,
            self._version,
            self._received_ns,
        )
        self._arrived = Arrival(request, keeps_alive)
        self._body = b""
        self._phase = _IDLE
        self.wants_continue = False
        if not keeps_alive:
            self.is_done = True

    def _read_head(self) -> None:
        # A client mostly repeats its request line.
        if not self._line or not self._head.startswith(self._line):
            self._read_line()
        if len(self._fields) > self._limits.header_fields:
            raise HeadersTooLarge()
        headers, self._repeated = read_fields(self._fields)
        check_framing(headers, self._version, self._limits.request_bytes)
        self._source.check_head(headers)
        self._headers = headers
        self._chunked_allowance = 2 * self._limits.request_bytes + 64 * KIB + len(self._head)
        if "expect" in headers:
            self.wants_continue = self._version == "1.1" and _has_body(headers)

    def _read_line(self) -> None:
        self._line = b""
        raw_method = self._parser.get_method()
        self._version = version = self._parser.get_http_version()
        # llhttp also takes HTTP/0.9, RTSP and ICE, and more spaces than one: the line must read as we understood it.
        line = b"%b %b HTTP/%b\r\n" % (raw_method, self._target, version.encode())
        before, _, _ = self._head.partition(line)
        # Empty lines in front are allowed (RFC 9112 §2.2), lone CR or LF are not.
        if version not in _VERSIONS or before != b"\r\n" * (len(before) // 2) or line not in self._head:
            raise Malformed("The HTTP request line is not valid.", detail=f"version {version}")
        self.method = check_method(raw_method)
        self._keeps_body = raw_method == b"POST"
        self._path, self._query = split_target(self._target)
        self._line = line


class _BodyOnly:
    """Hands the codec what stands behind a head that was read before; of the stand-in for that head, nothing."""

    def __init__(self, http: Http1) -> None:
        self._http = http
        self._is_behind_head = False
        self.on_body = http.on_body

    def on_headers_complete(self) -> None:
        self._is_behind_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer.
        if self._is_behind_head:
            self._http.on_header(name, value)

    def on_message_complete(self) -> None:
        self._http.on_message_complete()
        self._http.read_heads()

    def on_message_begin(self) -> None:
        # The next request, in the same read.
        if self._is_behind_head:
            self._http.on_message_begin()


_VERSIONS = ("1.1", "1.0")


def _stand_in(headers: Mapping[str, str], *, keeps_alive: bool) -> bytes:
    """Return a head that says of the body and of the connection what the real one does, and nothing else."""
    lines = ["POST / HTTP/1.1"]
    if "transfer-encoding" in headers:
        lines.append("Transfer-Encoding: chunked")
    elif "content-length" in headers:
        lines.append(f"Content-Length: {headers['content-length']}")
    if not keeps_alive:
        lines.append("Connection: close")
    return "\r\n".join((*lines, "", "")).encode()


def _has_body(headers: Mapping[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""
