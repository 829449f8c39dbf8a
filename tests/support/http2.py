"""An HTTP/2 client for tests: the h2 library over a real socket. What h2 does not take is wrong, whoever else would.

h2 is also the second engine behind the gateway's own codec: `H2Engine` gives it the same events.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

from openmcp.server.worker import Worker
from tests.support.edge import WAIT_S, Answer

Fields = Sequence[tuple[str, str]]

POST: Fields = (
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", "/x"),
    ("content-type", "application/json"),
)


def head(method: str = "POST", path: str = "/x", *fields: tuple[str, str], authority: str = "localhost") -> Fields:
    """The head of a request."""
    return ((":method", method), (":scheme", "http"), (":authority", authority), (":path", path), *fields)


@dataclass
class Heard:
    """What has come on one stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytearray = field(default_factory=bytearray)
    is_ended: bool = False
    reset: int | None = None
    """The error code of an RST_STREAM."""


class H2Client:
    """One connection to a worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reads: bool) -> None:
        self.reader = reader
        self.writer = writer
        config = H2Configuration(
            client_side=True,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            header_encoding="utf-8",
        )
        self.h2 = H2Connection(config)
        self.heard: dict[int, Heard] = defaultdict(Heard)
        self.goaway: events.ConnectionTerminated | None = None
        self.pongs = 0
        self.is_over = False
        self._reads = reads
        """Whether windows are opened again as data comes."""

    async def start(self, window: int | None = None) -> None:
        self.h2.initiate_connection()
        await self.flush()
        if window is not None:
            self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
            await self.ping()

    async def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    async def send(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, fields: Fields = POST, body: bytes | None = b"{}", *, ends: bool = True) -> int:
        """Begin a request and return its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, fields, end_stream=body is None and ends)
        if body is not None:
            await self.body(stream, body, ends=ends)
        await self.flush()
        return stream

    async def body(self, stream: int, data: bytes, *, ends: bool) -> None:
        """Send a body, as the windows allow."""
        while True:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data))
            if room or not data:
                self.h2.send_data(stream, data[:room], end_stream=ends and room == len(data))
                data = data[room:]
                await self.flush()
                if not data:
                    return
            else:
                await self.hear()

    async def hear(self) -> bool:
        """Read once and take note of what has come; false at the end."""
        async with asyncio.timeout(WAIT_S):
            data = await self.reader.read(1 << 16)
        if not data:
            self.is_over = True
            return False
        for event in self.h2.receive_data(data):
            self._note(event)
        await self.flush()
        return True

    def _note(self, event: events.Event) -> None:
        match event:
            case events.ResponseReceived(stream_id=stream, headers=fields):
                heard = self.heard[stream]
                heard.headers = {str(name): str(value) for name, value in fields}
                heard.status = int(heard.headers.pop(":status"))
            case events.DataReceived(stream_id=stream, data=data, flow_controlled_length=size):
                self.heard[stream].body += data
                if self._reads and size:
                    self.h2.acknowledge_received_data(size, stream)
            case events.StreamEnded(stream_id=stream):
                self.heard[stream].is_ended = True
            case events.StreamReset(stream_id=stream, error_code=code):
                self.heard[stream].reset = int(code)
            case events.ConnectionTerminated():
                self.goaway = event
                # h2 hears nothing more after it, but streams under way go on (RFC 9113 §6.8).
                self.h2.state_machine.state = ConnectionState.CLIENT_OPEN
            case events.PingAckReceived():
                self.pongs += 1
            case _:
                pass

    async def answer(self, stream: int) -> Answer:
        """Return the answer of a stream, read to its end."""
        heard = self.heard[stream]
        while not heard.is_ended:
            assert heard.reset is None, f"reset with {heard.reset}"
            assert await self.hear(), "the connection ended without an answer"
        return Answer(heard.status, heard.headers, bytes(heard.body))

    async def call(self, fields: Fields = POST, body: bytes | None = b"{}") -> Answer:
        """Ask and wait for the answer."""
        return await self.answer(await self.ask(fields, body))

    async def until_reset(self, stream: int) -> int:
        """Return the error code with which a stream is reset."""
        heard = self.heard[stream]
        while heard.reset is None:
            assert await self.hear(), "the connection ended without a reset"
        return heard.reset

    async def until_over(self) -> None:
        """Read until the server ends the connection."""
        try:
            while await self.hear():
                pass
        except ConnectionError:
            self.is_over = True

    async def ping(self) -> None:
        """Wait until all that was sent before has been dealt with."""
        before = self.pongs
        self.h2.ping(b"12345678")
        await self.flush()
        while self.pongs == before:
            assert await self.hear(), "the connection ended without an answer to a ping"

    async def reset(self, stream: int, code: int = ErrorCodes.CANCEL) -> None:
        """Take a request back."""
        self.h2.reset_stream(stream, code)
        await self.flush()

    def leave(self) -> None:
        """Disconnect at once."""
        self.writer.transport.abort()


