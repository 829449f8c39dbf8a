"""One HTTP/1.1 connection: bytes between the transport, the codec and the exchange.

Made by a listener for each accepted socket. At most one exchange runs at a time; what
the client sends ahead waits. It decides when a connection ends, and knows nothing of
what a request means.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import cast

from openmcp.errors import Internal, OpenMCPError, Overloaded, RequestTimeout
from openmcp.model.http import Request
from openmcp.server import answers, refusing
from openmcp.server.exchange import Exchange, Outlet
from openmcp.server.http1 import Arrival, Http1, Phase, Source
from openmcp.server.limits import MIB
from openmcp.server.timers import NEVER, Timed
from openmcp.server.traffic import Closable, Traffic

_log = logging.getLogger(__name__)

_LINGER_BYTES = 16 * MIB
"""What a refused client may still send before it is cut off."""


class _Life(Enum):
    OPEN = auto()
    CLOSING = auto()
    """The last answer is on its way; what still comes in is thrown away."""

    CLOSED = auto()


# Looking a member up in its enum costs more than all else that is done with it.
_OPEN, _CLOSING, _CLOSED = _Life
_IDLE = Phase.IDLE


class Connection(asyncio.Protocol):
    """Serves the requests of one client, one after the other."""

    __slots__ = (
        "_awaited", "_closes", "_codec", "_discarded", "_exchange", "_has_body", "_head", "_held", "_identify",
        "_is_chunked", "_is_flush_due", "_is_paused", "_life", "_loop", "_method", "_pending", "_pending_bytes",
        "_source", "_traffic", "_transport", "_waiters", "deadline", "visit",
    )  # fmt: skip

    _transport: asyncio.Transport
    _codec: Http1
    _source: Source

    def __init__(
        self, traffic: Traffic, identify: Callable[[asyncio.Transport], Source], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.deadline = NEVER
        self.visit = NEVER
        self._traffic = traffic
        self._identify = identify
        self._loop = loop
        self._life: _Life = _OPEN
        # What the deadline was last set for. The first head's time begins with the connection.
        self._awaited = Phase.HEAD
        self._exchange: Exchange | None = None
        self._held = b""
        self._discarded = 0
        self._method = ""
        self._closes = False
        self._is_chunked = False
        self._has_body = True
        self._head = b""
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._is_flush_due = False
        self._is_paused = False
        self._waiters: list[asyncio.Future[None]] = []

    # ---------------------------------------------------------------- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        traffic = self._traffic
        # A TCP listener has no other kind, though uvloop's does not say so.
        self._transport = transport = cast("asyncio.Transport", transport)
        self._source = self._identify(transport)
        self._codec = Http1(self._source, traffic.limits, traffic.budget)
        transport.set_write_buffer_limits(high=traffic.limits.write_buffer_bytes)
        is_full = len(traffic.connections) >= traffic.limits.connections
        traffic.enter(self)
        if is_full:
            self._refuse(Overloaded(detail="limits.connections is reached"))
        else:
            traffic.wheel.arm(self, traffic.headers_ticks)

    def data_received(self, data: bytes) -> None:
        """Read on, or keep for later what was sent ahead."""
        if self._life is not _OPEN:
            self._discarded += len(data)
            if self._discarded > _LINGER_BYTES:
                self._transport.abort()
        elif self._exchange is not None:
            self._held += data
            # Not earlier: only who reads sees that the client leaves.
            if len(self._held) > self._traffic.limits.pipelined_bytes:
                self._transport.pause_reading()
        else:
            self._feed(data)
            if self._held:
                self._read_held()

    def eof_received(self) -> bool:
        """Take the end of what the client sends for its leaving: whoever waits for an answer keeps both ways open."""
        if self._exchange is not None:
            self._exchange.client_left()
        self._life = _CLOSING
        self._traffic.wheel.arm(self, self._traffic.linger_ticks)
        return False

    def withdraw(self) -> bool:
        """Leave the connection to another protocol, as if it had never been; returns whether that is possible."""
        if self._life is not _OPEN:
            return False
        self._life = _CLOSED
        self.deadline = NEVER
        self._codec.close()
        self._traffic.leave(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything that was kept for this client."""
        self._life = _CLOSED
        self.deadline = NEVER
        self._codec.close()
        self._held = b""
        self._pending.clear()
        self._wake()
        if self._exchange is not None and self._exchange.is_open:
            self._exchange.client_left()
        self._traffic.leave(self)

    def pause_writing(self) -> None:
        """Note that the client reads slower than is written."""
        self._is_paused = True
        if self._life is _OPEN:
            self._traffic.wheel.arm(self, self._traffic.write_ticks)

    def resume_writing(self) -> None:
        """Let the writers go on."""
        self._is_paused = False
        if self._life is _OPEN and self._exchange is not None:
            self.deadline = NEVER
        self._wake()

    def on_deadline(self) -> None:
        """End what took too long."""
        if self._life is not _OPEN or self._exchange is not None:
            self._transport.abort()
        elif self._codec.phase is _IDLE:
            self._close()
        else:
            self._refuse(RequestTimeout())

    # ---------------------------------------------------------------- called by the worker

    def retire(self) -> None:
        """Close when nothing is under way, at once if nothing is."""
        if self._life is _OPEN and self._exchange is None and self._codec.phase is _IDLE:
            self._close()

    # ---------------------------------------------------------------- requests in

    def _feed(self, data: bytes) -> None:
        try:
            self._codec.feed(data)
        except Exception:
            _log.exception("A request could not be read")
            self._refuse(Internal())
        else:
            self._take()

    def _take(self) -> None:
        """Start what has arrived; if nothing has, set the deadline for what is coming."""
        codec = self._codec
        arrived = codec.take()
        if arrived is None:
            if codec.phase is not _IDLE:
                self._await(codec.phase)
        elif isinstance(arrived, Arrival):
            self._held, codec.rest = codec.rest, b""
            self._start(arrived)
        else:
            self._refuse(arrived)

    def _await(self, phase: Phase) -> None:
        traffic = self._traffic
        if phase is not self._awaited:
            self._awaited = phase
            traffic.wheel.arm(self, traffic.headers_ticks if phase is Phase.HEAD else traffic.body_ticks)
        if self._codec.wants_continue:
            self._codec.wants_continue = False
            self._transport.write(answers.CONTINUE)

    def _start(self, arrival: Arrival) -> None:
        request = arrival.request
        exchange = Exchange(request, self)
        self._closes = not arrival.keeps_alive
        self._method = request.method
        self._is_chunked = request.http_version == "1.1"
        self._awaited = _IDLE
        refusal = self._traffic.admit(exchange)
        if refusal is None:
            self._exchange = exchange
            self.deadline = NEVER
            exchange.start(self._traffic.handler, self._loop)
        else:
            self._say_no(refusal, request)
            self._traffic.dismiss(exchange)
            self._rest()

    def exchange_ended(self, exchange: Exchange) -> None:
        """Go on with the next request of this client."""
        self._exchange = None
        self._traffic.dismiss(exchange)
        if self._life is _OPEN:
            self._rest()
            self._read_held()

    def _read_held(self) -> None:
        """Read what was sent ahead, up to and including the next request that somebody handles."""
        while self._held and self._is_free():
            held, self._held = self._held, b""
            self._transport.resume_reading()
            self._feed(held)

    def _is_free(self) -> bool:
        return self._exchange is None and self._life is _OPEN

    def _rest(self) -> None:
        """Wait for the next request, unless there is to be none."""
        if self._closes or self._traffic.is_draining:
            self._close()
        else:
            self._traffic.wheel.arm(self, self._traffic.idle_ticks)

    # ---------------------------------------------------------------- answers out

    def send(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Write a whole answer at once."""
        traffic = self._traffic
        self._closes = self._closes or traffic.is_draining
        self._transport.write(
            answers.whole(status, headers, body=body, date=traffic.date, closes=self._closes, method=self._method)
        )

    def open(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Write the head of an answer whose length is not known."""
        self._has_body = answers.has_body(self._method, status)
        self._closes = self._closes or self._traffic.is_draining or (self._has_body and not self._is_chunked)
        self._head = answers.begun(
            status,
            headers,
            date=self._traffic.date,
            closes=self._closes,
            is_chunked=self._is_chunked and self._has_body,
        )
        self._flush_soon()

    def append(self, data: bytes) -> None:
        """Add to the body; it leaves with all that is added in this turn of the loop."""
        if data and self._has_body:
            self._pending.append(data)
            self._pending_bytes += len(data)
            self._flush_soon()

    async def drain(self) -> None:
        """Wait while more is buffered than the limit allows."""
        if self._pending_bytes > self._traffic.limits.write_buffer_bytes:
            self._flush()
        while self._is_paused and self._life is not _CLOSED:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def finish(self) -> None:
        """End the body."""
        self._flush(answers.LAST_CHUNK if self._is_chunked and self._has_body else b"")

    def abort(self) -> None:
        """Break off at once."""
        self._transport.abort()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self, tail: bytes = b"") -> None:
        self._is_flush_due = False
        if not (self._head or self._pending or tail):
            return  # ended since
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        if data and self._is_chunked:
            data = answers.chunk(data)
        data = b"".join((self._head, data, tail))
        self._head = b""
        if self._life is not _CLOSED:
            self._transport.write(data)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # ---------------------------------------------------------------- the end

    def _refuse(self, error: OpenMCPError) -> None:
        """Say no to what never became a request; where the next one would begin is not certain any more."""
        self._closes = True
        self._method = self._codec.method
        self._say_no(error)
        self._linger()

    def _say_no(self, error: OpenMCPError, request: Request | None = None) -> None:
        answer = refusing.answer(error, request)
        self.turned_away(error, answer.status)
        self.send(*answer)

    def turned_away(self, error: OpenMCPError, status: int) -> None:
        """Take note of a refusal that is the edge's own, before it is sent."""
        self._traffic.turned_away(self._source, error, status)

    def _close(self) -> None:
        if self._held or self._codec.phase is not _IDLE:
            self._linger()
            return
        self._life = _CLOSING
        traffic = self._traffic
        is_flushed = self._transport.get_write_buffer_size() == 0
        traffic.wheel.arm(self, traffic.linger_ticks if is_flushed else traffic.write_ticks)
        self._transport.close()

    def _linger(self) -> None:
        """End our half and read on for a moment: closing with unread bytes resets the answer away (RFC 9112 §9.6)."""
        self._life = _CLOSING
        self._codec.close()
        self._held = b""
        self._traffic.wheel.arm(self, self._traffic.linger_ticks)
        self._transport.resume_reading()
        # TLS has no half that ends alone: there the client, who has its whole answer, is the one to leave.
        if self._transport.can_write_eof():
            self._transport.write_eof()


_timed: type[Timed] = Connection
_outlet: type[Outlet] = Connection
_closable: type[Closable] = Connection
