"""The agent's side of a conversation: it sends (`>>`) and keeps what the gateway writes (`<<`).

Each `Call` is one exchange on the `Wire` that the edge uses, above an outlet of the
test instead of a socket: disconnect and drain mean here just what they mean there.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from openmcp.errors import OpenMCPError
from openmcp.mcp import sse
from openmcp.model.http import Peer, Request
from openmcp.server import exchange
from openmcp.server.exchange import DRAINING, Exchange, Handler
from tests.conversation.replica import OWN_IDS, WAIT_S, Body

LEGACY = "2025-11-25"
MODERN = "2026-07-28"
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class Told(NamedTuple):
    """One event that reached the agent."""

    message: Body
    """Empty for an event that only carries an id."""

    id: str | None
    retry: int | None


class Call:
    """One exchange as its agent sees it; also the outlet that the wire writes to."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = b""
        self.is_clean = False
        """Whether the answer was ended as HTTP wants it."""

        self.has_ended = False
        self.has_left = False
        self._decoder = sse.Decoder(1 << 24)
        self._events: list[Told] = []
        self._news = asyncio.Event()
        self._exchange = Exchange(request, self)

    def start(self, handler: Handler) -> "Call":
        self._exchange.start(handler, asyncio.get_running_loop())
        return self

    # ------------------------------------------------------------ what the agent does

    def leaves(self) -> None:
        """Disconnect."""
        self.has_left = True
        self._exchange.client_left()

    def is_drained(self) -> None:
        """Let the node stop while the exchange is under way."""
        self._exchange.cancel(DRAINING)

    # ------------------------------------------------------------ what it sees

    async def answer(self) -> Body:
        """Return the message of an answer that is one JSON body."""
        await self.ended()
        message: Body = json.loads(self.body)
        return message

    async def refused(self, status: int, code: int) -> Body:
        """Return the JSON-RPC error of an answer that is a refusal with these numbers."""
        error: Body = (await self.answer())["error"]
        assert (self.status, error["code"]) == (status, code), (self.status, error)
        return error

    async def result(self) -> Body:
        """Return the result of an answer that is one JSON body."""
        answer = await self.answer()
        assert (self.status, "result" in answer) == (200, True), answer
        result: Body = answer["result"]
        return result

    async def accepted(self) -> None:
        """Make sure that the answer is 202 and nothing more."""
        await self.ended()
        assert (self.status, self.body) == (202, b"")

    async def event(self) -> Told:
        """Return the next event."""
        await self.until(lambda: bool(self._events) or self.has_ended)
        assert self._events, f"the answer ended: {self.status} {self.body!r}"
        return self._events.pop(0)

    async def told(self) -> Body:
        """Return the message of the next event."""
        return (await self.event()).message

    async def begun(self) -> None:
        """Wait for the head of the answer."""
        await self.until(lambda: self.status != 0)

    async def ticks(self, count: int) -> None:
        """Wait until so many comments have come."""
        await self.until(lambda: self._decoder.comments >= count)

    async def ended(self) -> None:
        """Wait for the end of the exchange."""
        await self.until(lambda: self.has_ended)

    async def ends(self) -> None:
        """Wait for the end of a stream, which must be clean and hold no event that was not looked at."""
        await self.ended()
        assert self._events == []
        assert self.is_clean

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that the gateway's writing makes so."""
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    # ------------------------------------------------------------ the outlet

    def send(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self.open(status, headers)
        self.body = body
        self.finish()

    def open(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self._news.set()

    def append(self, data: bytes) -> None:
        self.body += data
        for event in self._decoder.feed(data):
            self._events.append(Told(json.loads(event.data) if event.data else {}, event.id, event.retry))
        self._news.set()

    async def drain(self) -> None:
        return

    def finish(self) -> None:
        self.is_clean = True
        self._news.set()

    def abort(self) -> None:
        self._news.set()

    def turned_away(self, error: OpenMCPError, status: int) -> None:
        """The edge has something to say of its own only where the gateway said nothing."""

    def exchange_ended(self, exchange: Exchange) -> None:
        self.has_ended = True
        self._news.set()


_: type[exchange.Outlet] = Call


class Agent:
    """Sends what an MCP client of its revision sends."""

    def __init__(self, handler: Handler, *, key: str | None, version: str = LEGACY, peer: str = "192.0.2.1") -> None:
        self.handler = handler
        self.key = key
        self.version = version
        self.session: str | None = None
        self.path = "/desk"
        self.calls: list[Call] = []
        self._peer = peer
        self._last_id = OWN_IDS

    @property
    def is_modern(self) -> bool:
        return self.version == MODERN

    def asks(self, method: str, *, headers: Mapping[str, str | None] | None = None, **params: Any) -> Call:
        """Send a request with the next id."""
        self._last_id += 1
        return self.sends({"id": self._last_id, "method": method, "params": params}, headers=headers)

    def calls_tool(self, name: str, **arguments: Any) -> Call:
        """Send a `tools/call`."""
        return self.asks("tools/call", name=name, arguments=arguments)

    def notifies(self, method: str, **params: Any) -> Call:
        """Send a notification."""
        return self.sends({"method": method, "params": params})

    def replies(self, id: Any, result: Body) -> Call:
        """Answer a request of the server."""
        return self.sends({"id": id, "result": result})

    def sends(self, message: Body, *, headers: Mapping[str, str | None] | None = None) -> Call:
        """Send one message; `headers` stand in for what would be sent, `None` leaves one out."""
        body = {"jsonrpc": "2.0", **message}
        made: dict[str, str | None] = {}
        if self.is_modern and "method" in body:
            body["params"] = {**body.get("params", {})}
            body["params"].setdefault("_meta", self.meta)
            made["mcp-method"] = str(body["method"])
            named = body["params"].get(_NAMED.get(str(body["method"]), ""))
            made["mcp-name"] = named if isinstance(named, str) else None
        return self.posts(json.dumps(body).encode(), headers={**made, **(headers or {})})

    @property
    def meta(self) -> Body:
        prefix = "io.modelcontextprotocol/"
        return {f"{prefix}protocolVersion": self.version, f"{prefix}clientCapabilities": {}}

    def posts(self, body: bytes, *, headers: Mapping[str, str | None] | None = None) -> Call:
        """Send these bytes."""
        return self._start("POST", body, {"accept": "application/json, text/event-stream", **(headers or {})})

    def listens(self, last_event_id: str | None = None, **headers: str | None) -> Call:
        """Open the session's stream, or resume one."""
        return self._start("GET", b"", {"accept": "text/event-stream", "last-event-id": last_event_id, **headers})

    def deletes(self) -> Call:
        """End the session."""
        return self._start("DELETE", b"", {})

    def uses(self, http_method: str) -> Call:
        """Send a request that MCP does not have."""
        return self._start(http_method, b"", {})

    def _start(self, method: str, body: bytes, headers: Mapping[str, str | None]) -> Call:
        said: dict[str, str | None] = {
            "host": "localhost",
            "content-type": "application/json",
            "mcp-protocol-version": self.version,
            "mcp-session-id": self.session,
            "authorization": f"Bearer {self.key}" if self.key else None,
            # By this the evidence of this very exchange is found again.
            "user-agent": f"agent-{id(self)}-{len(self.calls)}",
            **headers,
        }
        present = {name: value for name, value in said.items() if value is not None}
        request = Request(method, self.path, present, body, Peer(self._peer))
        call = Call(request)
        self.calls.append(call)
        return call.start(self.handler)
