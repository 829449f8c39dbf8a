"""`MCPServer`: one server behind the gateway."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from openmcp.config.resources.base import Document, Fields, FilePath, Items, Name, SecretRef, SomeItems
from openmcp.config.resources.gateway import Bodies
from openmcp.config.values import Duration, HostName, PublicPath, ReplicaUrl, Size, header_name, replica_url

OWN_HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie"),
        *("expect", "host", "keep-alive", "last-event-id", "proxy-authenticate", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    }
)


def _credential_header(text: str) -> str:
    name = header_name(text).lower()
    if name in OWN_HEADERS or name.startswith(("mcp-", "x-openmcp-")):
        raise ValueError(f"`{text}` is written by the gateway itself and cannot carry a credential")
    return text


def _upstream_host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._\-\[\]:]+", text):
        raise ValueError(f"`{text[:80]}` is not a Host: write `upstream`, `client`, or a host with or without port")
    return text


def _target(text: str) -> str:
    try:
        replica_url(f"http://name{text}")
    except ValueError:
        raise ValueError(f"`{text[:80]}` is not a path: write it like /mcp") from None
    if not text.startswith("/"):
        raise ValueError(f"`{text[:80]}` is not a path: it begins with /")
    return text


class Credential(Fields):
    """A header that the gateway presents to the server; the agent's own credential is never passed on."""

    header: Annotated[str, AfterValidator(_credential_header)]
    """Name of the header."""

    prefix: str = ""
    """Text before the secret, such as `"Bearer "`."""

    value: SecretRef
    """Where the secret is read from."""


class Timeouts(Fields):
    """Bounds on waiting for a replica."""

    connect: Duration = "5s"
    """Until the connection stands."""

    response: Duration = "300s"
    """Until the head of the answer: tools may work for minutes."""

    stream_idle: Duration = "1h"
    """Between two bytes of an event stream."""


class Retries(Fields):
    """Second tries after a connection that could not be made; never after a byte was sent."""

    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Tries in all, on different replicas where there are several."""


class Health(Fields):
    """When a replica is left out and comes back."""

    probe: Literal["discover", "none"] = "discover"
    """`discover` asks as an MCP client would; `none` only counts failing exchanges."""

    interval: Duration = "10s"
    """Time between two probes."""

    unhealthy_after: Annotated[int, Field(ge=1)] = 3
    """Failures in a row after which the replica gets no new sessions."""

    healthy_after: Annotated[int, Field(ge=1)] = 1
    """Successes in a row after which it gets them again."""


class UpstreamTls(Fields):
    """TLS towards replicas with `https://`. Its files are watched: new ones count for new connections, at once.

    The certificate of a replica is verified always, its name included.
    """

    ca_file: FilePath | None = None
    """PEM file of the CAs that vouch for the replicas. Default: those that the operating system trusts."""

    cert_file: FilePath | None = None
    """PEM file of the certificate that the gateway presents (mTLS): first its own, then the intermediates."""

    key_file: FilePath | None = None
    """PEM file of that certificate's key, unencrypted."""

    server_name: HostName | None = None
    """Name that the replicas' certificates have to be for. Default: the host in each URL."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("a certificate needs its key: give both `certFile` and `keyFile`, or neither")
        return self


class Dns(Fields):
    """A name each of whose addresses is a replica. It has to give all of them with every answer."""

    name: HostName
    """The name, such as `github-mcp.tools.svc`."""

    port: Annotated[int, Field(ge=1, le=65535)]
    """The port of every replica."""

    path: Annotated[str, AfterValidator(_target)] = "/mcp"
    """Path of the MCP endpoint."""

    scheme: Literal["http", "https"] = "http"
    """`https`: the certificates have to be for the name (or `tls.serverName`)."""

    refresh: Duration = "10s"
    """How often the name is resolved again. Addresses that are gone get nothing more; those that stay keep their
    sessions; while the name cannot be resolved the last ones stay."""


class Upstream(Fields):
    """How the server is reached."""

    replicas: SomeItems[ReplicaUrl] | None = None
    """URLs of the MCP endpoint of each replica: `http://` or `https://`. Either this or `dns`."""

    dns: Dns | None = None
    """The name under which all replicas are found, in place of `replicas`."""

    http2: Literal["auto", "never", "prior-knowledge"] = "auto"
    """HTTP/2 towards the replicas: `auto` where they offer it with TLS, `never`, or `prior-knowledge`: always, also
    without TLS."""

    tls: UpstreamTls | None = None
    """For replicas with `https://`. Absent: verified by the operating system's CAs, and nothing is presented."""

    host: Annotated[str, AfterValidator(_upstream_host)] = "upstream"
    """`Host` header that the server gets: `upstream` (the replica's), `client` (the agent's), or a literal."""

    credentials: Items[Credential] = ()
    """Headers that the gateway presents to the server."""

    identity_header: Literal["none", "assertion", "plain"] = "none"
    """How the server is told who the agent is: `assertion` (signed JWT in `X-OpenMCP-Assertion`, keys at
    `/.well-known/openmcp/jwks.json`), `plain` (name in `X-OpenMCP-Agent`), `none`."""

    timeouts: Timeouts = Timeouts()
    """Bounds on waiting."""

    retries: Retries = Retries()
    """Second tries."""

    idle_connection: Duration = "4s"
    """How long an unused connection is kept; below the keep-alive of common servers, so that a reused one is alive."""

    health: Health = Health()
    """When a replica is left out and comes back."""

    balance: Literal["roundRobin", "leastRequests", "random"] = "leastRequests"
    """How a replica is chosen for new sessions. `leastRequests` keeps away from a slow one by itself."""

    @model_validator(mode="after")
    def _one_way_to_find_them(self) -> Self:
        if (self.replicas is None) == (self.dns is None):
            raise ValueError("the replicas are found in one way: give either `replicas` or `dns`")
        return self


