"""`GatewayConfig`: what one process needs before it can read any other resource."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from openmcp.config.resources.base import Document, Fields, FilePath, Items, Metadata, SecretRef
from openmcp.config.values import (
    AddressText,
    BaseUrl,
    Duration,
    HostName,
    NetworkText,
    Origin,
    ReplicaUrl,
    Size,
    StateUrl,
    header_name,
)

NonEmpty = Annotated[str, StringConstraints(min_length=1)]
Count = Annotated[int, Field(ge=1)]


class Tls(Fields):
    """TLS of an address that the gateway serves. Its files are watched: new ones count for new connections, at once."""

    cert_file: FilePath
    """PEM file: the certificate first, then its intermediates; counted from the file that names it."""

    key_file: FilePath
    """PEM file of the certificate's key, unencrypted."""

    min_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    """Oldest version that is spoken. 1.2 is what every maintained client speaks; older ones are broken."""


class ListenerTls(Tls):
    """TLS of a listener. Changes count for new connections; those that are there go on as they are."""

    client_auth: Literal["none", "optional", "required"] = "none"
    """Whether clients are asked for a certificate: `optional` takes those who have none, too.

    Which CAs count is said by the identity sources, and each of them verifies again.
    """


class Listener(Fields):
    """A socket that agents connect to."""

    name: NonEmpty = "public"
    """Name of the listener in records and logs."""

    address: AddressText = "127.0.0.1:8080"
    """`HOST:PORT` to listen on; port 0 takes a free one. Loopback by default: opening up is a decision."""

    public_url: BaseUrl | None = None
    """What agents call this listener (scheme, host, port). Never taken from the `Host` header. Default: the address."""

    allowed_hosts: Items[HostName] = ()
    """`Host` names that are answered, without port. Default: the host of `publicUrl` and loopback."""

    allowed_origins: Items[Origin] = ()
    """Browser origins that are answered. Default: none but the listener's own."""

    trusted_peers: Items[NetworkText] = ()
    """Networks whose identity headers are believed. Default: nobody's."""

    http2: bool = True
    """Whether HTTP/2 is spoken beside HTTP/1.1: with TLS where the client offers it (ALPN `h2`), without TLS with
    clients that begin with it (prior knowledge)."""

    tls: ListenerTls | None = None
    """Certificate and key. Absent: plaintext."""


class Admin(Fields):
    """The listener for probes and scrapers: `/livez`, `/readyz`, `/metrics`, nothing else."""

    address: AddressText = "127.0.0.1:9090"
    """`HOST:PORT` to listen on. Apart from the agents' listener, so that no agent reaches it."""

    tls: Tls | None = None
    """Certificate and key. Absent: plaintext, as probes mostly want it."""


class ConfigLocation(Fields):
    """Where the other resources are read from, beside the documents of the bootstrap file."""

    source: Literal["file"] = "file"
    """Kind of the source."""

    path: NonEmpty
    """A YAML file, or a directory of `*.yaml` and `*.yml` files; counted from the file that names it. Watched."""


class State(Fields):
    """Where sessions and other small facts are kept."""

    url: StateUrl = "sqlite"
    """`sqlite` (`<dataDir>/state.db`: survives a restart), `sqlite:PATH`, or `memory:` (lost with the process)."""


class Keys(Fields):
    """The node's secret keys: each at least 32 random bytes, as base64, hex or any other text; of `signing` also PEM.

    What is absent is made under `<dataDir>/keys` at the first start.
    """

    sealing: Annotated[Items[SecretRef], Field(min_length=1)] | None = None
    """Keys that seal values handed to agents: the first seals, all of them open."""

    signing: Annotated[Items[SecretRef], Field(min_length=1)] | None = None
    """Ed25519 keys (PEM, or random bytes): the first signs, the others belong to what was signed before.

    They sign the checkpoints of the audit log. Whoever verifies needs the public key only.
    """

    hashing: SecretRef | None = None
    """Key of the keyed digests that stand for session ids and arguments in records and state."""


class FileSink(Fields):
    """Writes the audit log into files of a directory."""

    path: NonEmpty | None = None
    """The directory. Default: `<dataDir>/audit`."""

    rotate: Size = "256MiB"
    """Size at which a new file is begun. The default is still handled well by editors and copies quickly."""

    rotate_every: Duration = "24h"
    """Age at which a new file is begun, so that a quiet gateway's evidence can be put away, too."""

    compress: Literal["zstd", "none"] = "zstd"
    """What becomes of a file that has ended: a tenth of its size (`.jsonl.zst`), or nothing. Old files are never
    deleted: how long evidence is kept is the operator's to say."""


