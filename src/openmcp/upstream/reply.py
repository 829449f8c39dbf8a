"""What comes back from a replica: a whole body, or events as they arrive.

Made by `client`, filled by `http1`, read by the gateway. Holds at most one body of
`message_bytes`, or what a slow reader of a stream has not taken yet; beyond that the
connection below is paused. Knows neither sockets nor what a message means.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Protocol

from openmcp import errors
from openmcp.mcp import sse
from openmcp.model.server import Replica, Server

EVENT_STREAM = "text/event-stream"

BUFFER_BYTES = 64 << 10
"""Beyond this much unread stream the connection is paused; one read of the socket (256 KiB) may come on top."""

BUFFER_CHUNKS = 512
"""The same for many small reads, whose bookkeeping weighs more than their bytes."""

DECODE_BYTES = 32 << 10
"""How much is decoded at a time: tiny events weigh far more as objects than as bytes."""


class Flow(Protocol):
    """The reading side of the connection that fills a reply."""

    def resume(self) -> None:
        """Read on."""


class Reply:
    """One answer of a replica. Read either `body()` or `events()`, inside the context that gave it."""

    # Most replies are one body in one read: what they do not need is not made for each of them.
    status = 0
    content_type = ""
    """Media type without parameters, lower-case; `""` if none was said."""
    is_stream = False
    _error: errors.UpstreamFailed | None = None
    _is_settled = False
    _is_ended = False
    _body: bytes | bytearray = b""
    _flow: Flow | None = None
    _waiter: asyncio.Future[bool] | None = None
    _waiting_since = 0.0
    _buffered = 0
    _decoder: sse.Decoder | None = None
    _chunks: deque[bytes]
    _ready: deque[sse.Event]
    _fields: Mapping[str, str]

    def __init__(self, replica: Replica, server: Server, *, loop: asyncio.AbstractEventLoop, tick_s: float) -> None:
        self.replica = replica
        self.max_bytes = server.message_bytes
        self.tick_s = tick_s
        self._loop = loop

    # ------------------------------------------------------------ for the gateway

    def header(self, name: str) -> str | None:
        """The value of `Mcp-Session-Id`, `Allow`, `Cache-Control` or `Location`; `None` = not sent, or another name."""
        return self._fields.get(name.lower())

    @property
    def body_bytes(self) -> int:
        """Length of the body of an answer that is no stream."""
        return len(self._body)

    @property
    def comments(self) -> int:
        """Heartbeats of the stream so far."""
        return self._decoder.comments if self._decoder is not None else 0

    async def body(self) -> bytes:
        """The whole body of an answer that is no stream; it has arrived before the context was entered."""
        if self.is_stream:
            raise errors.UpstreamBroken(detail=f"{self.replica.url}: a stream came where one message was awaited")
        return bytes(self._body)

    def events(self) -> AsyncIterator[sse.Event | None]:
        """The events of a stream as they complete; `None` after each `tick_s` without one.

        Raises (while iterating):
            OutcomeUnknown: the stream was cut.
            UpstreamTimeout: nothing came for the server's `stream_idle_s`.
            UpstreamBroken: an event is longer than `message_bytes`, or the framing is bad.
        """
        if not self.is_stream:
            raise errors.UpstreamBroken(detail=f"{self.replica.url}: no stream came where one was awaited")
        self._decoder = self._decoder or sse.Decoder(self.max_bytes)
        return _Events(self)

    # ------------------------------------------------------------ for the client

    async def settled(self) -> None:
        """Return when the head of a stream, or the whole of any other answer, is there. Raises: UpstreamFailed."""
        if not self._is_settled:
            self._waiter = self._loop.create_future()
            await self._waiter
            self._waiter = None
        if self._error and not self.is_stream:
            raise self._error

    # ------------------------------------------------------------ for the connection

    @property
    def is_full(self) -> bool:
        """Whether the reader is behind by as much as may be kept for it."""
        return self.is_stream and (self._buffered >= BUFFER_BYTES or len(self._chunks) >= BUFFER_CHUNKS)

    def opened(self, status: int, fields: Mapping[str, str], *, content_type: str) -> None:
        """Take the head of the final answer."""
        self.status = status
        self._fields = fields
        self.content_type = content_type
        if content_type == EVENT_STREAM:
            self.is_stream = True
            self._chunks, self._ready = deque(), deque()
            self._is_settled = True
            self._wake(True)

    def received(self, data: bytes) -> None:
        """Take a piece of the body.

        Raises:
            UpstreamBroken: a body that is no stream is longer than `message_bytes`.
        """
        if self.is_stream:
            self._buffered += len(data)
            if len(data) <= DECODE_BYTES:
                self._chunks.append(data)
            else:
                self._chunks.extend(data[i : i + DECODE_BYTES] for i in range(0, len(data), DECODE_BYTES))
            self._wake(True)
            return
        if len(self._body) + len(data) > self.max_bytes:
            raise errors.UpstreamBroken(detail=f"{self.replica.url}: body longer than {self.max_bytes} bytes")
        if not self._body:
            self._body = data
        elif isinstance(self._body, bytearray):
            self._body += data
        else:
            self._body = bytearray(self._body) + data

    def paused(self, flow: Flow) -> None:
        """Reading stopped because this reply `is_full`; `flow` is to be resumed when it is not."""
        self._flow = flow

    def ended(self) -> None:
        """The answer is complete."""
        self._flow = None
        self._is_ended = self._is_settled = True
        self._wake(True)

    def failed(self, error: errors.UpstreamFailed) -> None:
        """The answer will never be complete."""
        self._error = error
        self.ended()

    def tick(self, now: float) -> float:
        """Give the reader its tick if one is due; returns when the next may be."""
        if self._waiter is None:
            return now + self.tick_s
        due = self._waiting_since + self.tick_s
        if due > now:
            return due
        self._wake(False)
        return now + self.tick_s

    # ------------------------------------------------------------ inside

    async def next_event(self) -> sse.Event | None:
        """The next event, or `None` for a tick. Raises: StopAsyncIteration at the end; UpstreamFailed."""
        if self._ready:
            return self._ready.popleft()
        self._waiting_since = self._loop.time()
        while not self._decode():
            if self._is_ended:
                if self._error:
                    raise self._error
                raise StopAsyncIteration
            if not await self._wait():
                return None
        return self._ready.popleft()

    def _decode(self) -> bool:
        """Whether events are ready after decoding what has arrived, no more of it than needed."""
        while self._chunks:
            self._ready.extend(self._feed(self._take()))
            if self._ready:
                return True
        return False

    def _take(self) -> bytes:
        chunk = self._chunks.popleft()
        self._buffered -= len(chunk)
        if self._flow and not self._chunks:
            self._flow.resume()
            self._flow = None
        return chunk

    def _feed(self, chunk: bytes) -> list[sse.Event]:
        assert self._decoder
        try:
            return self._decoder.feed(chunk)
        except errors.UpstreamBroken as error:
            self._chunks.clear()
            self._error = errors.UpstreamBroken(detail=f"{self.replica.url}: {error.detail}")
            self._is_ended = True
            raise self._error from None

    async def _wait(self) -> bool:
        """Wait for the connection: true = something came, false = a tick."""
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _wake(self, has_news: bool) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(has_news)


class _Events:
    """The asynchronous iterator over a reply's events; a generator would need closing where a reader leaves early."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __aiter__(self) -> AsyncIterator[sse.Event | None]:
        return self

    def __anext__(self) -> Coroutine[None, None, sse.Event | None]:
        return self._reply.next_event()
