"""HTTP/1.1 by the byte, for requests that no HTTP library would send.

Used by `test_bad_input`. Reads one answer, or learns that the other side hung up.
"""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Answer:
    """Status 0: the connection was closed without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(url: str, *pieces: bytes) -> Answer:
    """Send the bytes as they are, and read the answer."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            sending = asyncio.create_task(_send(writer, pieces))
            answer = await _read(reader)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            return answer
    finally:
        writer.transport.abort()


def head(method: str, url: str, *lines: str, host: str | None = None) -> bytes:
    """A request head; `lines` are header lines as they are."""
    parts = urlsplit(url)
    first = [f"{method} {parts.path} HTTP/1.1"]
    if host is None:
        first.append(f"Host: {parts.netloc}")
    elif host:
        first.append(f"Host: {host}")
    return "\r\n".join([*first, *lines, "", ""]).encode("latin-1")


async def _send(writer: asyncio.StreamWriter, pieces: tuple[bytes, ...]) -> None:
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        # The other side may refuse before it has read all: its answer tells why.
        pass


async def _read(reader: asyncio.StreamReader) -> Answer:
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return Answer(0, {}, b"")
    pairs = (line.partition(":") for line in lines[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    length = int(headers.get("content-length", "0"))
    return Answer(int(lines[0].split()[1]), headers, await reader.readexactly(length))
