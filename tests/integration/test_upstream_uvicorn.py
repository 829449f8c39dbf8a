"""The client against a server as most MCP servers are: Starlette on uvicorn."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route

from openmcp.mcp.sse import Event
from openmcp.model.server import Replica
from tests.unit.upstream.replica import RESULT, WAIT_S, asking, permitted, replica_at, server_of


@dataclass
class App:
    """What the server saw."""

    replica: Replica
    peers: set[int] = field(default_factory=set[int])
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)

    async def json(self, request: Request) -> Response:
        assert request.client
        self.peers.add(request.client.port)
        assert (await request.body()).startswith(b'{"jsonrpc"')
        return Response(RESULT, media_type="application/json")

    async def stream(self, request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield b"event: message\r\ndata: 1\r\n\r\n"
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.disconnected.set()
                raise

        return StreamingResponse(body(), media_type="text/event-stream")


@asynccontextmanager
async def running() -> AsyncIterator[App]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = App(replica_at(listening.getsockname()[1]))
        routes = [Mount("/mcp", routes=[Route("/", app.json, methods=["POST"]), Route("/", app.stream)])]
        config = uvicorn.Config(Starlette(routes=routes), log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield app
        finally:
            server.should_exit = True
            await asyncio.wait_for(task, WAIT_S)


async def test_posts_are_redirected_once_each_and_share_one_connection() -> None:
    async with running() as app, asking() as asker:
        for _ in range(20):
            assert await asker.ask(server_of(app.replica)) == (200, RESULT)
        assert len(app.peers) == 1


async def test_a_stream_is_read_and_the_server_sees_the_disconnect() -> None:
    async with running() as app, asking() as asker, asyncio.timeout(WAIT_S):
        server = server_of(app.replica)
        async with asker.client.send(permitted(server, method="GET"), server.replicas) as reply:
            async for event in reply.events():
                assert event == Event(b"1", event="message")
                break
        await app.disconnected.wait()
