"""A worker on a free port of loopback, and a client that sends exactly the bytes it is told and reads answers with h11.

h11 is the judge: an answer that it does not take is wrong, whoever else would.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import h11
import msgspec

from openmcp.model.http import Request, Wire
from openmcp.server.exchange import Handler
from openmcp.server.limits import ListenerLimits
from openmcp.server.listener import ListenerConfig
from openmcp.server.traffic import OnRefusal
from openmcp.server.worker import Worker

WAIT_S = 10.0
JSON = (("Content-Type", "application/json"),)
STREAM = (("Content-Type", "text/event-stream"),)

QUICK = ListenerLimits(tick_s=0.02)
"""The limits of production, on a clock that is looked at often."""


class Answer(NamedTuple):
    """One answer, as h11 read it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The JSON-RPC error that the body holds."""
        error: dict[str, Any] = msgspec.json.decode(self.body)["error"]
        return error

    @property
    def reason(self) -> str:
        """The kind of the refusal."""
        reason: str = self.error["data"]["reason"]
        return reason


class Client:
    """One raw connection to a worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._rest = b""

    async def send(self, data: bytes) -> None:
        """Send these bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, method: str = "POST") -> Answer:
        """Return the next answer, read to its end."""
        judge = h11.Connection(h11.CLIENT)
        judge.send(h11.Request(method=method, target="/", headers=[("Host", "judge")]))
        judge.send(h11.EndOfMessage())
        if self._rest:
            judge.receive_data(self._rest)
        response: h11.Response | None = None
        body = bytearray()
        async with asyncio.timeout(WAIT_S):
            while True:
                match event := judge.next_event():
                    case h11.Response():
                        response = event
                    case h11.Data():
                        body += event.data
                    case h11.EndOfMessage():
                        self._rest = judge.trailing_data[0]
                        assert response is not None
                        headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
                        return Answer(response.status_code, headers, bytes(body))
                    case h11.NEED_DATA:
                        judge.receive_data(await self.reader.read(1 << 16))
                    case h11.InformationalResponse():
                        pass
                    case _:
                        raise AssertionError(f"the connection ended without an answer: {event!r}")

    async def read(self, size: int = 1 << 16) -> bytes:
        """Return what comes next, as it is; empty at the end."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.read(size)

    async def read_until(self, separator: bytes) -> bytes:
        """Return everything up to and including `separator`."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readuntil(separator)

    async def rest(self) -> bytes:
        """Return everything until the server ends the connection."""
        async with asyncio.timeout(WAIT_S):
            return self._rest + await self.reader.read()

    def leave(self) -> None:
        """Disconnect at once."""
        self.writer.transport.abort()


class Recording:
    """A handler that answers with what it was asked, and remembers it."""

    def __init__(self, body: bytes | None = None) -> None:
        """`body`: answer with this instead."""
        self.requests: list[Request] = []
        self._body = body

    async def __call__(self, request: Request, wire: Wire) -> None:
        """Answer 200 with the body."""
        self.requests.append(request)
        wire.respond(200, JSON, request.body if self._body is None else self._body)


class Gate:
    """A handler that waits until it is let through, and tells what became of it."""

    def __init__(self, *, outlives_client: bool = False) -> None:
        self.has_begun = asyncio.Event()
        self.open = asyncio.Event()
        self.has_ended = asyncio.Event()
        self.was_cancelled = False
        self.running = 0
        self.most_running = 0
        self._outlives_client = outlives_client

    async def __call__(self, request: Request, wire: Wire) -> None:
        """Answer 200 with the body once the gate is open."""
        wire.outlives_client = self._outlives_client
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.has_begun.set()
        try:
            await self.open.wait()
            wire.respond(200, JSON, request.body)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        finally:
            self.running -= 1
            self.has_ended.set()


async def within(waiting: Awaitable[object]) -> None:
    """Wait, but not for ever."""
    await asyncio.wait_for(waiting, WAIT_S)


async def eventually(is_so: Callable[[], bool]) -> None:
    """Wait until it is so, where nothing tells."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.005)


def listening(**settings: Any) -> ListenerConfig:
    """Return the only listener of a worker, on loopback."""
    return ListenerConfig(**{"name": "public", "host": "127.0.0.1", "port": 0, **settings})


@asynccontextmanager
async def edge(
    handler: Handler,
    limits: ListenerLimits = QUICK,
    *,
    drain_timeout_s: float = 5.0,
    on_refusal: OnRefusal | None = None,
    client_cas: Callable[[], bytes] = bytes,
    on_handshake_failure: Callable[[str, str], None] = lambda listener, reason: None,
    **listener: Any,
) -> AsyncIterator[Worker]:
    """Give a worker that serves `handler`; closed at the end."""
    worker = Worker(
        [listening(**listener)],
        limits,
        handler,
        drain_timeout_s=drain_timeout_s,
        on_refusal=on_refusal,
        client_cas=client_cas,
        on_handshake_failure=on_handshake_failure,
    )
    await worker.start()
    try:
        yield worker
    finally:
        await worker.close()


@asynccontextmanager
async def connected(
    worker: Worker, *, limit: int = 1 << 16, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Client]:
    """Give a client that is connected to the worker's only listener."""
    (host, port), *_ = worker.addresses.values()
    reader, writer = await asyncio.open_connection(
        host, port, limit=limit, ssl=tls, server_hostname="localhost" if tls else None
    )
    client = Client(reader, writer)
    try:
        yield client
    finally:
        client.leave()


def post(body: bytes = b"{}", *headers: str, target: str = "/x", length: bool = True) -> bytes:
    """Return a valid POST with these further header lines."""
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
