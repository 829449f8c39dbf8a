"""A small HTTP client for what is not load: the handshake, the check of one answer, and streams that stay open."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bench import messages

TIMEOUT_S = 10.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """A whole answer, as far as the bench looks at it."""

    status: int
    session: str | None
    content_type: str
    body: bytes


def post(port: int, path: str, body: bytes, *, fields: dict[str, str]) -> Answer:
    """One POST on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", path, body, fields)
        response = connection.getresponse()
        content_type = response.getheader("Content-Type") or ""
        return Answer(response.status, response.getheader("Mcp-Session-Id"), content_type, response.read())
    finally:
        connection.close()


def open_session(port: int, path: str, *, key: str | None) -> str:
    """The id of a new legacy session, its handshake done.

    Raises: RuntimeError, if the server gave none.
    """
    fields = messages.headers("legacy", key=key)
    del fields["MCP-Protocol-Version"]
    answer = post(port, path, messages.initialize(), fields=fields)
    if answer.status != 200 or answer.session is None:
        raise RuntimeError(f"initialize gave {answer.status} and no session: {answer.body[:300]!r}")
    fields = messages.headers("legacy", key=key, session=answer.session)
    done = post(port, path, messages.initialized(), fields=fields)
    if done.status != 202:
        raise RuntimeError(f"the end of the handshake gave {done.status}: {done.body[:300]!r}")
    return answer.session


def fault(answer: Answer) -> str | None:
    """None if this is the expected answer, as JSON or as an event; else what is wrong with it."""
    wanted = json.loads(messages.answer())
    if answer.status != 200:
        return f"status {answer.status}: {answer.body[:300]!r}"
    try:
        got = json.loads(_message(answer))
    except ValueError:
        return f"not JSON: {answer.body[:300]!r}"
    if got.get("id") != wanted["id"] or got.get("result", {}).get("content") != wanted["result"]["content"]:
        return f"another answer: {answer.body[:300]!r}"
    return None


def patiently(act: Callable[[], Result]) -> Result:
    """What `act` returns once it succeeds: a proxy that has just started may not know its upstream yet.

    Raises: what the last try raised, if there was no success within TIMEOUT_S.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return act()
        except (RuntimeError, OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _message(answer: Answer) -> bytes:
    if not answer.content_type.startswith("text/event-stream"):
        return answer.body
    data = [line[5:].strip() for line in answer.body.splitlines() if line.startswith(b"data:")]
    return b"\n".join(data)


async def open_stream(port: int, path: str, *, fields: dict[str, str], buffer: int | None = None) -> Stream:
    """A GET stream whose head and first bytes have arrived; `buffer` keeps what we read ahead small."""
    limit = {} if buffer is None else {"limit": buffer}
    reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port, **limit), TIMEOUT_S)
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in fields.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(f"the stream was not opened: {head.splitlines()[0].decode()}")
    await asyncio.wait_for(reader.readuntil(b":"), TIMEOUT_S)
    return Stream(reader, writer)


@dataclass(frozen=True)
class Stream:
    """Both ends of an open stream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        self.writer.transport.abort()
