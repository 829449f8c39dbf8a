"""What identity sources and agents are configured with, in the units that `identity/` uses.

Part of the `Snapshot`. Each kind of source has one class of settings, each kind of
identity one that names the principal that it makes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path

from openmcp.model.agent import Trust


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """What one kind of source is told; each kind has its own fields."""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A configured way to learn who the agent is."""

    name: str
    order: int
    method: str
    """Name of the implementation in `plugins`, and the key in the resource's `spec`: `apiKey`, `mtls`, …"""

    settings: SourceSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySpec:
    """One way in which an agent proves who it is; enough where nothing but its name is configured."""

    principal_id: str
    """What the source calls whoever presents it."""

    source: str = ""
    """Name of the `IdentitySource`; `""` = the id alone says enough."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """A configured agent."""

    name: str
    owner: str
    groups: frozenset[str]
    labels: Mapping[str, str]
    identities: tuple[IdentitySpec, ...]


# ------------------------------------------------------------ API keys


@dataclass(frozen=True, slots=True)
class ApiKeySourceSettings(SourceSettings):
    """Takes API keys."""

    header: str
    """Lower case; `authorization` means `Bearer KEY`, any other header holds the key alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyIdentity(IdentitySpec):
    """A key that an agent may present."""

    id: str
    digest: bytes = field(repr=False)
    """SHA-256 of the whole key, 32 bytes."""


# ------------------------------------------------------------ signed tokens


@dataclass(frozen=True, kw_only=True)
class TokenSettings(SourceSettings):
    """Takes signed tokens of one issuer."""

    issuer: str
    jwks_uri: str = ""
    """Where the keys are; `""` = where the issuer's discovery document says."""

    keys: bytes | None = None
    """The content of a key file: a JWK set or PEM; `None` = keys are fetched."""

    audiences: frozenset[str] = frozenset()
    """Audiences that are good on every route, without trailing slashes."""

    takes_route: bool = True
    """Whether the route's public URL is an audience."""

    algorithms: tuple[str, ...] = ("RS256", "ES256")
    types: tuple[str, ...] = ("JWT", "at+jwt")
    leeway_s: float = 30.0
    max_lifetime_s: float = 86400.0
    stale_s: float = 3600.0
    ca_file: Path | None = None
    token_file: Path | None = None
    scopes: tuple[str, ...] = ()

    @cached_property
    def revision(self) -> str:
        """The same for the same settings: what was verified under them holds as long as they do."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class JwtSourceSettings(TokenSettings):
    """Takes tokens whose claims are named."""

    agent_claim: str = "sub"
    on_behalf_of_claim: str = ""
    groups_claim: str = ""
    attribute_claims: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KubernetesSourceSettings(TokenSettings):
    """Takes service-account tokens."""


# ------------------------------------------------------------ passwords and signatures


@dataclass(frozen=True, slots=True)
class BasicSourceSettings(SourceSettings):
    """Takes users with passwords."""


@dataclass(frozen=True, slots=True)
class SignatureSourceSettings(SourceSettings):
    """Takes signed requests."""

    max_age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicIdentity(IdentitySpec):
    """A user with a password."""

    user: str
    hashed: str = field(repr=False)
    """argon2id, in PHC form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureIdentity(IdentitySpec):
    """A key that signs requests."""

    key_id: str
    algorithm: str
    key: bytes = field(repr=False)
    """The shared secret, or the public key in PEM."""


# ------------------------------------------------------------ certificates


class CertificateName(Enum):
    """What in a certificate names its agent."""

    SAN = "san"
    SUBJECT = "subject"
    COMMON_NAME = "commonName"


@dataclass(frozen=True, slots=True)
class MtlsSettings(SourceSettings):
    """Takes client certificates."""

    authorities: tuple[bytes, ...]
    """Certificates of those who may issue, DER."""

    crls: tuple[bytes, ...] | None = None
    """Their revocation lists, DER; `None` = revocation is not looked at."""

    identity: CertificateName = CertificateName.SAN
    san_types: frozenset[str] = frozenset({"uri", "dns", "email"})


@dataclass(frozen=True, slots=True)
class Bundle:
    """What vouches for the SVIDs of one trust domain."""

    authorities: tuple[bytes, ...] = ()
    """Certificates, DER."""

    jwt_keys: str = ""
    """The keys of JWT-SVIDs, as a JWK set; `""` = none."""


@dataclass(frozen=True, slots=True)
class SpiffeSettings(SourceSettings):
    """Takes SVIDs."""

    bundles: Mapping[str, Bundle]
    """Those read from files, by trust domain."""

    trust_domains: frozenset[str] | None = None
    """Whose workloads are known; `None` = all that the Workload API has a bundle of."""

    workload_api: str = ""
    """Address of the agent; `""` = bundles come from files only."""

    audiences: tuple[str, ...] = ("route",)


# ------------------------------------------------------------ mesh


@dataclass(frozen=True, slots=True)
class MeshSettings(SourceSettings):
    """Takes the word of a proxy in front."""

    header: str
    """Lower case."""

    trust: Trust
    is_xfcc: bool = False
    element: str = "uri"
    """Key of the XFCC element that is the identity: `uri`, `dns` or `subject`."""

    by: frozenset[str] = frozenset()
    """Who may have written the element; empty = anybody trusted."""
