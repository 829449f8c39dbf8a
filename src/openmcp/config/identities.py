"""What identity sources and agents are configured with, in the units that `identity/` uses.

Part of the `Snapshot`. Each kind of source has one class of settings, each kind of
identity one that names the principal that it makes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
