"""The server behind every proxy: nginx with a fixed answer for the calls, this program for all that needs thought.

Python would be the bottleneck, and nginx cannot open sessions. So nginx stands in front: calls of a session that
begins with `fixed-`, and modern calls, get fixed bytes; `initialize`, lists, probes and long streams come here.
`python -m bench.upstream PORT` serves; `/idle` streams stay open, `/flood` sends as fast as it is read.
"""

import asyncio
import contextlib
import json
import sys
import uuid
from pathlib import Path

from bench import messages

FLOOD_BYTES = 195 << 20
FLOOD_EVENT_BYTES = 16 << 10
IDLE_S = 300.0
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def nginx_config(folder: Path, *, port: int, thinking_port: int, user: str) -> str:
    """The front: `/json` and `/sse` are answered here if the call is one of ours, everything else goes behind."""
    answer = messages.answer().decode()
    sse = messages.event(messages.answer()).decode()
    return f"""
{user} daemon off; worker_processes 1; pid {folder}/upstream.pid; error_log {folder}/upstream.err;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  client_body_temp_path {folder}/upstream.body; proxy_temp_path {folder}/upstream.proxy;
  fastcgi_temp_path {folder}/upstream.fcgi; uwsgi_temp_path {folder}/upstream.uwsgi;
  scgi_temp_path {folder}/upstream.scgi;
  # The length tells a call from the short notification that ends the handshake.
  map "$request_method $content_length $http_mcp_session_id $http_mcp_method" $ours {{
    default 0;
    "~^POST \\d\\d\\d+ {messages.FIXED_SESSION_PREFIX}" 1;
    "~^POST \\d\\d\\d+ \\S* ?tools/call$" 1;
  }}
  upstream thinking {{ server 127.0.0.1:{thinking_port}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /status {{ stub_status; }}
    location /json {{
      default_type application/json;
      if ($ours) {{ return 200 '{answer}'; }}
      proxy_pass http://thinking; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
    location /sse {{
      default_type text/event-stream;
      # The filter has nothing to replace: it is here because it turns the answer into a chunked one.
      sub_filter_types text/event-stream; sub_filter '~~never~~' '';
      if ($ours) {{ return 200 '{sse}'; }}
      proxy_pass http://thinking; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


async def serve(port: int) -> None:
    server = await asyncio.start_server(_connection, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


async def _connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            method, path, body = await _request(reader)
            if method == "GET":
                await _stream(writer, path)
                break
            writer.write(_answer(method, body))
            await writer.drain()
    writer.close()


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("transfer-encoding") == "chunked":
        body = await _chunks(reader)
    else:
        body = await reader.readexactly(int(fields.get("content-length", "0")))
    method, path, _ = first.split(" ", 2)
    return method, path, body


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int(await reader.readline(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return b"".join(parts)


def _answer(method: str, body: bytes) -> bytes:
    message = json.loads(body) if method == "POST" else {}
    if "id" not in message or "method" not in message:
        return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
    extra = ""
    name = message["method"]
    if name == "initialize":
        ours = message["params"].get("clientInfo", {}).get("name") == messages.CLIENT_NAME
        extra = f"Mcp-Session-Id: {messages.FIXED_SESSION_PREFIX if ours else ''}{uuid.uuid4().hex}\r\n"
    result = _result(name, message.get("params") or {})
    reply: dict[str, object] = {"jsonrpc": "2.0", "id": message["id"]}
    reply |= {"result": result} if result is not None else {"error": {"code": -32601, "message": "Method not found"}}
    content = messages.compact(reply)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _result(method: str, params: dict[str, object]) -> dict[str, object] | None:
    about: dict[str, object] = {"name": "bench-upstream", "version": "1"}
    capabilities: dict[str, object] = {"tools": {"listChanged": False}, "logging": {}}
    tool = {
        "name": messages.TOOL,
        "description": "Finds passages in the documentation.",
        "inputSchema": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    }
    lasting = {"ttlMs": 60_000, "cacheScope": "private"}
    known: dict[str, dict[str, object]] = {
        "initialize": {
            "protocolVersion": params.get("protocolVersion", messages.LEGACY_VERSION),
            "capabilities": capabilities,
            "serverInfo": about,
        },
        "server/discover": {
            "supportedVersions": [messages.MODERN_VERSION, messages.LEGACY_VERSION],
            "capabilities": capabilities,
            "serverInfo": about,
            **lasting,
        },
        "tools/list": {"tools": [tool], **lasting},
        "prompts/list": {"prompts": [], **lasting},
        "resources/list": {"resources": [], **lasting},
        "resources/templates/list": {"resourceTemplates": [], **lasting},
        "tools/call": json.loads(messages.answer())["result"],
        "ping": {},
    }
    result = known.get(method)
    return None if result is None else {"resultType": "complete", **result}


async def _stream(writer: asyncio.StreamWriter, path: str) -> None:
    if path not in ("/idle", "/flood"):
        writer.write(
            b"HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        return
    writer.write(SSE_HEAD + _chunk(b": open\n\n"))
    await writer.drain()
    if path == "/idle":
        await asyncio.sleep(IDLE_S)
        return
    params = {"level": "info", "data": "x" * FLOOD_EVENT_BYTES}
    chunk = _chunk(
        messages.event(messages.compact({"jsonrpc": "2.0", "method": "notifications/message", "params": params}))
    )
    for _ in range(FLOOD_BYTES // len(chunk)):
        writer.write(chunk)
        await writer.drain()
    writer.write(b"0\r\n\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