class Affinity(Fields):
    """How a session finds the replica that opened it."""

    mode: Literal["stored", "sealed", "hash", "none"] = "stored"
    """`stored`: the binding is kept in the state store. `sealed`: the session id itself says all, no store is asked.
    `hash`: as `sealed`, and new sessions go where the agent's identity points. `none`: as `sealed`, any replica."""

    idle_timeout: Duration = "30m"
    """A session that is not used for this long ends (`stored` only; the server's own timeout holds in any case)."""

    max_age: Duration = "24h"
    """A session ends after this time in any case."""


class Authentication(Fields):
    """Whose credentials the server takes."""

    sources: Items[Name] | None = None
    """Names of `IdentitySource`s, asked in this order. Default: all of them, by their `order`."""

    anonymous: bool = False
    """Whether an agent without any credential is let in, as `anonymous`. A wrong credential never is."""

    consistency: Literal["first", "strict"] = "first"
    """`first`: the first source that verifies decides. `strict`: all sources are asked, every credential that is
    presented has to verify, and all have to be of one agent."""


class ServerPolicy(Fields):
    """What happens on this server where no rule matches."""

    default: Literal["deny", "allow"] | None = None
    """Default: the gateway's `policy.default`."""


class PinningSettings(Fields):
    """What happens when the server offers other definitions than it did at first sight."""

    mode: Literal["none", "warn", "block"] = "none"
    """`none`: nothing is remembered. `warn`: a changed or new definition is recorded, and goes on. `block`: it is
    neither listed nor used until `openmcp pin accept`."""


class ServerLimits(Fields):
    """Bounds of this server."""

    request_bytes: Size | None = None
    """Largest request body. Default: the gateway's."""

    message_bytes: Size | None = None
    """Largest JSON body or single event from the server. Default: the gateway's."""


class ServerAudit(Fields):
    """Evidence about this server."""

    bodies: Bodies | None = None
    """How much of message bodies is kept: `none`, `metadata`, `redacted`, `full`. Default: the gateway's."""


class ServerTracing(Fields):
    """How traces of agents go on here."""

    parent: Literal["continue", "link"] = "continue"
    """`continue`: an exchange belongs to the trace that its agent names. `link`: to a trace of its own that links to
    it, so that no agent can write into somebody's trace. Whether a trace is kept is never the agent's to say."""


class MCPServerSettings(Fields):
    """One server: its path, its replicas, its limits."""

    path: PublicPath | None = None
    """Path prefix that agents use; the longest one wins, with or without trailing slash. Default: `/<name>`."""

    hosts: Items[HostName] = ()
    """Host names that this path is served for. Default: any."""

    upstream: Upstream
    """How the server is reached."""

    affinity: Affinity = Affinity()
    """How a session finds its replica."""

    authentication: Authentication = Authentication()
    """Whose credentials the server takes."""

    policy: ServerPolicy = ServerPolicy()
    """What happens where no rule matches."""

    pinning: PinningSettings = PinningSettings()
    """What happens when a definition changes."""

    limits: ServerLimits = ServerLimits()
    """Bounds of this server."""

    audit: ServerAudit = ServerAudit()
    """Evidence about this server."""

    tracing: ServerTracing = ServerTracing()
    """Distributed traces."""


class MCPServerDocument(Document):
    """One server behind the gateway: its path, its replicas, its session affinity, its limits."""

    kind: Literal["MCPServer"]
    """The resource's kind."""

    spec: MCPServerSettings
    """The settings."""
