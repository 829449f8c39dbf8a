"""The server's side of a conversation: a replica on a real socket of loopback whose every answer the test writes.

`->` is `await replica.takes(method)`, which gives the request as it arrived; `<-` is
`asked.answers(…)`, or `asked.streams()` and then event by event. What the gateway asks
for itself (its catalogue, its probes) is answered here from `Offers`, and kept apart.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from openmcp.model.server import Replica as Address

WAIT_S = 20.0
"""Bound on every wait; reached only where a test fails."""

Body: TypeAlias = dict[str, Any]

REASONS = {200: "OK", 202: "Accepted", 204: "No Content", 400: "Bad Request", 404: "Not Found"}
OWN_IDS = 100
"""The gateway numbers what it asks from 1; agents in these tests begin here."""


@dataclass(kw_only=True)
class Offers:
    """What the server tells the gateway itself."""

    era: str = "dual"
    """`dual`, `modern`, `legacy`, `sessionless` (legacy without session ids) or `mute` (HTTP 500 to everything)."""

    tools: list[Body] = field(default_factory=lambda: [{"name": "read"}, {"name": "wipe"}, {"name": "secret"}])
    prompts: list[Body] = field(default_factory=lambda: [{"name": "greet"}, {"name": "secret"}])
    resources: list[Body] = field(default_factory=lambda: [{"uri": "doc://open"}, {"uri": "doc://secret"}])
    templates: list[Body] = field(default_factory=list[Body])
    is_complete: bool = True
    """Whether the last page of every list can be read."""

    def answer(self, message: Body) -> tuple[int, Body | None]:
        """Return HTTP status and body."""
        if self.era == "mute":
            return 500, None
        if "id" not in message:
            return 202, None
        id, method = message["id"], message["method"]
        if method == "server/discover" and self.era in ("legacy", "sessionless"):
            return 400, {"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}}
        return 200, {"jsonrpc": "2.0", "id": id, **self._outcome(method)}

    def _outcome(self, method: str) -> Body:
        entries = {
            "tools/list": {"tools": self.tools},
            "prompts/list": {"prompts": self.prompts},
            "resources/list": {"resources": self.resources},
            "resources/templates/list": {"resourceTemplates": self.templates},
        }
        if method in entries:
            failure = {"code": -32603, "message": "not now"}
            return {"result": entries[method]} if self.is_complete else {"error": failure}
        return {"result": {"protocolVersion": "2025-11-25", "supportedVersions": ["2026-07-28"], "capabilities": {}}}


@dataclass(eq=False)
class Asked:
    """One request as the replica got it, and the way to answer it."""

    http_method: str
    headers: Mapping[str, str]
    message: Body
    """Empty for GET and DELETE."""

    writer: asyncio.StreamWriter
    was_cut_off: asyncio.Event
    body: bytes = b""
    """As it arrived."""

    @property
    def what(self) -> str:
        """The message's method, `reply`, or for a request without a message its HTTP method."""
        if not self.message:
            return self.http_method
        return str(self.message.get("method", "reply"))

    @property
    def id(self) -> Any:
        return self.message["id"]

    @property
    def params(self) -> Body:
        params: Body = self.message.get("params", {})
        return params

    def answers(
        self, result: Body | None = None, *, status: int = 200, session: str | None = None, **body: Any
    ) -> None:
        """Answer with a JSON body: a result, or whatever members of a message are named; `id` is the request's."""
        members = {"result": result} if result is not None else {}
        message = {"jsonrpc": "2.0", "id": self.message.get("id"), **members, **body}
        self.says(status, json.dumps(message).encode(), session=session)

    def says(
        self, status: int, body: bytes = b"", *, content_type: str = "application/json", session: str | None = None
    ) -> None:
        """Answer with any bytes."""
        fields = {"Content-Type": content_type} if body else {}
        if session is not None:
            fields["Mcp-Session-Id"] = session
        head = _head(status, {**fields, "Content-Length": str(len(body))})
        self.writer.write(head + body)

    def accepts(self) -> None:
        """Answer 202, as to a notification or a reply."""
        self.says(202)

    def streams(self, *, session: str | None = None) -> "Stream":
        """Begin to answer with events."""
        fields = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        if session is not None:
            fields["Mcp-Session-Id"] = session
        self.writer.write(_head(200, fields))
        return Stream(self)

    async def is_cut_off(self) -> None:
        """Wait until the gateway closes the connection."""
        await asyncio.wait_for(self.was_cut_off.wait(), WAIT_S)


