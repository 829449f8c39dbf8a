"""A replica whose every byte is written by the test, and what is needed to ask it something."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from openmcp.mcp import message, revisions
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Permitted
from openmcp.model.server import Authentication, Replica, Server
from openmcp.upstream.client import Client

WAIT_S = 10.0
"""Bound on every wait; reached only where a test fails."""

RESULT = b'{"jsonrpc":"2.0","id":1,"result":{}}'


def answer(body: bytes = RESULT, *fields: str, status: str = "200 OK") -> bytes:
    """A whole answer with a JSON body."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@dataclass
class Asked:
    """One request as the replica read it."""

    head: str
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split("\r\n")[0]

    def field(self, name: str) -> list[str]:
        """All values of a field."""
        pairs = [line.partition(": ") for line in self.head.split("\r\n")[1:]]
        return [value for key, _, value in pairs if key.lower() == name.lower()]


class Peer:
    """One accepted connection, seen from the replica."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[Asked]) -> None:
        self._reader = reader
        self.writer = writer
        self._asked = asked

    async def request(self) -> Asked:
        """Read one request. Raises: IncompleteReadError when the gateway closed instead."""
        head = (await self._reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1")
        asked = Asked(head, b"")
        if length := asked.field("content-length"):
            asked.body = await self._reader.readexactly(int(length[0]))
        self._asked.append(asked)
        return asked

    async def head_only(self) -> None:
        """Read the head and leave the body where it is."""
        await self._reader.readuntil(b"\r\n\r\n")

    async def send(self, data: bytes) -> None:
        """Write, and wait until the kernel has it."""
        self.writer.write(data)
        await self.writer.drain()

    async def until_closed(self) -> None:
        """Wait until the gateway closes the connection."""
        try:
            while await self._reader.read(65536):
                pass
        except ConnectionError:
            pass

    def close(self) -> None:
        """Close cleanly."""
        self.writer.close()

    def reset(self) -> None:
        """Close with an RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Scripted:
    """A listening replica."""

    replica: Replica
    connections: int = 0
    asked: list[Asked] = field(default_factory=list[Asked])
    ended: asyncio.Queue[None] = field(default_factory=asyncio.Queue[None])
    """Gets an item whenever a script has run to its end."""

    async def script_ended(self) -> None:
        await asyncio.wait_for(self.ended.get(), WAIT_S)


@asynccontextmanager
async def scripted(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """A replica that runs `script` on every connection; what goes wrong in it fails the test."""
    faults: list[BaseException] = []
    running: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        it.connections += 1
        try:
            await script(Peer(reader, writer, it.asked))
            it.ended.put_nowait(None)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(run(reader, writer))
        running.add(task)
        task.add_done_callback(ended)

    def ended(task: asyncio.Task[None]) -> None:
        running.discard(task)
        if error := task.exception():
            faults.append(error)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    it = Scripted(replica_at(port, is_tls=tls is not None))
    try:
        yield it
    finally:
        listener.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if faults:
        raise faults[0]


def always(data: bytes) -> Script:
    """A script that answers every request on a connection with the same bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(data)

    return script


def replica_at(port: int, *, is_tls: bool = False) -> Replica:
    scheme = "https" if is_tls else "http"
    return Replica(f"{scheme}://127.0.0.1:{port}/mcp", "127.0.0.1", port, "/mcp", is_tls)


@asynccontextmanager
async def nobody() -> AsyncIterator[Replica]:
    """A replica whose port refuses connections, for as long as the context lasts."""
    with socket.socket() as held:
        # Bound and never listening: nobody else can get this port meanwhile.
        held.bind(("127.0.0.1", 0))
        yield replica_at(held.getsockname()[1])


def server_of(*replicas: Replica, **changes: object) -> Server:
    return replace(Server("tickets", "/tickets", replicas, Authentication(())), **changes)  # type: ignore[arg-type]


def permitted(
    server: Server,
    *,
    method: str = "POST",
    text: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> Permitted:
    """A `tools/call` (or a bare GET or DELETE) that may be sent."""
    call = message.request(1, "tools/call", {"name": "echo", "arguments": {"text": text}})
    arrival = Arrival(
        http_method=method,
        revision=revisions.LATEST_LEGACY,
        message=call if method == "POST" else None,
        method="tools/call" if method == "POST" else "",
    )
    return Permitted(server, arrival, headers)


@dataclass
class Asker:
    """A client under test, with what it said of the replicas."""

    client: Client
    observed: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])

    async def ask(self, server: Server, **wish: object) -> tuple[int, bytes]:
        """Send one call and return status and body."""
        call = permitted(server, **wish)  # type: ignore[arg-type]
        async with asyncio.timeout(WAIT_S), self.client.send(call, server.replicas) as reply:
            return reply.status, await reply.body()


@asynccontextmanager
async def asking(tick_s: float = 15.0) -> AsyncIterator[Asker]:
    """A client that is closed at the end."""
    observed: list[tuple[str, bool]] = []
    client = Client(observe=lambda replica, ok: observed.append((replica.url, ok)), tick_s=tick_s)
    try:
        yield Asker(client, observed)
    finally:
        await asyncio.wait_for(client.close(), WAIT_S)
