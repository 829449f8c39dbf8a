"""One HTTP/1.1 connection to a replica: bytes out, one answer at a time in.

Used by `pool`, which owns connections, and `client`, which starts exchanges on them.
Checks what the parser (llhttp) leaves unchecked; knows nothing of retries, redirects or
MCP. A connection whose framing was in doubt for one moment is never used again.
"""

import asyncio
from functools import lru_cache
from typing import NoReturn, Protocol, cast

import httptools

from openmcp import errors
from openmcp.model.server import Server
from openmcp.upstream.deadlines import Deadlines
from openmcp.upstream.reply import Reply

HEAD_BYTES = 64 << 10
"""Bound on the fields of one answer, and on any stretch of bytes that brings no body: trailers, chunk extensions."""

INTERIM_CAP = 8
"""Interim (1xx) answers before the final one."""

LISTS = frozenset({"allow", "cache-control"})
"""Wanted fields that may come more than once."""

_WANTED = LISTS | {
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "mcp-session-id",
    "location",
}

_MEDIA_TYPES = {
    "application/json": "application/json",
    "text/event-stream": "text/event-stream",
    "text/event-stream; charset=utf-8": "text/event-stream",
}

_TE, _CL = "transfer-encoding", "content-length"
_BODILESS = frozenset({204, 304})
_LENGTH_DIGITS = 18
_FIRST_BYTE = ord("H")