@asynccontextmanager
async def speaking_http2(
    worker: Worker,
    *,
    tls: ssl.SSLContext | None = None,
    reads: bool = True,
    window: int | None = None,
) -> AsyncIterator[H2Client]:
    """Give a client that speaks HTTP/2 with the worker's only listener, by prior knowledge where there is no TLS."""
    (host, port), *_ = worker.addresses.values()
    if tls is not None:
        tls.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(
        host, port, ssl=tls, server_hostname="localhost" if tls is not None else None
    )
    client = H2Client(reader, writer, reads=reads)
    await client.start(window)
    try:
        yield client
    finally:
        client.leave()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame, whether it makes sense or not."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def frames(*parts: bytes | Iterable[bytes]) -> bytes:
    """Several frames in one piece."""
    return b"".join(part if isinstance(part, bytes) else b"".join(part) for part in parts)


# ---------------------------------------------------------------- a replica


@dataclass
class H2Asked:
    """One request as the replica read it."""

    stream: int
    fields: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False

    def field(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self.fields if key == name]


class H2Peer:
    """One accepted connection, seen from the replica."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streams: int, asked: list[H2Asked]
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: streams})
        self.resets: dict[int, int] = {}
        self._streams: dict[int, H2Asked] = {}
        self._whole: list[H2Asked] = []
        self._asked = asked

    async def start(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())
        await self.writer.drain()

    async def hear(self) -> None:
        """Read once. Raises: IncompleteReadError when the gateway closed instead."""
        data = await self.reader.read(1 << 16)
        if not data:
            raise asyncio.IncompleteReadError(b"", None)
        for event in self.h2.receive_data(data):
            match event:
                case events.RequestReceived(stream_id=stream, headers=fields):
                    self._streams[stream] = H2Asked(stream, [(str(name), str(value)) for name, value in fields])
                case events.DataReceived(stream_id=stream, data=data, flow_controlled_length=size):
                    self._streams[stream].body += data
                    self.h2.acknowledge_received_data(size, stream)
                case events.StreamEnded(stream_id=stream):
                    self._whole.append(self._streams[stream])
                case events.StreamReset(stream_id=stream, error_code=code):
                    self.resets[stream] = int(code)
                case _:
                    pass
        await self.flush()

    async def request(self) -> H2Asked:
        """The next whole request."""
        while not self._whole:
            await self.hear()
        asked = self._whole.pop(0)
        self._asked.append(asked)
        return asked

    async def answer(self, asked: H2Asked, body: bytes, *fields: tuple[str, str], status: str = "200") -> None:
        """Answer at once."""
        await self.begin(asked, *(fields or (("content-type", "application/json"),)), status=status)
        await self.data(asked, body, ends=True)

    async def begin(self, asked: H2Asked, *fields: tuple[str, str], status: str = "200") -> None:
        self.h2.send_headers(asked.stream, [(":status", status), *fields])
        await self.flush()

    async def data(self, asked: H2Asked, data: bytes, *, ends: bool = False) -> None:
        """Send as the windows allow."""
        while True:
            room = min(self.h2.local_flow_control_window(asked.stream), 16_384, len(data))
            if room or not data:
                self.h2.send_data(asked.stream, data[:room], end_stream=ends and room == len(data))
                data = data[room:]
                await self.flush()
                if not data:
                    return
            else:
                await self.hear()

    async def reset(self, asked: H2Asked, code: int) -> None:
        self.h2.reset_stream(asked.stream, code)
        await self.flush()

    async def until_reset(self, asked: H2Asked) -> int:
        while asked.stream not in self.resets:
            await self.hear()
        return self.resets[asked.stream]

    async def goaway(self, last: int) -> None:
        """Say that nothing behind `last` was read, and go on with the rest."""
        self.writer.write(frame(7, 0, 0, last.to_bytes(4) + bytes(4)))
        await self.writer.drain()