class StdoutSink(Fields):
    """Writes the audit log to standard output, for collectors of container logs."""


class CollectorHeader(Fields):
    """A header that the collector wants, usually a credential."""

    header: Annotated[str, AfterValidator(header_name)]
    """Name of the header."""

    prefix: str = ""
    """Text before the secret, such as `"Bearer "`."""

    value: SecretRef
    """Where the secret is read from."""


class RemoteSink(Fields):
    """What sinks have in common that send the audit log elsewhere."""

    headers: Items[CollectorHeader] = ()
    """What the collector wants to see: `Authorization`, an index, a tenant."""

    ca_file: NonEmpty | None = None
    """Authorities (PEM) that may vouch for the collector. Default: the system's."""

    buffer: Size = "64MiB"
    """Lines that may wait in memory while the collector does not take them; beyond it they are counted and left out.

    They stay in the files: a remote sink never holds up a local one. Without a local sink nothing is left out, and
    `onFailure` says what happens.
    """

    timeout: Duration = "10s"
    """Longest wait for the collector's answer to one batch."""


class HttpSink(RemoteSink):
    """Sends the audit log in batches of JSON lines (`application/x-ndjson`) to a collector, each line at least once."""

    url: ReplicaUrl
    """Where batches are posted to."""


class OtlpSink(RemoteSink):
    """Sends the audit log as OpenTelemetry log records (OTLP/HTTP, JSON) to a collector, each line at least once."""

    endpoint: BaseUrl = "http://127.0.0.1:4318"
    """Base URL of the collector; `/v1/logs` is added. Default: a collector beside the gateway."""


class Sink(Fields):
    """One place that the audit log is written to. Exactly one key."""

    file: FileSink | None = None
    """Files on this node."""

    stdout: StdoutSink | None = None
    """Standard output."""

    http: HttpSink | None = None
    """A collector of JSON lines."""

    otlp: OtlpSink | None = None
    """A collector of OpenTelemetry."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(sink is not None for sink in (self.file, self.stdout, self.http, self.otlp)) != 1:
            raise ValueError("a sink is one thing: give one of `file`, `stdout`, `http` and `otlp`")
        return self


Bodies = Literal["none", "metadata", "redacted", "full"]


class Redact(Fields):
    """What is taken out of everything that is written, beside what always is.

    Always: what a detector of secrets finds, `us-ssn`, `credit-card`, `iban`, and the values of keys that are named
    like a secret (`password`, `token`, `authorization`, …).
    """

    detect: Items[NonEmpty] = ()
    """Names of further detectors."""

    keys: Items[NonEmpty] = ()
    """Names of further keys whose values are taken out; case, `-` and `_` do not matter."""


class Audit(Fields):
    """The evidence: what is written, where to, and what happens when it cannot be."""

    sinks: Annotated[Items[Sink], Field(min_length=1)] = (Sink(file=FileSink()),)
    """Where records go; each record goes to all of them. Default: files under `<dataDir>/audit`."""

    bodies: Bodies = "redacted"
    """How much of message bodies is kept: `none`, `metadata` (names and sizes), `redacted`, `full`.

    `redacted` by default: a flow can be replayed, and secrets and personal data that are recognised are not in it.
    """

    redact: Redact = Redact()
    """What `redacted` takes out."""

    on_failure: Literal["block", "failClosed", "drop"] = "block"
    """When the log cannot be written: `block` (wait up to 5 s, then refuse), `failClosed` (refuse), `drop` (count).

    `block` by default: nothing goes upstream unlogged, and a short stall is no outage.
    """

    durability: Literal["async", "batch", "sync"] = "async"
    """When a record counts as written: handed to the system (`async`), synced in groups (`batch`), or each (`sync`).

    `async` by default: it survives a crash of the process; `sync` also a power cut, and costs a disk write each.
    """


class OtlpTraces(Fields):
    """A collector that takes traces by OTLP over HTTP."""

    endpoint: BaseUrl
    """Base URL of the collector, such as `http://127.0.0.1:4318`; `/v1/traces` is added."""

    headers: Items[CollectorHeader] = ()
    """Headers that the collector wants."""


class Tracing(Fields):
    """OpenTelemetry traces; off unless a receiver is given. Needs the extra `openmcp[otel]`."""

    otlp: OtlpTraces | None = None
    """Where spans are sent."""

    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Part of the traces that is kept, chosen by the trace id: agents can neither force nor prevent it."""


