"""What is proxied: a `Server` behind a path, and the `Replica`s that run it.

Compiled by `config/` from `MCPServer` resources; times in seconds, sizes in bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from openmcp.model.pin import Pinning
from openmcp.model.tls import CallingTls


class AffinityMode(Enum):
    """How an exchange finds the replica that holds its session (docs/guides: sticky routing)."""

    STORED = "stored"
    SEALED = "sealed"
    HASH = "hash"
    NONE = "none"


class Balance(Enum):
    """How a replica is chosen where none is bound."""

    ROUND_ROBIN = "roundRobin"
    LEAST_REQUESTS = "leastRequests"
    RANDOM = "random"


class Http2(Enum):
    """Whether replicas are spoken to in HTTP/2."""

    AUTO = "auto"
    """Where they offer it in the TLS handshake."""

    NEVER = "never"
    PRIOR_KNOWLEDGE = "prior-knowledge"
    """Always, also without TLS."""


class Bodies(Enum):
    """How much of a message's body the audit log keeps."""

    NONE = "none"
    METADATA = "metadata"
    REDACTED = "redacted"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Replica:
    """One address of a server."""

    url: str
    """As configured, normalised; the replica's stable name in state and records."""

    host: str
    port: int
    target: str
    """Path (and query) of the request line: `/mcp`."""

    is_tls: bool = False
    name: str = ""
    """The name under which it was found; empty = it is called as `host`."""

    @property
    def called(self) -> str:
        """The host as it is called: in the `Host` header, and to hold its certificate to."""
        return self.name or self.host

    @property
    def authority(self) -> str:
        """`host:port` for the `Host` header; always with the port, as SDK servers expect it."""
        host = f"[{self.called}]" if ":" in self.called else self.called
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Named:
    """Replicas that are found by a name: each of its addresses is one."""

    host: str
    port: int
    target: str
    is_tls: bool
    refresh_s: float
    """How often the name is resolved again."""

    def at(self, address: str) -> Replica:
        """Return the replica at an IP address."""
        scheme = "https" if self.is_tls else "http"
        place = f"[{address}]" if ":" in address else address
        url = f"{scheme}://{place}:{self.port}{self.target}"
        return Replica(url, address, self.port, self.target, is_tls=self.is_tls, name=self.host)


@dataclass(frozen=True, slots=True)
class Affinity:
    """How long a session stays bound."""

    mode: AffinityMode = AffinityMode.STORED
    idle_timeout_s: float = 1800.0
    max_age_s: float = 86400.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds on waiting for a replica."""

    connect_s: float = 5.0
    response_s: float = 300.0
    """Until the head of the answer."""

    stream_idle_s: float = 3600.0
    """Between two bytes of an event stream."""


@dataclass(frozen=True, slots=True)
class Health:
    """When a replica is ejected and comes back."""

    probe: str = "discover"
    """`discover` (server/discover, then initialize and ping) | `none`."""

    interval_s: float = 10.0
    unhealthy_after: int = 3
    healthy_after: int = 1


@dataclass(frozen=True, slots=True)
class Authentication:
    """Which identity sources a server listens to, in order."""

    sources: tuple[str, ...]
    is_anonymous_allowed: bool = False
    is_strict: bool = False
    """Whether every credential that is presented has to verify, and be of the same agent."""


class IdentityHeader(Enum):
    """How a server is told who the agent is."""

    NONE = "none"
    ASSERTION = "assertion"
    """A signed JWT about agent and call."""

    PLAIN = "plain"
    """The agent's name, unsigned."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A header that the gateway presents to the upstream."""

    header: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Server:
    """One MCP server behind the gateway."""

    name: str
    path: str
    """Public path prefix, without trailing slash: `/github-mcp`."""

    replicas: tuple[Replica, ...]
    authentication: Authentication
    hosts: tuple[str, ...] = ()
    """Host names that this server answers for; empty = any that the listener accepts."""

    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    named: Named | None = None
    """The name whose addresses are the replicas; `None` = they are configured."""

    upstream_host: str = "upstream"
    """`upstream` (the replica's authority) | `client` (as the agent sent it) | a literal value."""

    credentials: tuple[Credential, ...] = ()
    identity_header: IdentityHeader = IdentityHeader.NONE
    affinity: Affinity = Affinity()
    timeouts: Timeouts = Timeouts()
    health: Health = Health()
    balance: Balance = Balance.LEAST_REQUESTS
    retry_attempts: int = 2
    """Connect attempts in all, at least 1; nothing is retried after a byte was sent."""

    http2: Http2 = Http2.AUTO
    tls: CallingTls = field(default_factory=CallingTls)
    """For the replicas that are called by `https://`."""

    idle_connection_s: float = 4.0
    request_bytes: int = 4 << 20
    message_bytes: int = 16 << 20
    """Bound on one JSON body or one event from upstream."""

    is_default_allow: bool = False
    """What happens where no rule matched."""

    is_trace_continued: bool = True
    """Whether exchanges belong to the trace that the agent names; else to one of their own, which links to it."""

    bodies: Bodies = Bodies.METADATA
    pinning: Pinning = Pinning.NONE
