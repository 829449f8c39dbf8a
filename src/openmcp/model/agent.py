"""Who calls: a verified `Principal` and the `Agent` that policy speaks of.

Made by `identity/`; read by everyone after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property


class Trust(IntEnum):
    """How strongly an identity was verified, weakest first."""

    ANONYMOUS = 0
    HEADER = 1
    SHARED_SECRET = 2
    TOKEN = 3
    CERTIFICATE = 4

    @property
    def label(self) -> str:
        """The name used in configuration and records: `anonymous`, `header`, `sharedSecret`, …"""
        return _TRUST_LABELS[self]

    @classmethod
    def of(cls, label: str) -> "Trust":
        """Return the trust named `label`. Raises: KeyError for any other word."""
        return _TRUST_BY_LABEL[label]


_TRUST_LABELS = {
    Trust.ANONYMOUS: "anonymous",
    Trust.HEADER: "header",
    Trust.SHARED_SECRET: "sharedSecret",
    Trust.TOKEN: "token",
    Trust.CERTIFICATE: "certificate",
}
_TRUST_BY_LABEL = {label: trust for trust, label in _TRUST_LABELS.items()}


@dataclass(frozen=True)
class Principal:
    """A verified identity."""

    id: str
    """Namespaced by source (`key:<source>:<id>`, `jwt:…`), so that no two sources make the same one."""

    source: str
    """Name of the `IdentitySource`; `""` for anonymous."""

    method: str
    """How it was verified: `apiKey`, `jwt`, `mtls`, …, `anonymous`."""

    trust: Trust
    attributes: Mapping[str, object] = field(default_factory=dict[str, object])
    """Claims that the source's configuration allows, for policies to look at."""

    groups: frozenset[str] = frozenset()
    """Groups that the credential names; the agent has them beside its configured ones."""

    on_behalf_of: str | None = None
    """The user for whom the agent acts, where the credential says so (RFC 8693); `None` = for itself."""

    fingerprint: str = ""
    """Short digest of the credential, for the record; never the credential."""

    expires_at: float | None = None
    """Unix seconds after which the credential no longer holds; `None` = no end known."""

    vouched_by: str = ""
    """Which settings of the source it was verified under, where the credential itself cannot be looked at again."""

    certificates: tuple[bytes, ...] = field(default=(), repr=False, compare=False)
    """The certificate that was presented and what came beside it, DER: to be asked again under newer authorities."""

    @cached_property
    def binding(self) -> str:
        """What sessions, states and grants are bound to: the identity and the user it acts for."""
        return f"{self.id}\n{self.on_behalf_of}" if self.on_behalf_of else self.id


@dataclass(frozen=True, slots=True)
class Agent:
    """The caller as policy names it: a configured `Agent`, or the principal itself."""

    name: str
    principal: Principal
    is_configured: bool = False
    """Whether an `Agent` resource matched; only then may the name be a metric label."""

    owner: str = ""
    groups: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


ANONYMOUS = Agent(
    name="anonymous", principal=Principal(id="anonymous", source="", method="anonymous", trust=Trust.ANONYMOUS)
)
"""The one agent for all who presented no credential, where a server admits them."""
