"""All configuration, validated and immutable: the `Snapshot`.

Made by `load`, held by the composition root, read by the stages. Everything in it is
in the units that code uses: seconds, bytes, absolute paths, resolved secrets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from openmcp.config.approving import ChannelSpec, FlowSpec, GroupSpec
from openmcp.config.identities import AgentSpec, SourceSpec
from openmcp.config.values import Address, Network
from openmcp.model.agent import Trust
from openmcp.model.content import ContentRule, Detect, Phase
from openmcp.model.decision import Effect
from openmcp.model.server import Bodies, Credential, Server
from openmcp.model.tls import ServingTls

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that agents connect to."""

    name: str
    address: Address
    public_url: str
    """Without trailing slash; `""` = not configured, the bound address is all there is."""

    allowed_hosts: frozenset[str]
    """Host names without port, lower case, IPv6 in brackets; the defaults are already in it."""

    allowed_origins: frozenset[str]
    """Lower case, beside the listener's own."""

    trusted_peers: tuple[Network, ...] = ()
    speaks_http2: bool = True
    tls: ServingTls | None = None
    """`None` = plaintext."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that protect the node."""

    request_bytes: int
    message_bytes: int
    buffered_bytes: int
    json_depth: int
    header_bytes: int
    concurrent_exchanges: int
    streams_per_principal: int
    headers_timeout_s: float
    body_timeout_s: float
    drain_timeout_s: float


class OnFailure(Enum):
    """What happens to exchanges when evidence cannot be written."""

    BLOCK = "block"
    """They wait for room, then are refused."""

    FAIL_CLOSED = "failClosed"
    """They are refused at once."""

    DROP = "drop"
    """They go on, and messages are counted instead of kept; decisions never."""


class Durability(Enum):
    """When a line counts as written."""

    ASYNC = "async"
    """As soon as it is queued."""

    BATCH = "batch"
    """When the sinks have taken it."""

    SYNC = "sync"
    """When it would survive a loss of power."""


@dataclass(frozen=True, slots=True)
class FileSinkSettings:
    """The audit log in files."""

    path: Path
    rotate_bytes: int
    rotate_s: float = 86400.0
    is_compressed: bool = True


@dataclass(frozen=True, slots=True)
class StdoutSinkSettings:
    """The audit log on standard output."""


@dataclass(frozen=True, slots=True)
class RemoteSinkSettings:
    """The audit log at a collector."""

    kind: str
    """Name of the sink in `plugins`: `http` or `otlp`."""

    url: str
    headers: tuple[Credential, ...] = ()
    ca_file: Path | None = None
    buffer_bytes: int = 64 << 20
    timeout_s: float = 10.0


SinkSettings: TypeAlias = FileSinkSettings | StdoutSinkSettings | RemoteSinkSettings


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What is written as evidence, where to, and what happens when it cannot be."""

    sinks: tuple[SinkSettings, ...]
    bodies: Bodies
    on_failure: OnFailure
    durability: Durability
    detect: tuple[Detect, ...] = ()
    """Detectors whose finds `bodies: redacted` takes out, beside those that always count."""

    keys: tuple[str, ...] = ()
    """Names of keys whose values it takes out, beside those that always count."""


@dataclass(frozen=True, slots=True)
class KeySettings:
    """The configured keys, 32 bytes each; what is absent is made and kept in `<dataDir>/keys` by the node."""

    sealing: tuple[bytes, ...] = field(default=(), repr=False)
    """The first seals, all open. Empty = not configured."""

    signing: tuple[bytes, ...] = field(default=(), repr=False)
    """Seeds of Ed25519 keys; the first signs. Empty = not configured."""

    hashing: bytes | None = field(default=None, repr=False)
    """`None` = not configured."""


@dataclass(frozen=True, slots=True)
class StateSettings:
    """Which state store."""

    store: str
    """Name of the store in `plugins`: `sqlite` or `memory`."""

    path: Path | None = None
    """The file of `sqlite`."""


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where distributed traces are sent."""

    endpoint: str
    headers: tuple[Credential, ...] = ()
    sample_ratio: float = 1.0


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The node's own settings."""

    name: str
    listeners: tuple[Listener, ...]
    admin: Address
    data_dir: Path
    workers: int
    state: StateSettings
    keys: KeySettings
    audit: AuditSettings
    limits: Limits
    is_default_allow: bool
    admin_tls: ServingTls | None = None
    """`None` = plaintext."""
    tracing: TracingSettings | None = None
    """`None` = off."""
    policy_headers: tuple[str, ...] = ()
    """Request headers that rules may read; lower case."""


@dataclass(frozen=True, slots=True)
class ServerSelectorSpec:
    """Which servers a policy is attached to; nothing given = every server."""

    names: tuple[str, ...] | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class AgentSelectorSpec:
    """Which agents a policy speaks of: all that are given must hold, within one any."""

    names: tuple[str, ...] | None = None
    """Globs."""

    ids: tuple[str, ...] | None = None
    """Globs."""

    groups: frozenset[str] | None = None
    labels: Mapping[str, str] | None = None
    sources: frozenset[str] | None = None
    min_trust: Trust = Trust.ANONYMOUS


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression (RE2) that some part of a name has to match."""

    text: str


Pattern: TypeAlias = str | Regex
"""A glob, or a regular expression."""


@dataclass(frozen=True, slots=True)
class ArgumentSpec:
    """A test of arguments: the values at a path are among these, or match."""

    path: str
    values: tuple[str | int | float | bool, ...] | None = None
    regex: str | None = None


@dataclass(frozen=True, slots=True)
class MatchSpec:
    """What a rule speaks of; `None` = not given, never empty."""

    tools: tuple[Pattern, ...] | None = None
    prompts: tuple[Pattern, ...] | None = None
    resources: tuple[Pattern, ...] | None = None
    methods: tuple[Pattern, ...] | None = None
    arguments: tuple[ArgumentSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class ApprovalSpec:
    """Whose yes a rule needs."""

    flow: str
    ttl_s: float
    scope: str
    max_uses: int | None = None


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """One rule of a policy."""

    id: str
    effect: Effect | None = None
    """`None`: the rule is about content."""

    match: MatchSpec = MatchSpec()
    reason: str = ""
    description: str = ""
    is_shadow: bool = False
    """Whether the rule or its policy is in shadow mode."""

    when: tuple[str, ...] = ()
    """CEL; all must be true."""

    unless: tuple[str, ...] = ()
    """CEL; none may be true."""

    approval: ApprovalSpec | None = None
    content: ContentRule | None = None
    phase: Phase = Phase.CALL


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """A configured policy."""

    name: str
    rules: tuple[RuleSpec, ...]
    servers: ServerSelectorSpec = ServerSelectorSpec()
    agents: AgentSelectorSpec | None = None
    """`None` = every agent (the server level)."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All configuration of one moment."""

    revision: str
    """Twelve hexadecimal digits of the SHA-256 over all resources; secrets have no part in it."""

    gateway: GatewaySettings
    servers: tuple[Server, ...] = ()
    sources: tuple[SourceSpec, ...] = ()
    """By `order`, then name."""

    agents: tuple[AgentSpec, ...] = ()
    policies: tuple[PolicySpec, ...] = ()
    groups: tuple[GroupSpec, ...] = ()
    flows: tuple[FlowSpec, ...] = ()
    channels: tuple[ChannelSpec, ...] = ()
