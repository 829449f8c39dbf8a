"""One HTTP/2 connection to a replica: frames out, any number of answers in, side by side.

Does for many exchanges what `http1` does for one; used by `pool`, which owns connections,
and `client`, which starts exchanges on them. Checks what nghttp2 leaves unchecked; knows
nothing of retries, redirects or MCP.

A reader that is behind holds up its own stream and no other: its replica gets no credit
for it, and the connection's credit is as large as that of all its streams.
"""

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import NoReturn, Protocol, cast

import ngh2
from ngh2 import ErrorCode, Setting

from openmcp import errors
from openmcp.model.server import Server
from openmcp.upstream.deadlines import Deadlines
from openmcp.upstream.http1 import HEAD_BYTES, INTERIM_CAP, LISTS, framing_fault, media_type, wanted_name
from openmcp.upstream.reply import Reply

STREAMS_CAP = 100
"""Exchanges on one connection, if the replica takes as many; the next one gets another connection."""

STREAM_WINDOW_BYTES = 256 << 10
"""What may come of one answer before its reader has taken some."""

PING_S = 15.0
"""Silence after which a connection with exchanges is asked whether it is alive, and after as long again given up."""

_CONFIGURATION = ngh2.Configuration(
    auto_window_update=False,
    peer_max_concurrent_streams=STREAMS_CAP,
    max_outbound_ack=200,
    max_inbound_header_list_size=HEAD_BYTES,
    max_inbound_header_count=512,
)
_SETTINGS = {Setting.ENABLE_PUSH: 0, Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES}


