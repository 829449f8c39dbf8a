"""One HTTP/2 connection: bytes between the transport, the codec, and any number of exchanges.

Made by a listener's doorway. It does for many streams what `connection.py` does for one
exchange after the other: it decides when a connection ends, and knows nothing of what a
request means. What all of its streams write in one turn of the loop leaves in one write.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import assert_never, cast

from openmcp.errors import Internal, OpenMCPError, Overloaded, RequestTimeout
from openmcp.model.http import Request
from openmcp.server import answers, refusing
from openmcp.server.exchange import Exchange, Outlet
from openmcp.server.http1 import Source
from openmcp.server.http2 import Begun, Broken, Happening, Http2, Left, Refused, Whole
from openmcp.server.limits import KIB
from openmcp.server.timers import NEVER, Timed
from openmcp.server.traffic import Closable, Traffic

_log = logging.getLogger(__name__)

_BACKLOG_BYTES = 1024 * KIB
"""Answers that a client has not taken: with more of them waiting, none of its further requests begins."""


class _Life(Enum):
    OPEN = auto()
    RETIRING = auto()
    """The client knows that it should go elsewhere with what it has not sent yet."""

    CLOSING = auto()
    """The last bytes are on their way; what still comes in is thrown away."""

    CLOSED = auto()


_OPEN, _RETIRING, _CLOSING, _CLOSED = _Life


class Multiplexed(asyncio.Protocol):
    """Serves the requests of one client, side by side."""

    __slots__ = (
        "_codec", "_identify", "_is_flush_due", "_is_paused", "_life", "_loop", "_source", "_streams", "_traffic",
        "_transport", "_waiters", "_waiting", "deadline", "visit",
    )  # fmt: skip

    _transport: asyncio.Transport
    _codec: Http2
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
        self._streams: dict[int, Stream] = {}
        self._waiting: deque[Whole] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self._is_flush_due = False
        self._is_paused = False

    # ---------------------------------------------------------------- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        traffic = self._traffic
        self._transport = transport = cast("asyncio.Transport", transport)
        self._source = self._identify(transport)
        self._codec = Http2(self._source, traffic.limits, traffic.budget)
        transport.set_write_buffer_limits(high=traffic.limits.write_buffer_bytes)
        is_full = len(traffic.connections) >= traffic.limits.connections
        traffic.enter(self)
        if is_full:
            self._note(Overloaded(detail="limits.connections is reached"))
            self._close()
        else:
            traffic.wheel.arm(self, traffic.headers_ticks)
            self.flush_soon()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if not self._is_serving:
            return
        try:
            self._codec.feed(data)
            self._go_on()
        except Exception:
            _log.exception("Frames could not be read")
            self._note(Internal())
            self.abort()

    def eof_received(self) -> bool:
        """Take the end of what the client sends for its leaving."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything that was kept for this client."""
        self._life = _CLOSED
        self.deadline = NEVER
        self._codec.close()
        for whole in self._waiting:
            self._traffic.budget.used -= len(whole.request.body)
        self._waiting.clear()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.left()
        self._wake()
        self._traffic.leave(self)

    def pause_writing(self) -> None:
        """Note that the client reads slower than is written: what it asks meanwhile is not read either."""
        self._is_paused = True
        if self._is_serving:
            self._transport.pause_reading()
        self._traffic.wheel.arm(self, self._traffic.write_ticks)

    def resume_writing(self) -> None:
        """Let the writers go on."""
        self._is_paused = False
        if self._is_serving:
            self._transport.resume_reading()
            self._set_deadline()
            self.flush_soon()
        self._wake()

    def on_deadline(self) -> None:
        """End what took too long, or say the last word of a retreat."""
        if self._is_paused or not self._is_serving:
            self._transport.abort()
        elif not self._streams:
            self._close()
        elif self._life is _RETIRING:
            self._codec.finish()
            self.flush_soon()

    # ---------------------------------------------------------------- called by the worker

    def retire(self) -> None:
        """Close when nothing is under way, at once if nothing is."""
        if self._life is not _OPEN:
            return
        if not self._streams:
            self._close()
            return
        # What the client has sent before it hears of this is still served; then comes the last word (RFC 9113 §6.8).
        self._life = _RETIRING
        self._codec.warn()
        self.flush_soon()
        self._traffic.wheel.arm(self, self._traffic.linger_ticks)

    def abort(self) -> None:
        """Break off at once."""
        self._transport.abort()

    # ---------------------------------------------------------------- requests in

    def _go_on(self) -> None:
        for happening in self._codec.take():
            self._handle(happening)
        if self._codec.is_done:
            self._end()
        else:
            self.flush_soon()

    def _handle(self, happening: Happening) -> None:
        match happening:
            case Whole():
                self._waiting.append(happening)
                self._start_waiting()
            case Left(number):
                self._forget(number)
            case Begun(number):
                self._traffic.wheel.arm(self._stream(number, ""), self._traffic.body_ticks)
            case Refused(number, error, method):
                self._stream(number, method).say_no(error)
            case Broken(error):
                self._note(error)
            case _:
                assert_never(happening)

    def _start_waiting(self) -> None:
        """Start what has come, unless the client takes no answers."""
        while self._waiting and self._codec.queued() <= _BACKLOG_BYTES:
            number, request = self._waiting.popleft()
            self._stream(number, request.method).start(request, self._traffic, self._loop)

    def _stream(self, number: int, method: str) -> "Stream":
        stream = self._streams.get(number)
        if stream is None:
            stream = self._streams[number] = Stream(self, number)
            self.deadline = NEVER if self._life is _OPEN and not self._is_paused else self.deadline
        stream.method = method
        return stream

    def _forget(self, number: int) -> None:
        for whole in self._waiting:
            if whole.stream == number:
                self._waiting.remove(whole)
                self._traffic.budget.used -= len(whole.request.body)
                break
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.left()
            self._wake()
        if not self._streams and not self._waiting and (self._life is _RETIRING or self._traffic.is_draining):
            self._close()
        elif not self._streams:
            self._set_deadline()

    def _set_deadline(self) -> None:
        traffic = self._traffic
        if self._is_paused:
            traffic.wheel.arm(self, traffic.write_ticks)
        elif self._life is _RETIRING:
            traffic.wheel.arm(self, traffic.linger_ticks)
        elif self._streams:
            self.deadline = NEVER
        else:
            traffic.wheel.arm(self, traffic.idle_ticks)

    @property
    def _is_serving(self) -> bool:
        return self._life is _OPEN or self._life is _RETIRING

    # ---------------------------------------------------------------- for the streams

    @property
    def codec(self) -> Http2:
        """What turns answers into frames."""
        return self._codec

    @property
    def traffic(self) -> Traffic:
        """What this worker's connections share."""
        return self._traffic

    def flush_soon(self) -> None:
        """Write in this turn of the loop, after whatever else is still to be said in it."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def is_behind(self, number: int) -> bool:
        """Whether more is kept for this stream, or for all of them, than the limit allows."""
        if not self._is_serving or number not in self._streams:
            return False
        return self._is_paused or self._codec.queued(number) > self._traffic.limits.write_buffer_bytes

    async def moved(self) -> None:
        """Wait until something was written."""
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def turned_away(self, error: OpenMCPError, status: int) -> None:
        """Take note of a refusal that is the edge's own, before it is sent."""
        self._traffic.turned_away(self._source, error, status)

    def _note(self, error: OpenMCPError) -> None:
        self.turned_away(error, error.status)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # ---------------------------------------------------------------- bytes out

    def _flush(self) -> None:
        """Write what may be written; nothing is taken from the codec for a client that does not read."""
        self._is_flush_due = False
        if self._is_paused or not self._is_serving:
            return
        data = self._codec.output()
        if data:
            self._transport.write(data)
        for happening in self._codec.take():
            self._handle(happening)
        if self._codec.is_done:
            self._end()
        elif self._codec.queued():
            self._watch_readers()
        if self._waiting:
            self._start_waiting()
        # Only then: who waits for a client that takes nothing would ask again at once, and again.
        if data and self._waiters:
            self._wake()

    def _watch_readers(self) -> None:
        for stream in self._streams.values():
            stream.watch_reader()

    # ---------------------------------------------------------------- the end

    def _end(self) -> None:
        """End a connection that is over for one of the two: perhaps the client has broken the protocol."""
        if not self._is_serving:
            return
        if self._codec.fault is not None:
            self._note(self._codec.fault)
        self._say_last()
        self._traffic.wheel.arm(self, self._traffic.linger_ticks)
        # As in HTTP/1.1: closing with unread bytes would reset our last word away.
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _close(self) -> None:
        if not self._is_serving:
            return
        self._codec.finish()
        self._say_last()
        traffic = self._traffic
        is_flushed = self._transport.get_write_buffer_size() == 0
        traffic.wheel.arm(self, traffic.linger_ticks if is_flushed else traffic.write_ticks)
        self._transport.close()

    def _say_last(self) -> None:
        self._life = _CLOSING
        data = self._codec.output()
        if data:
            self._transport.write(data)


