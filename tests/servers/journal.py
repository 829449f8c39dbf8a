"""What one reference server saw: tool calls with their ends, and HTTP requests as they arrived.

Written by the tools and by the recording middleware, read by tests through the
server's side door (`/journal`, `/requests`), which is not part of MCP and never
goes through the gateway.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Entry = dict[str, Any]


class Journal:
    """Entries `{seq, kind, tool, tag, at}` in the order they happened, and gates that tools wait at."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.requests: deque[Entry] = deque(maxlen=4000)
        self._changed = asyncio.Condition()
        self._gates: dict[str, asyncio.Event] = {}
        self._wakers: set[asyncio.Task[None]] = set()

    def note(self, kind: str, *, tool: str, tag: str) -> None:
        """Remember that something happened, and wake those who wait for it."""
        self.entries.append({"seq": len(self.entries), "kind": kind, "tool": tool, "tag": tag, "at": time.monotonic()})
        task = asyncio.ensure_future(self._wake())
        self._wakers.add(task)
        task.add_done_callback(self._wakers.discard)

    @contextmanager
    def running(self, tool: str, tag: str) -> Iterator[None]:
        """Note the start and the end of a call: `finished`, `cancelled`, or `failed`."""
        self.note("started", tool=tool, tag=tag)
        end = "failed"
        try:
            yield
            end = "finished"
        except asyncio.CancelledError:
            end = "cancelled"
            raise
        finally:
            self.note(end, tool=tool, tag=tag)

    async def wait_for(self, kind: str, tag: str, *, timeout_s: float) -> Entry | None:
        """The first entry of that kind and tag, when there is one; `None` if none comes in time."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self.find(kind, tag) is not None)
        except TimeoutError:
            pass
        return self.find(kind, tag)

    def find(self, kind: str, tag: str) -> Entry | None:
        return next((entry for entry in self.entries if entry["kind"] == kind and entry["tag"] == tag), None)

    def gate(self, tag: str) -> asyncio.Event:
        """What a holding tool waits at until the test opens it."""
        return self._gates.setdefault(tag, asyncio.Event())

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class RecordRequests:
    """ASGI middleware: writes every MCP request, with headers and body, into the journal."""

    def __init__(self, app: ASGIApp, *, journal: Journal, path: str) -> None:
        self._app = app
        self._journal = journal
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].rstrip("/") != self._path:
            await self._app(scope, receive, send)
            return
        entry: Entry = {
            "method": scope["method"],
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
            "body": "",
            "status": None,
        }
        self._journal.requests.append(entry)

        async def receive_and_note() -> MutableMapping[str, Any]:
            message = await receive()
            if message["type"] == "http.request" and len(entry["body"]) < 1 << 16:
                entry["body"] += message.get("body", b"").decode("utf-8", errors="replace")
            return message

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
            await send(message)

        await self._app(scope, receive_and_note, send_and_note)
