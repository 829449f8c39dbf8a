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
"""Longer bodies stand beside the log, under their digest."""


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
    links: Annotated[
        tuple[str, ...],
        _says("keyed digests of what ties it to earlier and later messages: states of multi-round calls, ids of tasks"),
    ] = ()


class StreamPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The place of a message in an event stream, or an event that carried none."""

    n: Annotated[int, _says("number of the event in its stream, from 1")] = 0
    event: Annotated[str, _says("keyed digest of the event id, as the server gave it")] = ""
    resumes: Annotated[str, _says("keyed digest of the event id after which the stream was asked to go on")] = ""
    retry: Annotated[int | None, _says("ms that the server asks clients to wait before they come back")] = None
    comments: Annotated[int, _says("heartbeats since the event before; they have no lines of their own")] = 0


class BodyRef(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A body that is too long for its line: a file beside the log, redacted as a line is."""

    sha256: Annotated[str, _says("hex SHA-256 of the file; the file is `bodies/<first two digits>/<sha256>.json`")]
    bytes: Annotated[int, _says("size of the file")]


class RedactionPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A value that is not in the log. What stands in its place names the detector."""

    path: Annotated[str, _says("JSONPath from the message: `$.params.arguments.token`")]
    detector: Annotated[str, _says("what found it; `key` = by the name of its key")]
    length: Annotated[int, _says("characters of the value")] = 0


class ChangePart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How a message that went out differs from the one that came in."""

    op: Annotated[str, _says("`replaced`, `removed` or `added`; paths count in the message before all changes")]
    path: Annotated[str, _says("JSONPath from the message: `$.result.tools[2]`; of `added`, where it stands now")]
    value: Annotated[
        msgspec.Raw, _says("what stands there now, redacted like a body; absent where bodies are not kept")
    ] = msgspec.Raw()
    name: Annotated[str, _says("name or URI of the list entry that was removed")] = ""


class FindingPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What a content rule found in the message."""

    policy: Annotated[str, _says("the rule's policy")]
    rule: Annotated[str, _says("the rule")]
    detector: Annotated[str, _says("what found it")]
    action: Annotated[str, _says("`block`, `redact`, `mask` or `log`")]
    path: Annotated[str, _says("JSONPath from the message")] = ""
    length: Annotated[int, _says("characters of what was found, never the value")] = 0
    is_shadow: Annotated[bool, _says("whether the rule is on trial: nothing was done")] = False


class DecisionPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What policy said, and why. The line's `id` is the decision's id."""

    effect: Annotated[str, _says("`allow`, `deny` or `require-approval`")]
    policy: Annotated[str, _says("policy of the deciding rule; absent when the default decided")] = ""
    rule: Annotated[str, _says("the deciding rule")] = ""
    reason: Annotated[str, _says("what the agent was told")] = ""
    revision: Annotated[str, _says("revision of the configuration that decided")] = ""
    matched: Annotated[tuple[str, ...], _says("every rule that matched, as `policy/rule`")] = ()
    would: Annotated[tuple[tuple[str, str], ...], _says("rules on trial that matched, each with what it would do")] = ()
    input: Annotated[
        msgspec.Raw,
        _says(
            "all that was looked at beside the message, for deciding again; the message is that of `parent`, "
            "or of the `base` chain that leads to it"
        ),
    ] = msgspec.Raw()


class ReviewPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One step of a question to humans."""

    id: Annotated[str, _says("the review")]
    step: Annotated[
        str, _says("`opened`, `notified`, `seen`, `voted`, `granted`, `denied`, `expired`, `cancelled` or `failed`")
    ]
    approval_flow: Annotated[str, _says("which people and channels")] = ""
    policy: Annotated[str, _says("policy of the rule that asked")] = ""
    rule: Annotated[str, _says("the rule that asked")] = ""
    digest: Annotated[str, _says("keyed digest of the arguments that were put to people")] = ""
    channel: Annotated[str, _says("through which it was asked or answered")] = ""
    voter: Annotated[str, _says("who voted: issuer and subject, or address")] = ""
    assurance: Annotated[str, _says("how the voter was verified: `login`, `signed`, `code`, `local`")] = ""
    vote: Annotated[str, _says("`approve` or `deny`")] = ""
    votes: Annotated[int, _says("votes so far that count")] = 0
    needed: Annotated[int, _says("votes that are needed")] = 0
    reason: Annotated[str, _says("what the voter wrote")] = ""
    expires_at: Annotated[int, _says("nanoseconds since 1970: no answer counts after it")] = 0


class GrantPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The yes of humans under which a message was sent, or a step in its life."""

    id: Annotated[str, _says("the grant")]
    review: Annotated[str, _says("the review that gave it")] = ""
    step: Annotated[str, _says("`used`, `made`, `revoked` or `expired`")] = "used"
    scope: Annotated[str, _says("what it is for: `call`, `arguments`, `session`, …")] = ""
    expires_at: Annotated[int, _says("nanoseconds since 1970")] = 0
    uses_left: Annotated[int | None, _says("absent = as often as wanted")] = None