class Stream:
    """An answer of events, written one by one."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    def says(self, data: str = "", *, id: str | None = None, retry: int | None = None) -> None:
        """Write one event with this data; without data it only primes the client."""
        lines = [f"id: {id}"] if id is not None else []
        lines += [f"retry: {retry}"] if retry is not None else []
        self.raw("\n".join([*lines, f"data: {data}", "", ""]).encode())

    def sends(self, *, id: str | None = None, retry: int | None = None, **message: Any) -> None:
        """Write one message; `id` is the event's, the message's own is named `message_id`."""
        named = {"id": message.pop("message_id")} if "message_id" in message else {}
        self.says(json.dumps({"jsonrpc": "2.0", **named, **message}), id=id, retry=retry)

    def answers(self, result: Body | None = None, *, id: str | None = None, **members: Any) -> None:
        """Write the response to the stream's own request."""
        message = {"jsonrpc": "2.0", "id": self.asked.message["id"], **members}
        self.says(json.dumps({**message, "result": result} if result is not None else message), id=id)

    def ends(self) -> None:
        """End as HTTP wants it."""
        self.asked.writer.write(b"0\r\n\r\n")

    def breaks(self) -> None:
        """Cut the connection in the middle."""
        self.asked.writer.transport.abort()

    def raw(self, data: bytes) -> None:
        """Write these bytes."""
        self.asked.writer.write(b"%x\r\n%s\r\n" % (len(data), data))


class Replica:
    """A listening replica."""

    def __init__(self, offers: Offers) -> None:
        self.offers = offers
        self.own: list[str] = []
        """What the gateway asked for itself, in order."""

        self.address = Address("", "", 0, "")
        self._asked: asyncio.Queue[Asked] = asyncio.Queue()
        self._own_sessions = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return self.address.url

    async def takes(self, what: str) -> Asked:
        """Return the next request of an agent, which must be this one."""
        asked = await asyncio.wait_for(self._asked.get(), WAIT_S)
        assert asked.what == what, f"the server got {asked.what}, not {what}"
        return asked

    @property
    def untaken(self) -> list[str]:
        """What arrived and nobody expected."""
        return [self._asked.get_nowait().what for _ in range(self._asked.qsize())]

    async def stops(self) -> None:
        """Listen no longer, and cut all connections."""
        if self._listener is not None:
            self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = b""
        try:
            while True:
                asked = await _read(reader, writer, first)
                self._dispatch(asked)
                # The gateway sends nothing more before it has the answer, so what can be read now is its leaving.
                first = await reader.read(1)
                if not first:
                    asked.was_cut_off.set()
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _dispatch(self, asked: Asked) -> None:
        if not self._is_own(asked):
            self._asked.put_nowait(asked)
            return
        self.own.append(asked.what)
        status, body = self.offers.answer(asked.message) if asked.message else (200, None)
        session = None
        if asked.what == "initialize" and self.offers.era != "sessionless":
            self._own_sessions += 1
            session = f"own-{self._own_sessions}"
        asked.says(status, json.dumps(body).encode() if body is not None else b"", session=session)

    def _is_own(self, asked: Asked) -> bool:
        if asked.headers.get("mcp-session-id", "").startswith("own-"):
            return True
        if not asked.message or asked.what == "reply" or "mcp-session-id" in asked.headers:
            return False
        if "id" in asked.message:
            return isinstance(asked.id, int) and asked.id < OWN_IDS
        return self.offers.era == "sessionless" and asked.what == "notifications/initialized"

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator["Replica"]:
        """Listen while inside: on a free port by default."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._listener = await asyncio.start_server(accept, host, port)
        port = self._listener.sockets[0].getsockname()[1]
        self.address = Address(f"http://{host}:{port}/mcp", host, port, "/mcp")
        try:
            yield self
        finally:
            await self.stops()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes) -> Asked:
    head = (first + await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1")
    line, *fields = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(line.split(" ")[0], headers, json.loads(body) if body else {}, writer, asyncio.Event(), body)


def _head(status: int, fields: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}", *(f"{name}: {fields[name]}" for name in fields)]
    return "\r\n".join([*lines, "", ""]).encode()