class Owner(Protocol):
    """Who keeps connections."""

    def opened(self, connection: "Connection", transport: asyncio.BaseTransport) -> None:
        """The connection was made."""

    def lost(self, connection: "Connection") -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """A transport, the frames on it, and the replies that are being filled."""

    __slots__ = (
        "_deadlines", "_engine", "_greeting", "_idle_s", "_is_flush_due", "_is_paused", "_is_pinged", "_is_retiring",
        "_last_byte", "_loop", "_owner", "_streams", "_transport", "deadline", "slot", "url",
    )  # fmt: skip

    def __init__(self, url: str, owner: Owner, *, deadlines: Deadlines, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self.deadline = 0.0
        self.slot = 0
        self._owner = owner
        self._deadlines = deadlines
        self._loop = loop
        self._engine = ngh2.Connection(ngh2.Role.CLIENT, _CONFIGURATION)
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, Stream] = {}
        self._last_byte = self._idle_s = 0.0
        self._is_flush_due = self._is_paused = self._is_pinged = self._is_retiring = False
        self._greeting: asyncio.Future[bool] = loop.create_future()

    async def greeted(self) -> bool:
        """Wait until the replica has said how many exchanges it takes; false if it leaves instead.

        A stream too many would be refused, and nothing is sent again of which a byte has left.
        """
        return await asyncio.shield(self._greeting)

    # ------------------------------------------------------------ for the client

    @property
    def is_usable(self) -> bool:
        """Whether another exchange may begin now."""
        if self._transport is None or self._transport.is_closing() or self._is_retiring:
            return False
        room = self._engine.remote_settings.get(Setting.MAX_CONCURRENT_STREAMS, STREAMS_CAP)
        if len(self._streams) >= min(room, STREAMS_CAP) or not self._engine.can_send_request:
            return False
        return bool(self._streams) or self.deadline > self._loop.time()

    def begin(self, reply: Reply, data: bytes, *, server: Server) -> None:
        """Write a whole request, which is given as HTTP/1.1 has it; the answer goes to `reply`."""
        fields, body = translate(data, "https" if reply.replica.is_tls else "http")
        number = self._engine.send_request(fields, end_stream=not body)
        if body:
            self._engine.send_data(number, body, end_stream=True)
        if not self._streams:
            self._last_byte = self._loop.time()
            self._is_pinged = False
            self._deadlines.watch(self, self._last_byte + PING_S)
        self._idle_s = server.idle_connection_s
        self._streams[number] = Stream(self, number, reply, server, deadlines=self._deadlines, loop=self._loop)
        self.flush_soon()

    def abandon(self, reply: Reply) -> None:
        """Cut the exchange off if it still runs: for the server that is the client's disconnect."""
        for number, stream in self._streams.items():
            if stream.reply is reply:
                self.cut(number)
                return

    def close(self) -> None:
        """Close at once; exchanges under way fail."""
        if self._transport and not self._transport.is_closing():
            self._transport.abort()

    def expire(self, now: float) -> None:
        """Close what nobody needs, and ask whether a silent replica is still there."""
        if not self._streams:
            self.close()
        elif now - self._last_byte < PING_S:
            self._is_pinged = False
            self._deadlines.watch(self, self._last_byte + PING_S)
        elif self._is_pinged:
            self._break_off("the replica does not answer a ping")
        else:
            self._is_pinged = True
            self._engine.ping()
            self.flush_soon()
            self._deadlines.watch(self, now + PING_S)

    # ------------------------------------------------------------ for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._last_byte = self._loop.time()
        # Until its first exchange, which comes at once; a moment is left for those that wait to share it.
        self.deadline = self._last_byte + 1.0
        self._engine.initiate_connection(_SETTINGS)
        self._engine.set_local_window_size(STREAMS_CAP * STREAM_WINDOW_BYTES)
        self._owner.opened(self, transport)
        self.flush_soon()

    def data_received(self, data: bytes) -> None:
        self._last_byte = self._loop.time()
        try:
            self._engine.receive_data(data)
            self._read_events()
        except ngh2.NGH2Error as error:
            # What was whole before it is good.
            self._read_events()
            self._break_off(str(error), errors.UpstreamBroken)
        else:
            self.flush_soon()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self.flush_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        self._break_off("connection closed" + (f": {exc}" if exc else ""))
        self._deadlines.forget(self)
        self._greet(is_there=False)
        self._owner.lost(self)

    # ------------------------------------------------------------ for the streams

    def flush_soon(self) -> None:
        """Write in this turn of the loop, together with what other streams have to say."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def credit(self, number: int, size: int) -> None:
        """Let the replica send as much again."""
        try:
            self._engine.acknowledge_received_data(size, number)
        except ngh2.NGH2Error:
            return  # The connection ends; what has come is still read.
        self.flush_soon()

    def cut(self, number: int) -> None:
        """Forget a stream and tell the replica."""
        self._forget(number)
        if self._transport and not self._transport.is_closing():
            try:
                self._engine.reset_stream(number, ErrorCode.CANCEL)
            except ngh2.NGH2Error:
                return  # The connection ends anyway.
            self.flush_soon()

    # ------------------------------------------------------------ inside

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._is_paused or self._transport is None or self._transport.is_closing():
            return
        try:
            data = self._engine.data_to_send()
            self._read_events()
        except ngh2.NGH2Error as error:
            self._break_off(str(error))
            return
        if data:
            self._transport.write(data)

    def _read_events(self) -> None:
        for event in self._engine.events():
            match event:
                case ngh2.DataReceived():
                    self._on_data(event)
                case ngh2.ResponseReceived():
                    self._on_head(event.stream_id, event.headers, is_final=True, ends=event.end_stream)
                case ngh2.InformationalResponseReceived():
                    self._on_head(event.stream_id, event.headers, is_final=False, ends=False)
                case ngh2.SettingsReceived():
                    self._greet(is_there=True)
                case ngh2.TrailersReceived():
                    # What they say is not wanted, and nothing comes behind them.
                    self._end(event.stream_id)
                case ngh2.StreamClosed():
                    self._on_close(event)
                case ngh2.GoAwayReceived():
                    self._on_goaway(event)
                case ngh2.ConnectionClosed():
                    self._break_off(f"connection ended with error {event.error_code}")
                case _:
                    pass  # Pings and windows are the engine's.

    def _greet(self, *, is_there: bool) -> None:
        if not self._greeting.done():
            self._greeting.set_result(is_there)

    def _on_head(self, number: int, headers: Sequence[tuple[bytes, bytes]], *, is_final: bool, ends: bool) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        try:
            stream.head(headers, is_final=is_final)
        except errors.UpstreamBroken as error:
            self._fail(stream, error)
            return
        if ends:
            self._end(number)

    def _on_data(self, event: ngh2.DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            if event.data:
                self.credit(event.stream_id, len(event.data))
            return
        try:
            stream.received(event.data)
        except errors.UpstreamBroken as error:
            self._fail(stream, error)
            return
        if event.end_stream:
            self._end(stream.number)

    def _on_close(self, event: ngh2.StreamClosed) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        self._forget(event.stream_id)
        if event.error_code == ErrorCode.REFUSED_STREAM:
            stream.reply.failed(self._refused())
        else:
            cause = f"reset with error {event.error_code}" if event.error_code else "ended without an answer"
            stream.reply.failed(errors.OutcomeUnknown(detail=f"{self.url}: {cause}"))

    def _on_goaway(self, event: ngh2.GoAwayReceived) -> None:
        """Begin nothing more here; what came too late for the replica was not read by it (RFC 9113 §6.8)."""
        self._is_retiring = True
        for number in [number for number in self._streams if number > event.last_stream_id]:
            stream = self._streams[number]
            self._forget(number)
            stream.reply.failed(self._refused())
        self._rest_if_free()

    def _refused(self) -> errors.UpstreamFailed:
        # Not "unreachable": that would send it again, and nothing is sent again of which a byte has left.
        return errors.UpstreamFailed(detail=f"{self.url}: the replica refused the request without reading it")

    def _fail(self, stream: "Stream", error: errors.UpstreamFailed) -> None:
        self.cut(stream.number)
        stream.reply.failed(error)

    def _end(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        if not stream.is_open:
            self._fail(stream, errors.UpstreamBroken(detail=f"{self.url}: an answer ended before it began"))
            return
        self._forget(number)
        stream.reply.ended()

    def _forget(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            self._deadlines.forget(stream)
            stream.settle()
            self._rest_if_free()

    def _rest_if_free(self) -> None:
        if self._streams:
            return
        if self._is_retiring:
            self.close()
        else:
            self._deadlines.forget(self)
            self._deadlines.watch(self, self._last_byte + self._idle_s)

    def _break_off(self, fault: str, kind: type[errors.UpstreamFailed] = errors.OutcomeUnknown) -> None:
        streams, self._streams = self._streams, {}
        self.close()
        for stream in streams.values():
            self._deadlines.forget(stream)
            stream.reply.failed(kind(detail=f"{self.url}: {fault}"))


class Stream:
    """One exchange on the connection: what has come of its answer, and how long it may still take."""

    __slots__ = (
        "_connection", "_deadlines", "_interim", "_last_byte", "_loop", "_owed", "_response_s", "_stream_idle_s",
        "deadline", "is_open", "number", "reply", "slot",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        number: int,
        reply: Reply,
        server: Server,
        *,
        deadlines: Deadlines,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.number = number
        self.reply = reply
        self.is_open = False
        """Whether the head of the final answer is there."""

        self.deadline = 0.0
        self.slot = 0
        self._connection = connection
        self._deadlines = deadlines
        self._loop = loop
        self._interim = self._owed = 0
        self._response_s = server.timeouts.response_s
        self._stream_idle_s = server.timeouts.stream_idle_s
        self._last_byte = loop.time()
        deadlines.watch(self, self._last_byte + self._response_s)

    def head(self, headers: Sequence[tuple[bytes, bytes]], *, is_final: bool) -> None:
        """Take a head. Raises: UpstreamBroken."""
        self._last_byte = self._loop.time()
        if not is_final:
            self._interim += 1
            if self._interim > INTERIM_CAP:
                self._refuse("too many interim answers")
            return
        reply = self.reply
        status, fields = self._read(headers)
        # The engine has seen to the framing; what is left are the rules of content that both versions share.
        if fault := framing_fault(status, "1.1", fields):
            self._refuse(fault)
        self.is_open = True
        reply.opened(status, fields, content_type=media_type(fields.get("content-type", "")))
        if not reply.is_stream and int(fields.get("content-length", "0")) > reply.max_bytes:
            self._refuse(f"body longer than {reply.max_bytes} bytes")
        wait_s = min(self._stream_idle_s, reply.tick_s) if reply.is_stream else self._response_s
        self._deadlines.watch(self, self._last_byte + wait_s)

    def received(self, data: bytes) -> None:
        """Take a piece of the body. Raises: UpstreamBroken."""
        self._last_byte = self._loop.time()
        if not data:
            return
        self.reply.received(data)
        self._owed += len(data)
        if self.reply.is_full:
            self.reply.paused(self)
        else:
            self.resume()

    def resume(self) -> None:
        """Let more come: the reader has taken what was there."""
        owed, self._owed = self._owed, 0
        self._last_byte = self._loop.time()
        if owed:
            self._connection.credit(self.number, owed)

    def settle(self) -> None:
        """Take leave of the connection: what is still to be read is here already."""
        self._owed = 0

    def expire(self, now: float) -> None:
        """Give up waiting, or give a stream's reader its tick."""
        reply, url = self.reply, self._connection.url
        if not reply.is_stream:
            text = f"{url}: no answer within {self._response_s:g} s"
        else:
            # A stream without credit is silent because nobody listens.
            silent_at = (now if reply.is_full else self._last_byte) + self._stream_idle_s
            if silent_at > now:
                self._deadlines.watch(self, min(silent_at, reply.tick(now)))
                return
            text = f"{url}: silent for {self._stream_idle_s:g} s"
        self._connection.cut(self.number)
        reply.failed(errors.UpstreamTimeout(detail=text))

    def _read(self, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, dict[str, str]]:
        status, fields = 0, dict[str, str]()
        for name, value in headers:
            wanted = wanted_name(name)
            if name == b":status":
                status = int(value)
            elif not wanted:
                continue
            elif wanted not in fields:
                fields[wanted] = value.decode("latin-1").strip(" \t")
            elif wanted in LISTS:
                fields[wanted] += ", " + value.decode("latin-1")
            else:
                self._refuse(f"field {wanted} came twice")
        return status, fields

    def _refuse(self, fault: str) -> NoReturn:
        raise errors.UpstreamBroken(detail=f"{self._connection.url}: {fault}")


def translate(data: bytes, scheme: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the fields and the body of a request as HTTP/1.1 has it, which was made, and judged, for both versions."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.split(b"\r\n")
    method, target, _ = line.split(b" ")
    authority = b""
    fields: list[tuple[bytes, bytes]] = []
    for raw in rest:
        name, _, value = raw.partition(b": ")
        name = _lower(name)
        if name == b"host":
            authority = value
        else:
            # Not kept in the compression's table: nobody should be able to find out a secret by trying (RFC 7541 §7.1).
            fields.append(ngh2.NeverIndexedHeader(name, value) if name == b"authorization" else (name, value))
    pseudo = [(b":method", method), (b":scheme", scheme.encode()), (b":authority", authority), (b":path", target)]
    return pseudo + fields, body


@lru_cache(maxsize=1024)
def _lower(name: bytes) -> bytes:
    return name.lower()
