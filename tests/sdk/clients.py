"""Real SDK clients (`mcp` 2.x) that tests can look into.

`connected` gives a client in the asked era with everything it received, and the HTTP
requests it made, kept beside it.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import mcp_types as types
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext, IncomingMessage
from mcp.client.streamable_http import streamable_http_client

MODES = ("legacy", "auto", "2026-07-28")
# No single wait of a client is longer.
WAIT_S = 15.0


@dataclass
class Seen:
    """What reached a client beside the answers to its calls."""

    notifications: list[types.ServerNotification] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    http: list[tuple[str, int, Mapping[str, str], Mapping[str, str]]] = field(default_factory=list)
    """HTTP method, status, request headers, response headers."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with every notification."""


class Progress:
    """A progress callback that keeps what came."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self._first = asyncio.Event()

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        self.steps.append(progress)
        self._first.set()

    async def begun(self) -> None:
        """Wait for the first one."""
        async with asyncio.timeout(WAIT_S):
            await self._first.wait()


@dataclass(frozen=True)
class Connected:
    """A client in use."""

    client: Client
    seen: Seen

    async def call(self, tool: str, **arguments: Any) -> types.CallToolResult:
        return await self.client.call_tool(tool, arguments, read_timeout_seconds=WAIT_S)

    async def facts(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The JSON object that a probe tool answers with."""
        found: dict[str, Any] = json.loads(said(await self.call(tool, **arguments)))
        return found

    async def replica(self) -> str:
        """The name of the replica that answers."""
        return str((await self.facts("whoami"))["replica"])


@asynccontextmanager
async def connected(
    url: str,
    mode: str,
    *,
    headers: Mapping[str, str] | None = None,
    decline: bool = False,
    log_level: Any = None,
    verify: ssl.SSLContext | bool = True,
) -> AsyncIterator[Connected]:
    """A client of that mode; it answers questions and prompts, or declines them. `verify`: how it speaks TLS."""
    seen = Seen()

    async def note(response: httpx2.Response) -> None:
        request = response.request
        seen.http.append((request.method, response.status_code, dict(request.headers), dict(response.headers)))

    async def elicit(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        seen.asked.append(params.message)
        if decline:
            return types.ElicitResult(action="decline")
        return types.ElicitResult(action="accept", content={"answer": f"answer to {params.message}"})

    async def sample(
        context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.ErrorData:
        seen.asked.append("sampling")
        if decline:
            return types.ErrorData(code=-1, message="No model today")
        words = types.TextContent(type="text", text="words of the model")
        return types.CreateMessageResult(role="assistant", content=words, model="test-model", stop_reason="endTurn")

    async def roots(context: ClientRequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[])

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        seen.logs.append(params.data)

    async def receive(message: IncomingMessage) -> None:
        if not isinstance(message, Exception):
            seen.notifications.append(message)
            seen.arrived.set()

    timeout = httpx2.Timeout(WAIT_S, read=60.0)
    async with httpx2.AsyncClient(
        headers=dict(headers or {}),
        timeout=timeout,
        trust_env=False,
        event_hooks={"response": [note]},
        verify=verify,
    ) as http:
        client = Client(
            streamable_http_client(url, http_client=http),
            mode=mode,
            read_timeout_seconds=WAIT_S,
            elicitation_callback=elicit,
            sampling_callback=sample,
            list_roots_callback=roots,
            logging_callback=log,
            log_level=log_level,
            message_handler=receive,
            cache=None,
        )
        async with client:
            yield Connected(client, seen)


def said(result: types.CallToolResult) -> str:
    """The text of the first block."""
    block = result.content[0]
    assert isinstance(block, types.TextContent), block
    return block.text
