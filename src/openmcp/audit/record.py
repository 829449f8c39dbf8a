"""The schema of the audit log, version 1: one `Line` of JSON per event.

Written by `recorder` and `writer`, read by everything that replays or verifies. The
reference in docs/reference/audit-log.md is made from this file (`python -m
openmcp.audit.reference`). Fields are only ever added; a change of meaning is a new version.
"""

from enum import Enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

VERSION: Final = 1
GENESIS: Final = "0" * 64
"""`prev` of the first line of a writer."""

BODY_BYTES: Final = 64 * 1024
"""Longer bodies are not kept, only their digest."""


class Direction(Enum):
    """The leg of the way on which a message was seen."""

    FROM_AGENT = "agent→gateway"
    TO_SERVER = "gateway→server"
    FROM_SERVER = "server→gateway"
    TO_AGENT = "gateway→agent"


def _says(description: str) -> Meta:
    return Meta(description=description)


class AgentPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Who asked."""

    name: Annotated[str, _says("the agent as policy names it")]
    id: Annotated[str, _says("the verified principal")]
    source: Annotated[str, _says("name of the identity source; absent for anonymous")] = ""
    method: Annotated[str, _says("how the identity was verified")] = ""
    trust: Annotated[str, _says("how strongly: `anonymous`, `header`, `sharedSecret`, `token`, `certificate`")] = ""
    fingerprint: Annotated[str, _says("short digest of the credential, never the credential")] = ""
    on_behalf_of: Annotated[str | None, _says("the user for whom the agent acts")] = None


class HttpPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The HTTP request; on the first line of an exchange. Of what never became one: only where it came in."""

    method: Annotated[str, _says("HTTP method")] = ""
    path: Annotated[str, _says("path as sent, without query")] = ""
    version: Annotated[str, _says("HTTP version")] = ""
    peer: Annotated[str, _says("address of the other end of the connection")] = ""
    listener: Annotated[str, _says("name of the listener")] = ""
    user_agent: Annotated[str, _says("the `User-Agent` header, shortened")] = ""


class McpPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What the message says, without its content."""

    method: Annotated[str, _says("JSON-RPC method; of a response: the method of its request, where known")] = ""
    name: Annotated[str | None, _says("the tool, prompt or resource named")] = None
    version: Annotated[str, _says("MCP revision of the exchange")] = ""
    id: Annotated[str | int | None, _says("JSON-RPC id as the agent knows it, shortened")] = None
    session: Annotated[str, _says("keyed digest of the session id")] = ""


class StreamPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The place of a message in an event stream."""

    event: Annotated[str, _says("keyed digest of the event id")]


class DecisionPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What policy said, and why. The line's `id` is the decision's id."""

    effect: Annotated[str, _says("`allow`, `deny` or `require-approval`")]
    policy: Annotated[str, _says("policy of the deciding rule; absent when the default decided")] = ""
    rule: Annotated[str, _says("the deciding rule")] = ""
    reason: Annotated[str, _says("what the agent was told")] = ""
    revision: Annotated[str, _says("revision of the configuration that decided")] = ""
    matched: Annotated[tuple[str, ...], _says("every rule that matched, as `policy/rule`")] = ()
    would: Annotated[tuple[tuple[str, str], ...], _says("rules on trial that matched, each with what it would do")] = ()


class TimingPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """When each step was reached."""

    received: Annotated[
        int, _says("nanoseconds since 1970: the head of the request was read; all others count from it")
    ]
    authn: Annotated[int | None, _says("µs until the agent was identified")] = None
    policy: Annotated[int | None, _says("µs until the first decision was made")] = None
    upstream_sent: Annotated[int | None, _says("µs until the request was handed to the upstream side")] = None
    upstream_first: Annotated[int | None, _says("µs until the head of the server's answer came")] = None
    upstream_last: Annotated[int | None, _says("µs until the last message came from the server")] = None
    sent: Annotated[int | None, _says("µs until the answer was complete")] = None


class OutcomePart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What came of it: HTTP, JSON-RPC and tool outcome are three different things."""

    http: Annotated[int, _says("HTTP status of the answer; absent when none was written")] = 0
    upstream: Annotated[int, _says("HTTP status of the server's answer; absent when there was none")] = 0
    jsonrpc: Annotated[int | None, _says("code of the JSON-RPC error")] = None
    is_error: Annotated[bool | None, _says("the tool's own verdict, where there is a tool result")] = None
    kind: Annotated[str, _says("`ok`, or the kind of refusal or failure")] = ""
    detail: Annotated[str, _says("the true reason, which the agent was not told")] = ""


class RefusalsPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Refusals to unknown callers that were only counted."""

    peer: Annotated[str, _says("address or /64 network; `*` for all that no longer fitted the table")]
    first: Annotated[int, _says("nanoseconds since 1970 of the first")]
    last: Annotated[int, _says("nanoseconds since 1970 of the last")]
    kinds: Annotated[dict[str, int], _says("how many of each kind of refusal")]


class CheckpointPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A point up to which the log can be counted."""

    reason: Annotated[str, _says("`opened`, `interval`, `rotated` or `closed`")]
    records: Annotated[int, _says("lines of this writer before this one")] = 0


class Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False, rename="camel"):
    """One line. What is absent is empty, unknown or does not apply."""

    v: Annotated[int, _says("version of this schema")] = 0
    seq: Annotated[int, _says("number of the line in its writer: from 1, without gaps, across files")] = 0
    writer: Annotated[str, _says("`<node>-<boot>-<worker>`")] = ""
    prev: Annotated[str, _says("hex SHA-256 of the previous line, without its newline; 64 zeros for the first")] = ""
    dir: Annotated[str, _says("`agent→gateway`, `gateway→server`, `server→gateway` or `gateway→agent`")] = ""
    type: Annotated[str, _says("`message`, `decision`, `exchange` (its end), `stream`, `conn`, `admin`, `checkpoint`")]
    id: Annotated[str, _says("the exchange's id and a number; of a decision: the id that the agent is told")] = ""
    ts: Annotated[int, _says("nanoseconds since 1970")]
    flow: Annotated[str, _says("what is replayed as one; an exchange belongs to the flow of its last line")] = ""
    exchange: Annotated[str, _says("one HTTP request and all that came back; ordered by time")] = ""
    exchange_seq: Annotated[int, _says("number of the line in its exchange: from 1, without gaps")] = 0
    parent: Annotated[str, _says("the line that this one answers")] = ""
    kind: Annotated[
        str, _says("`request`, `result`, `error` or `notification`; of `conn`: `refused`; of `admin`: what was done")
    ] = ""
    agent: Annotated[AgentPart | None, _says("who asked; `id: gateway` = the gateway itself")] = None
    server: Annotated[str, _says("the server's name")] = ""
    replica: Annotated[str, _says("the replica's URL")] = ""
    http: Annotated[HttpPart | None, _says("the HTTP request")] = None
    mcp: Annotated[McpPart | None, _says("what the message says")] = None
    stream: Annotated[StreamPart | None, _says("place in an event stream")] = None
    bytes: Annotated[int, _says("size of the message; with `bodies: metadata` or more")] = 0
    body: Annotated[msgspec.Raw, _says("the message itself; with `bodies: full`, up to 64 KiB")] = msgspec.Raw()
    body_sha256: Annotated[str, _says("hex SHA-256 of the message, where it is kept unchanged or too long to keep")] = (
        ""
    )
    body_hmac: Annotated[
        str, _says("keyed digest of the message, where a secret in `body` was replaced by its digest")
    ] = ""
    body_state: Annotated[str, _says("why there is no body with `bodies: full`: `too-long` or `unencodable`")] = ""
    decision: Annotated[DecisionPart | None, _says("what policy said")] = None
    timing: Annotated[TimingPart | None, _says("when each step was reached")] = None
    outcome: Annotated[OutcomePart | None, _says("what came of it")] = None
    refusals: Annotated[RefusalsPart | None, _says("refusals that were only counted")] = None
    lost: Annotated[int, _says("lines that were dropped before this one (`onFailure: drop`)")] = 0
    checkpoint: Annotated[CheckpointPart | None, _says("counts up to here")] = None
    flags: Annotated[tuple[str, ...], _says("`dropped`, and what the gateway says of the message")] = ()


encode = msgspec.json.Encoder().encode
"""Return any part as JSON. What comes from outside must then pass `telemetry.harmless`."""

decode = msgspec.json.Decoder(Line).decode
"""Return the line. Raises: msgspec.ValidationError, msgspec.DecodeError."""
