"""A reference MCP server on the official SDK: both eras, Streamable HTTP, every name the conformance suite asks for.

Run it as `python -m tests.servers.reference --port 0 --replica a`; it prints one JSON line
with its address when it answers. `tests.support.servers` does that for tests. Beside
`/mcp` it has a side door for tests, on the same port: `/journal`, `/requests`, `/gates/TAG`.
"""

import argparse
import asyncio
import json
import os
import socket
import warnings
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.servers import content, probes, rounds, suite
from tests.servers.events import Sessions
from tests.servers.journal import Journal, RecordRequests
from tests.servers.table import Answer, Call, Replica

NAME = "openmcp-reference"
PATH = "/mcp"
TABLES = (suite.TOOLS, rounds.TOOLS, probes.TOOLS)
LOOPBACK = TransportSecuritySettings(
    enable_dns_rebinding_protection=True,
    allowed_hosts=["127.0.0.1:*", "localhost:*"],
    allowed_origins=["http://127.0.0.1:*", "http://localhost:*"],
)

Context = ServerRequestContext[Any, Any]


class Reference(Server[Any]):
    """The SDK's server, announcing in both eras that its lists can change."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(changes, experimental_capabilities, extensions)


def build(replica: Replica, *, state_key: str | None) -> Server[Any]:
    """The server of one replica; without `state_key` only this process can open its `requestState`."""

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> Answer:
        table = next((table for table in TABLES if table.schema(params.name) is not None), suite.TOOLS)
        return await table.call(Call(context, params, replica))

    async def read(context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return content.read(params.uri, is_modern=context.protocol_version in MODERN_PROTOCOL_VERSIONS)

    with warnings.catch_warnings():
        # Logging is deprecated in the newest revision, and older ones still have it.
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        server = Reference(
            NAME,
            version="1.0.0",
            instructions="A server for tests.",
            cache_hints={
                "tools/list": CacheHint(ttl_ms=600_000, scope="public"),
                "prompts/list": CacheHint(ttl_ms=600_000, scope="public"),
                "resources/list": CacheHint(ttl_ms=600_000, scope="public"),
                "resources/templates/list": CacheHint(ttl_ms=600_000, scope="public"),
                "resources/read": CacheHint(ttl_ms=1_000, scope="private"),
            },
            get_tool_input_schema=_schema,
            on_list_tools=_list_tools,
            on_call_tool=call_tool,
            on_list_resources=_list_resources,
            on_list_resource_templates=_list_templates,
            on_read_resource=read,
            on_subscribe_resource=_accept,
            on_unsubscribe_resource=_accept,
            on_subscriptions_listen=ListenHandler(replica.bus),
            on_list_prompts=_list_prompts,
            on_get_prompt=_get_prompt,
            on_completion=_complete,
            on_set_logging_level=_accept,
        )
    security = RequestStateSecurity(keys=[state_key]) if state_key else RequestStateSecurity.ephemeral()
    server.middleware.append(RequestStateBoundary(security, default_audience=NAME))
    return server


def application(replica: Replica, arguments: argparse.Namespace) -> Starlette:
    """The HTTP application: MCP at `/mcp`, and the side door."""
    manager = Sessions(
        build(replica, state_key=arguments.state_key),
        json_response=arguments.json,
        stateless=arguments.stateless,
        retry_interval=100,
        security_settings=LOOPBACK,
    )
    return Starlette(
        routes=[Route(PATH, endpoint=StreamableHTTPASGIApp(manager)), *side_door(replica)],
        middleware=[
            Middleware(RecordRequests, journal=replica.journal, path=PATH),
            *([Middleware(ModernOnly)] if arguments.modern_only else []),
        ],
        lifespan=lambda _: manager.run(),
    )


class ModernOnly:
    """ASGI middleware: refuses what does not name the modern revision, as a server would that knows no other."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = dict(scope.get("headers", ())).get(b"mcp-protocol-version", b"").decode("latin-1")
        if scope["type"] != "http" or scope["path"] != PATH or version in MODERN_PROTOCOL_VERSIONS:
            await self._app(scope, receive, send)
            return
        data = {"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": version}
        error = {"code": -32022, "message": "Unsupported protocol version", "data": data}
        answer = JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, status_code=400)
        await answer(scope, receive, send)


def side_door(replica: Replica) -> list[Route]:
    """What tests ask the server itself, past any proxy."""
    journal = replica.journal

    async def entries(request: Request) -> Response:
        """All entries; with `kind` and `tag`, the first such entry, waited for, or `null`."""
        kind, tag = request.query_params.get("kind"), request.query_params.get("tag", "")
        if kind is None:
            return JSONResponse(journal.entries)
        timeout_s = float(request.query_params.get("timeout_s", "5"))
        return JSONResponse(await journal.wait_for(kind, tag, timeout_s=timeout_s))

    async def requests(request: Request) -> Response:
        return JSONResponse(list(journal.requests))

    async def open_gate(request: Request) -> Response:
        journal.gate(request.path_params["tag"]).set()
        return Response(status_code=204)

    return [
        Route("/journal", entries),
        Route("/requests", requests),
        Route("/gates/{tag}", open_gate, methods=["POST"]),
    ]


def _schema(name: str) -> dict[str, Any] | None:
    return next((schema for table in TABLES if (schema := table.schema(name)) is not None), None)


async def _list_tools(context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[tool for table in TABLES for tool in table.definitions()])


async def _list_resources(context: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=content.RESOURCES)


async def _list_templates(
    context: Context, params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(resource_templates=content.TEMPLATES)


async def _list_prompts(context: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=content.PROMPTS)


async def _get_prompt(
    context: Context, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    return content.prompt(params)


async def _complete(context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    return content.complete(params)


async def _accept(context: Context, params: Any) -> types.EmptyResult:
    return types.EmptyResult()


class Announced(uvicorn.Server):
    """Says on stdout that it answers, when it does."""

    announcement = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self.announcement, flush=True)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--replica", default="a", help="the name that tools answer with")
    parser.add_argument("--json", action="store_true", help="answer legacy requests with JSON, not SSE")
    parser.add_argument("--stateless", action="store_true", help="no sessions in the legacy era")
    parser.add_argument("--modern-only", action="store_true", help="know no legacy revision")
    parser.add_argument("--state-key", default=os.environ.get("REFERENCE_STATE_KEY"), help="at least 32 characters")
    arguments = parser.parse_args()

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", arguments.port))
    port = listener.getsockname()[1]

    replica = Replica(name=arguments.replica, pid=os.getpid(), journal=Journal(), bus=InMemorySubscriptionBus())
    # h11, because httptools leaves blanks at the end of a header's value.
    config = uvicorn.Config(
        application(replica, arguments), http="h11", log_level="warning", access_log=False, timeout_graceful_shutdown=1
    )
    server = Announced(config)
    server.announcement = json.dumps(
        {"origin": f"http://127.0.0.1:{port}", "replica": replica.name, "pid": replica.pid}
    )
    asyncio.run(server.serve(sockets=[listener]))


if __name__ == "__main__":
    main()