_SECRET_HEADERS = frozenset(
    {
        "authorization",
        "cookie",
        "dpop",
        "last-event-id",
        "mcp-session-id",
        "proxy-authorization",
        "set-cookie",
        "signature",
        "x-api-key",
        "x-auth-request-access-token",
        "x-forwarded-access-token",
        "x-forwarded-client-cert",
    }
)


def _readable_header(name: str) -> str:
    header_name(name)
    if name.lower() in _SECRET_HEADERS:
        raise ValueError(f"`{name}` carries a credential: it is never shown to rules, nor written into the evidence")
    return name


class DefaultPolicy(Fields):
    """What happens where no rule matches."""

    default: Literal["deny", "allow"] = "deny"
    """`deny` unless you say otherwise: what nobody thought of is not open."""

    headers: Items[Annotated[str, AfterValidator(_readable_header)]] = ()
    """Request headers that conditions may read as `request.headers['x-team']`, names in lower case. Whoever sends a
    request chooses its headers: they can narrow what is allowed, and prove nothing. Credentials cannot be named."""


class Limits(Fields):
    """Bounds that protect the node. Sizes and durations are texts with a unit."""

    request_bytes: Size = "4MiB"
    """Largest request body of an agent."""

    message_bytes: Size = "16MiB"
    """Largest JSON body or single event from a server; a stream as a whole is not bounded."""

    buffered_bytes: Size = "256MiB"
    """Memory for bodies under way in the whole process; beyond it new exchanges are refused."""

    json_depth: Annotated[int, Field(ge=2, le=256)] = 64
    """Deepest nesting of a message. No honest tool comes near it."""

    header_bytes: Size = "32KiB"
    """Largest request head."""

    concurrent_exchanges: Count = 10000
    """Exchanges under way in the whole process, of which one identity gets at most a tenth (but not less than
    `streamsPerPrincipal`); beyond it new ones are refused."""

    streams_per_principal: Count = 100
    """Open event streams of one identity; anonymous peers count by address, in IPv6 by /64 network."""

    headers_timeout: Duration = "10s"
    """Longest wait for a request head: a slow sender holds no connection."""

    body_timeout: Duration = "30s"
    """Longest wait for a request body."""

    drain_timeout: Duration = "30s"
    """How long exchanges under way may go on after the node was asked to stop."""


def _one_worker(value: object) -> object:
    if value == "auto" or (type(value) is int and value == 1):
        return value
    if type(value) is int and value > 1:
        raise ValueError("more than one worker is not available in this version: write 1 or auto")
    raise ValueError("the number of workers is 1 or auto")


class GatewayConfigSettings(Fields):
    """The node's own settings. All have defaults."""

    listeners: Annotated[Items[Listener], Field(min_length=1)] = (Listener(),)
    """Where agents connect. Default: one listener on loopback."""

    admin: Admin = Admin()
    """Where probes and scrapers connect."""

    data_dir: NonEmpty = "./openmcp-data"
    """Directory for state, audit log and keys, made with mode 0700; counted from the file that names it."""

    workers: Annotated[int | str, BeforeValidator(_one_worker), WithJsonSchema({"enum": [1, "auto"]})] = "auto"
    """Processes that share the listeners; `auto` is one in this version."""

    config: ConfigLocation | None = None
    """Where the other resources are. Default: only the documents of this file."""

    state: State = State()
    """Where sessions are kept."""

    keys: Keys = Keys()
    """The node's secret keys."""

    audit: Audit = Audit()
    """The evidence."""

    tracing: Tracing = Tracing()
    """Distributed traces."""

    policy: DefaultPolicy = DefaultPolicy()
    """What happens where no rule matches; servers can say otherwise."""

    limits: Limits = Limits()
    """Bounds that protect the node."""


class GatewayConfigDocument(Document):
    """What one process needs before it can read any other resource. At most one document of this kind."""

    kind: Literal["GatewayConfig"]
    """The resource's kind."""

    metadata: Metadata = Metadata(name="gateway")
    """What the node is called."""

    spec: GatewayConfigSettings = GatewayConfigSettings()
    """The settings."""