class TracePart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Where the exchange stands in a distributed trace (W3C Trace Context)."""

    trace: Annotated[str, _says("trace id, 32 hex digits")]
    span: Annotated[str, _says("span id, 16 hex digits: the gateway's own; without tracing the agent's")] = ""
    is_sampled: Annotated[bool, _says("whether spans are kept")] = False


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


class ConnPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A connection of an agent, told when it has ended."""

    opened: Annotated[int, _says("nanoseconds since 1970")]
    exchanges: Annotated[int, _says("requests that came over it")] = 0
    port: Annotated[int, _says("port of the other end")] = 0
    protocol: Annotated[str, _says("`http/1.1` or `h2`")] = ""
    tls: Annotated[str, _says("version of TLS; absent for plaintext")] = ""
    certificate: Annotated[str, _says("hex SHA-256 of the client's certificate")] = ""


class AdminPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What was done to the gateway itself."""

    result: Annotated[str, _says("`ok`, `refused` or `failed`")] = "ok"
    version: Annotated[str, _says("of the gateway")] = ""
    node: Annotated[str, _says("the machine's name")] = ""
    generation: Annotated[int, _says("how many configurations were in force, this one included")] = 0
    revision: Annotated[str, _says("revision of the configuration that is in force now")] = ""
    source: Annotated[str, _says("where the configuration came from")] = ""
    faults: Annotated[tuple[str, ...], _says("why it was refused, or what failed; each with its place")] = ()
    warnings: Annotated[tuple[str, ...], _says("what is probably not meant")] = ()
    keys: Annotated[dict[str, str], _says("fingerprints of the keys and certificates that are in force now")] = {}
    reason: Annotated[str, _says("why it was done")] = ""


class PinPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A definition of a server that is other than accepted, or that was accepted."""

    change: Annotated[str, _says("`new`, `changed` or `accepted`")]
    kind: Annotated[str, _says("`tool`, `prompt`, `resource` or `template`")]
    name: Annotated[str, _says("name, URI or URI template")]
    digest: Annotated[str, _says("hex SHA-256 of the definition; `openmcp pin list` shows its text")]
    by: Annotated[str, _says("the replica that offers it, where known, or who has accepted it")] = ""
    is_held: Annotated[bool, _says("whether agents can neither see nor use it")] = False