class Owner(Protocol):
    """Who keeps connections between exchanges."""

    def opened(self, connection: "Connection", transport: asyncio.BaseTransport) -> None:
        """The connection was made."""

    def released(self, connection: "Connection") -> None:
        """The exchange is over and the connection may carry another."""

    def lost(self, connection: "Connection") -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """A transport, a parser, and the reply that is being filled."""

    __slots__ = (
        "_deadlines",
        "_fields",
        "_head_bytes",
        "_idle_s",
        "_interim",
        "_is_complete",
        "_is_head_done",
        "_is_surplus",
        "_keeps_alive",
        "_last_byte",
        "_loop",
        "_owner",
        "_parser",
        "_parts",
        "_reads_until_close",
        "_reply",
        "_response_s",
        "_silent_bytes",
        "_stream_idle_s",
        "_transport",
        "_url",
        "deadline",
        "slot",
    )

    def __init__(self, url: str, owner: Owner, *, deadlines: Deadlines, loop: asyncio.AbstractEventLoop) -> None:
        self.deadline = 0.0
        self.slot = 0
        self._url = url
        self._owner = owner
        self._deadlines = deadlines
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._reply: Reply | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._response_s = self._stream_idle_s = self._idle_s = self._last_byte = 0.0
        self._reset()

    def _reset(self) -> None:
        self._fields: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._head_bytes = self._silent_bytes = self._interim = 0
        self._is_head_done = self._is_complete = self._is_surplus = False
        self._keeps_alive = self._reads_until_close = False

    # ------------------------------------------------------------ for the client

    @property
    def is_usable(self) -> bool:
        """Whether a request may be written now."""
        return self._transport is not None and self._reply is None and not self._transport.is_closing()

    def begin(self, reply: Reply, data: bytes, *, server: Server) -> None:
        """Write a whole request; the answer goes to `reply`."""
        assert self._transport and self._reply is None
        self._reset()
        self._reply = reply
        self._response_s = server.timeouts.response_s
        self._stream_idle_s = server.timeouts.stream_idle_s
        self._idle_s = server.idle_connection_s
        self._last_byte = self._loop.time()
        self._deadlines.watch(self, self._last_byte + self._response_s)
        self._transport.write(data)

    def abandon(self, reply: Reply) -> None:
        """Cut the exchange off if it still runs: for the server that is the client's disconnect."""
        if self._reply is reply:
            self._reply = None
            self.close()

    def close(self) -> None:
        """Close at once; an exchange under way fails."""
        if self._transport and not self._transport.is_closing():
            self._transport.abort()

    def resume(self) -> None:
        """Read on."""
        if self._transport and not self._transport.is_closing():
            self._last_byte = self._loop.time()
            self._transport.resume_reading()

    def rest(self) -> None:
        """Wait for the next exchange, but no longer than the server of the last one allows."""
        self._deadlines.watch(self, self._last_byte + self._idle_s)

    def expire(self, now: float) -> None:
        """Give up waiting, or give a stream's reader its tick."""
        reply = self._reply
        if reply is None:
            self.close()
        elif not reply.is_stream:
            self._fail(errors.UpstreamTimeout(detail=f"{self._url}: no answer within {self._response_s:g} s"))
        else:
            # A paused connection is silent because nobody listens.
            silent_at = (now if reply.is_full else self._last_byte) + self._stream_idle_s
            if silent_at <= now:
                self._fail(errors.UpstreamTimeout(detail=f"{self._url}: silent for {self._stream_idle_s:g} s"))
            else:
                self._deadlines.watch(self, min(silent_at, reply.tick(now)))

    # ------------------------------------------------------------ for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The loop's own kind of transport has all the methods and not the base class.
        self._transport = cast("asyncio.Transport", transport)
        # One for all answers: only an answer that ended cleanly, with nothing behind it, leaves the connection usable,
        # and then the parser is at the start of a message. Made here, for `connection_lost` to let go of it.
        self._parser = httptools.HttpResponseParser(self)
        self._owner.opened(self, transport)

    def data_received(self, data: bytes) -> None:
        reply, parser = self._reply, self._parser
        if reply is None or parser is None:
            # Nobody asked: whatever this is, it must not become the answer to the next request.
            self.close()
            return
        try:
            if not self._silent_bytes and not self._is_head_done and data[0] != _FIRST_BYTE:
                self._refuse("not HTTP")
            self._silent_bytes += len(data)
            self._last_byte = self._loop.time()
            parser.feed_data(data)
            self._hand_over(reply)
            if self._is_complete:
                self._finish(reply)
            else:
                self._check_bounds(reply)
        except errors.UpstreamBroken as error:
            self._fail(error)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, errors.UpstreamBroken):
                raise
            self._fail(error.__context__)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._break_off(reply, f"{type(error).__name__}: {error}")

    def eof_received(self) -> None:
        if self._reply and self._is_head_done and self._reads_until_close:
            self._is_complete = True
            self._finish(self._reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reply:
            part = "the answer was complete" if self._is_head_done else "an answer"
            cause = f"connection closed before {part}" + (f": {exc}" if exc else "")
            self._fail(errors.OutcomeUnknown(detail=f"{self._url}: {cause}"))
        self._deadlines.forget(self)
        # The parser holds this object: without this the garbage collector would have to find both.
        self._parser = None
        self._owner.lost(self)

    # ------------------------------------------------------------ for the parser

    def on_message_begin(self) -> None:
        self._is_surplus = self._is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        # Only a read that is itself long can hold a head that is too long.
        if self._silent_bytes > HEAD_BYTES:
            self._weigh(name, value)
        wanted = wanted_name(name)
        # Behind the head come trailers, or a second answer that nobody asked for.
        if not wanted or self._is_head_done:
            return
        text = value.decode("latin-1").strip(" \t")
        if wanted not in self._fields:
            self._fields[wanted] = text
        elif wanted in LISTS:
            self._fields[wanted] += ", " + text
        else:
            self._refuse(f"field {wanted} came twice")

    def on_headers_complete(self) -> None:
        parser, reply = self._parser, self._reply
        if self._is_surplus or parser is None or reply is None:
            return
        status, fields = parser.get_status_code(), self._fields
        if fault := framing_fault(status, parser.get_http_version(), fields):
            self._refuse(fault)
        if status < 200:
            self._interim += 1
            if self._interim > INTERIM_CAP:
                self._refuse("too many interim answers")
            return
        self._is_head_done = True
        self._silent_bytes = 0
        self._reads_until_close = status not in _BODILESS and _CL not in fields and _TE not in fields
        reply.opened(status, fields, content_type=media_type(fields.get("content-type", "")))
        if reply.is_stream:
            self._deadlines.watch(self, self._last_byte + min(self._stream_idle_s, reply.tick_s))
            return
        if int(fields.get(_CL, "0")) > reply.max_bytes:
            self._refuse(f"body longer than {reply.max_bytes} bytes")
        # The head came in time; the body, if it is still to come, gets as long again. Later than what is watched for,
        # so it need not be told: nearly always the body is there already.
        self.deadline = self._last_byte + self._response_s

    def on_body(self, data: bytes) -> None:
        if not self._is_surplus:
            self._parts.append(data)

    def on_message_complete(self) -> None:
        if not self._is_head_done:
            # An interim answer; its fields are not those of the final one.
            self._fields = {}
        elif not self._is_complete and self._parser:
            self._is_complete = True
            # Only here: the parser forgets it at once.
            self._keeps_alive = self._parser.should_keep_alive()

    # ------------------------------------------------------------ inside

    def _weigh(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > HEAD_BYTES and not self._is_complete:
            self._refuse(f"head longer than {HEAD_BYTES} bytes")

    def _check_bounds(self, reply: Reply) -> None:
        if reply.is_full:
            self._pause(reply)
        elif self._silent_bytes > HEAD_BYTES:
            self._refuse(f"{HEAD_BYTES} bytes without any body")

    def _hand_over(self, reply: Reply) -> None:
        parts = self._parts
        if not parts:
            return
        self._silent_bytes = 0
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        reply.received(data)

    def _pause(self, reply: Reply) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.pause_reading()
            reply.paused(self)

    def _finish(self, reply: Reply) -> None:
        self._reply = None
        transport = self._transport
        # A server may answer before it has read the request: what is left of that would start the next one.
        if (
            self._keeps_alive
            and not self._is_surplus
            and transport
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        ):
            self._owner.released(self)
        else:
            self.close()
        reply.ended()

    def _break_off(self, reply: Reply, fault: str) -> None:
        if self._is_complete:
            # The answer was whole; only what came behind it is not HTTP.
            self._keeps_alive = False
            self._hand_over(reply)
            self._finish(reply)
            return
        self._hand_over(reply)
        self._fail(errors.UpstreamBroken(detail=f"{self._url}: {fault}"))

    def _fail(self, error: errors.UpstreamFailed) -> None:
        reply, self._reply = self._reply, None
        self.close()
        if reply:
            reply.failed(error)

    def _refuse(self, fault: str) -> NoReturn:
        raise errors.UpstreamBroken(detail=f"{self._url}: {fault}")


@lru_cache(maxsize=1024)
def wanted_name(name: bytes) -> str:
    """The lower-case name of a field that is wanted, `""` for any other; servers spell few names in few ways."""
    lower = name.decode("latin-1").lower()
    return lower if lower in _WANTED else ""


def framing_fault(status: int, version: str, fields: dict[str, str]) -> str:
    """What the parser lets pass and we do not, in words; `""` if nothing (RFC 9112 §6, RFC 9110 §8.4)."""
    if version not in ("1.1", "1.0"):
        return f"HTTP version {version}"
    if status == 101 or status > 599:
        return f"status {status}"
    encoding = fields.get(_TE)
    if encoding is not None and (encoding.lower() != "chunked" or version == "1.0"):
        return f"transfer coding {encoding!r} in HTTP/{version}"
    length = fields.get(_CL, "0")
    if len(length) > _LENGTH_DIGITS:
        return "content length out of range"
    if (status < 200 or status in _BODILESS) and (encoding is not None or length.strip("0")):
        return f"a body with status {status}"
    if fields.get("content-encoding", "identity").lower() != "identity":
        return f"content coding {fields['content-encoding']!r}, though identity was asked for"
    return ""


def media_type(value: str) -> str:
    """The media type of a `Content-Type` without parameters, lower-case."""
    known = _MEDIA_TYPES.get(value)
    return known if known is not None else value.partition(";")[0].strip().lower()