class Stream:
    """One request of the connection, and where its answer goes."""

    __slots__ = ("_connection", "_exchange", "_has_body", "_is_answered", "_number", "deadline", "method", "visit")

    def __init__(self, connection: Multiplexed, number: int) -> None:
        self.method = ""
        self.deadline = NEVER
        self.visit = NEVER
        self._connection = connection
        self._number = number
        self._exchange: Exchange | None = None
        self._has_body = True
        self._is_answered = False

    # ---------------------------------------------------------------- for the connection

    def start(self, request: Request, traffic: Traffic, loop: asyncio.AbstractEventLoop) -> None:
        """Have the request handled."""
        traffic.wheel.forget(self)
        exchange = Exchange(request, self)
        refusal = traffic.admit(exchange)
        if refusal is None:
            self._exchange = exchange
            exchange.start(traffic.handler, loop)
        else:
            self.say_no(refusal, request)
            traffic.dismiss(exchange)

    def say_no(self, error: OpenMCPError, request: Request | None = None) -> None:
        """Answer with a refusal of the edge."""
        answer = refusing.answer(error, request)
        self._connection.turned_away(error, answer.status)
        self.send(*answer)

    def watch_reader(self) -> None:
        """Give the client no more than its time to take an answer that is whole."""
        if self._is_answered and self.deadline == NEVER:
            traffic = self._connection.traffic
            traffic.wheel.arm(self, traffic.write_ticks)

    def left(self) -> None:
        """Take note that the stream is over."""
        self._connection.traffic.wheel.forget(self)
        if self._exchange is not None and self._exchange.is_open:
            self._exchange.client_left()

    def on_deadline(self) -> None:
        """End what took too long: a body that has not come, or an answer that is not read."""
        codec = self._connection.codec
        if self._exchange is None and not self._is_answered:
            codec.refuse(self._number, RequestTimeout())
        else:
            codec.break_off(self._number)
        self._connection.flush_soon()

    # ---------------------------------------------------------------- the Outlet

    def send(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Write a whole answer at once."""
        connection = self._connection
        self._is_answered = True
        now = connection.traffic.now
        connection.codec.respond(self._number, status, headers, body=body, date=now, method=self.method)
        connection.flush_soon()

    def open(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Write the head of an answer whose length is not known."""
        connection = self._connection
        self._has_body = answers.has_body(self.method, status)
        now = connection.traffic.now
        connection.codec.begin(self._number, status, headers, date=now, has_body=self._has_body)
        connection.flush_soon()

    def append(self, data: bytes) -> None:
        """Add to the body; it leaves with all that is added in this turn of the loop."""
        if data and self._has_body:
            self._connection.codec.append(self._number, data)
            self._connection.flush_soon()

    async def drain(self) -> None:
        """Wait while more is buffered than the limit allows."""
        connection = self._connection
        if not connection.is_behind(self._number):
            return
        wheel = connection.traffic.wheel
        wheel.arm(self, connection.traffic.write_ticks)
        while connection.is_behind(self._number):
            connection.flush_soon()
            await connection.moved()
        wheel.forget(self)

    def finish(self) -> None:
        """End the body."""
        self._is_answered = True
        if self._has_body:
            self._connection.codec.end(self._number)
        self._connection.flush_soon()

    def abort(self) -> None:
        """Break off, so that the client sees that the answer is not whole; its other streams go on."""
        self._connection.codec.break_off(self._number)
        self._connection.flush_soon()

    def turned_away(self, error: OpenMCPError, status: int) -> None:
        """Take note of a refusal that is the edge's own, before it is sent."""
        self._connection.turned_away(error, status)

    def exchange_ended(self, exchange: Exchange) -> None:
        """Take note that the handler has returned; the stream ends when the client has its answer."""
        self._exchange = None
        self._connection.traffic.dismiss(exchange)


_timed: tuple[type[Timed], type[Timed]] = (Multiplexed, Stream)
_outlet: type[Outlet] = Stream
_closable: type[Closable] = Multiplexed
