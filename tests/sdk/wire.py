"""MCP spoken by hand over HTTP, for what SDK clients never send and for streams that break.

Used by the tests of this folder. A `Session` is a legacy session opened with a real
`initialize`; `modern` makes the headers and `_meta` that a modern request needs.
"""

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

LEGACY = "2025-11-25"
MODERN = "2026-07-28"
ACCEPT = "application/json, text/event-stream"
TIMEOUT_S = 15.0

_ids = itertools.count(1000)


@dataclass(frozen=True)
class Event:
    """One event of a stream; a priming event has no message."""

    id: str
    message: dict[str, Any] | None


@dataclass(frozen=True)
class Session:
    """An open legacy session."""

    http: httpx.AsyncClient
    url: str
    headers: Mapping[str, str]

    @property
    def id(self) -> str:
        return self.headers["Mcp-Session-Id"]

    async def post(self, message: Any) -> httpx.Response:
        return await self.http.post(self.url, headers=self.headers, content=_encoded(message))

    async def call(self, tool: str, **arguments: Any) -> httpx.Response:
        return await self.post(call_message(tool, **arguments))

    @asynccontextmanager
    async def stream(self, message: Any) -> AsyncIterator[AsyncIterator[Event]]:
        """The events that answer a POST; leaving the block breaks the connection."""
        async with self.http.stream("POST", self.url, headers=self.headers, content=_encoded(message)) as response:
            assert response.status_code == 200, await response.aread()
            yield events(response)

    @asynccontextmanager
    async def resumed(self, last_event_id: str) -> AsyncIterator[AsyncIterator[Event]]:
        """The events after one that was received."""
        headers = {**self.headers, "Last-Event-ID": last_event_id}
        async with self.http.stream("GET", self.url, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            yield events(response)

    async def end(self) -> httpx.Response:
        return await self.http.delete(self.url, headers=self.headers)


@asynccontextmanager
async def browser(headers: Mapping[str, str] | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with JSON headers, free of the machine's proxies."""
    base = {"Accept": ACCEPT, "Content-Type": "application/json", **(headers or {})}
    async with httpx.AsyncClient(headers=base, timeout=TIMEOUT_S, trust_env=False) as http:
        yield http


async def initialize(http: httpx.AsyncClient, url: str, **headers: str) -> httpx.Response:
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "by-hand", "version": "1"}}
    return await http.post(url, headers=headers, json=request("initialize", params))


@asynccontextmanager
async def session(url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Session]:
    """A session with the handshake done."""
    async with browser(headers) as http:
        answer = await initialize(http, url)
        assert answer.status_code == 200, answer.text
        bound = {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"], "MCP-Protocol-Version": LEGACY}
        opened = Session(http, url, bound)
        confirmed = await opened.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert confirmed.status_code == 202, confirmed.text
        yield opened


def request(method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A JSON-RPC request with a fresh id."""
    return {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": dict(params or {})}


def call_message(tool: str, **arguments: Any) -> dict[str, Any]:
    return request("tools/call", {"name": tool, "arguments": arguments})


def modern(method: str, **params: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and body of a modern request, agreeing with each other."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "by-hand", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "sampling": {}},
    }
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    if name := params.get("name") or params.get("uri"):
        headers["Mcp-Name"] = str(name)
    return headers, request(method, {**params, "_meta": meta})


async def events(response: httpx.Response) -> AsyncIterator[Event]:
    """The events of a stream, as they come; comments are left out."""
    event_id, data = "", list[str]()
    async for line in response.aiter_lines():
        field, _, value = line.partition(":")
        match field:
            case "id":
                event_id = value.removeprefix(" ")
            case "data":
                data.append(value.removeprefix(" "))
            case "" if not line:
                text = "\n".join(data)
                if text or event_id:
                    yield Event(event_id, json.loads(text) if text else None)
                event_id, data = "", []
            case _:
                pass


def answer_of(response: httpx.Response) -> dict[str, Any]:
    """The one JSON-RPC answer in a whole response, be it JSON or a finished stream."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        texts = [line.removeprefix("data:").strip() for line in response.text.splitlines() if line.startswith("data:")]
        messages = [json.loads(text) for text in texts if text]
        (found,) = [message for message in messages if "result" in message or "error" in message]
        return dict(found)
    whole: dict[str, Any] = response.json()
    return whole


def _encoded(message: Any) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()
