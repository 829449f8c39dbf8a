"""The one call and the one answer that every contender carries, and the wrk script that sends them.

Everyone gets the same bytes, so that only the proxies differ: a `tools/call` of 290 bytes, an answer of about 1 KB.
Two forms of the call exist because the protocol has two eras: with a session (legacy), and without (modern).
"""

import json
from typing import Literal

Era = Literal["legacy", "modern"]

TOOL = "search_docs"
# As long as the other one, and allowed by no rule.
FORBIDDEN_TOOL = "delete_docs"
LEGACY_VERSION = "2025-11-25"
MODERN_VERSION = "2026-07-28"
CLIENT_NAME = "openmcp-bench"
# The upstream answers sessions of this form with fixed bytes; all others are answered by a program that can think.
FIXED_SESSION_PREFIX = "fixed-"
CALL_BYTES = 290
ANSWER_TEXT_BYTES = 900
# Proxies without sessions of their own get an id that looks like a real one.
SOME_SESSION = FIXED_SESSION_PREFIX + "3f0c9a52d1b84e7fb6a2c8d4e5f60718"
SOME_KEY = "omcp_bench_" + "x" * 43


def call(era: Era) -> bytes:
    """The request body: exactly CALL_BYTES long in both eras."""
    params: dict[str, object] = {"name": TOOL, "arguments": {"query": ""}}
    if era == "modern":
        params["_meta"] = modern_meta()
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    missing = CALL_BYTES - len(compact(message))
    words = "how do we rotate the certificates of the edge without dropping streams "
    params["arguments"] = {"query": (words * 4)[:missing]}
    return compact(message)


def answer() -> bytes:
    """The JSON-RPC result of the call; `resultType` is required in the modern era and harmless in the other."""
    words = "Certificates are read again when their files change and new connections get the new ones. "
    text = (words * (ANSWER_TEXT_BYTES // len(words) + 1))[:ANSWER_TEXT_BYTES]
    result = {"content": [{"type": "text", "text": text}], "isError": False, "resultType": "complete"}
    return compact({"jsonrpc": "2.0", "id": 1, "result": result})


def event(message: bytes) -> bytes:
    """The message as one server-sent event."""
    return b"event: message\ndata: " + message + b"\n\n"


def initialize() -> bytes:
    """The first message of a legacy session."""
    return request(
        "initialize",
        {
            "protocolVersion": LEGACY_VERSION,
            "capabilities": {},
            "clientInfo": {"name": CLIENT_NAME, "version": "1"},
        },
    )


def initialized() -> bytes:
    """The notification that ends the handshake; its shortness tells the upstream that it is not a call."""
    return compact({"jsonrpc": "2.0", "method": "notifications/initialized"})


def request(method: str, params: dict[str, object]) -> bytes:
    """Any JSON-RPC request, id 1."""
    return compact({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


def headers(era: Era, *, session: str | None = None, key: str | None = SOME_KEY) -> dict[str, str]:
    """The headers of a POST; without a key nothing that looks like a credential, but as many bytes."""
    fields = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN_VERSION if era == "modern" else LEGACY_VERSION,
    }
    if key is None:
        fields["User-Agent"] = CLIENT_NAME.ljust(len(f"Bearer {SOME_KEY}"), "-")
    else:
        fields["Authorization"] = f"Bearer {key}"
    if era == "modern":
        fields |= {"Mcp-Method": "tools/call", "Mcp-Name": TOOL}
    elif session is not None:
        fields["Mcp-Session-Id"] = session
    return fields


def modern_meta() -> dict[str, object]:
    """What every modern request must say of itself."""
    return {
        "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
    }


def wrk_script(body: bytes, fields: dict[str, str]) -> str:
    """A Lua script that sends the call for ever and prints one line of JSON at the end."""
    lines = ['wrk.method = "POST"', f"wrk.body = [==[{body.decode()}]==]"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(lines) + _WRK_SUMMARY


def compact(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


_WRK_SUMMARY = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'SUMMARY {"requests":%d,"bytes":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,' ..
    '"status":%d,"socket":%d,"timeout":%d}\\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write, e.timeout))
end
"""