class CheckpointPart(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A point up to which the log can be counted, signed."""

    reason: Annotated[str, _says("`opened`, `interval`, `rotated` or `closed`")]
    records: Annotated[int, _says("lines of this writer before this one")] = 0
    kid: Annotated[str, _says("which key signed: JWK thumbprint (RFC 7638) of the public key")] = ""
    public_key: Annotated[
        str, _says("the public key, Ed25519, base64url; where a file begins. Whoever verifies has it from elsewhere")
    ] = ""


class Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False, rename="camel"):
    """One line. What is absent is empty, unknown or does not apply."""

    v: Annotated[int, _says("version of this schema")] = 0
    seq: Annotated[int, _says("number of the line in its writer: from 1, without gaps, across files")] = 0
    writer: Annotated[str, _says("`<node>-<boot>-<worker>`")] = ""
    prev: Annotated[str, _says("hex SHA-256 of the previous line, without its newline; 64 zeros for the first")] = ""
    dir: Annotated[str, _says("`agent→gateway`, `gateway→server`, `server→gateway` or `gateway→agent`")] = ""
    type: Annotated[
        str, _says("`message`, `decision`, `review`, `exchange` (its end), `stream`, `conn`, `admin`, `checkpoint`")
    ]
    id: Annotated[str, _says("the exchange's id and a number; of a decision: the id that the agent is told")] = ""
    ts: Annotated[int, _says("nanoseconds since 1970")]
    flow: Annotated[str, _says("what is replayed as one; an exchange belongs to the flow of its last line")] = ""
    exchange: Annotated[str, _says("one HTTP request and all that came back; ordered by time")] = ""
    exchange_seq: Annotated[int, _says("number of the line in its exchange: from 1, without gaps")] = 0
    parent: Annotated[str, _says("the line that this one answers")] = ""
    base: Annotated[str, _says("the line whose message this is, with `changes`")] = ""
    kind: Annotated[
        str,
        _says(
            "`request`, `result`, `error` or `notification`; of `conn`: `refused` or `closed`; of `stream`: `event`; "
            "of `admin`: `start`, `stop`, `configuration`, `rotation`, `certificate`, `probe`, `pin`, `lost`; "
            "else absent"
        ),
    ] = ""
    agent: Annotated[AgentPart | None, _says("who asked; `id: gateway` = the gateway itself")] = None
    server: Annotated[str, _says("the server's name")] = ""
    replica: Annotated[str, _says("the replica's URL")] = ""
    http: Annotated[HttpPart | None, _says("the HTTP request")] = None
    mcp: Annotated[McpPart | None, _says("what the message says")] = None
    stream: Annotated[StreamPart | None, _says("place in an event stream")] = None
    bytes: Annotated[int, _says("size of the message as it came; with `bodies: metadata` or more")] = 0
    body: Annotated[msgspec.Raw, _says("the message itself; with `bodies: redacted` or `full`, up to 64 KiB")] = (
        msgspec.Raw()
    )
    body_ref: Annotated[BodyRef | None, _says("where a longer message stands")] = None
    body_sha256: Annotated[str, _says("hex SHA-256 of the message, where it is kept unchanged")] = ""
    body_hmac: Annotated[str, _says("keyed digest of the message, where something of it is not in the log")] = ""
    body_state: Annotated[
        str, _says("why there is no body: `too-long` (and no folder for it), `unencodable` or `unredactable`")
    ] = ""
    redactions: Annotated[tuple[RedactionPart, ...], _says("what is not in the body")] = ()
    changes: Annotated[tuple[ChangePart, ...], _says("how this message differs from that of `base`")] = ()
    findings: Annotated[tuple[FindingPart, ...], _says("what content rules found")] = ()
    decision: Annotated[DecisionPart | None, _says("what policy said")] = None
    review: Annotated[ReviewPart | None, _says("a question to humans")] = None
    grant: Annotated[GrantPart | None, _says("the yes of humans")] = None
    timing: Annotated[TimingPart | None, _says("when each step was reached")] = None
    trace: Annotated[TracePart | None, _says("place in a distributed trace")] = None
    outcome: Annotated[OutcomePart | None, _says("what came of it")] = None
    refusals: Annotated[RefusalsPart | None, _says("refusals that were only counted")] = None
    conn: Annotated[ConnPart | None, _says("a connection")] = None
    admin: Annotated[AdminPart | None, _says("what was done to the gateway")] = None
    pin: Annotated[PinPart | None, _says("a definition that changed, or was accepted")] = None
    lost: Annotated[int, _says("lines that were dropped before this one (`onFailure: drop`)")] = 0
    repeats: Annotated[int, _says("how often the same was seen since the line before that says so")] = 0
    checkpoint: Annotated[CheckpointPart | None, _says("counts up to here")] = None
    flags: Annotated[
        tuple[str, ...],
        _says("`dropped` (not sent on), `own` (the gateway's own words), `undelivered` (nobody took it)"),
    ] = ()
    sig: Annotated[str, _says("of a checkpoint: Ed25519 over the line without this member; always stands last")] = ""


encode = msgspec.json.Encoder().encode
"""Return any part as JSON. What comes from outside must then pass `telemetry.harmless`."""

decode = msgspec.json.Decoder(Line).decode
"""Return the line. Raises: msgspec.ValidationError, msgspec.DecodeError."""
