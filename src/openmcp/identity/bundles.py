"""The bundles of a SPIFFE source: from its files, and from the agent where it has one.

Says which trust domains are known and what vouches for each; every change has a number, so
that what was proved under an older one is proved again.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from openmcp.config.identities import Bundle, SpiffeSettings
from openmcp.identity.certificates import Authorities
from openmcp.identity.lasting import Lasting
from openmcp.identity.workload import WorkloadBundles


@dataclass(frozen=True, slots=True)
class _Ready:
    """A bundle whose authorities are read."""

    bundle: Bundle
    authorities: Authorities


class Bundles:
    """What vouches for each trust domain."""

    def __init__(
        self, files: Mapping[str, Bundle], domains: frozenset[str] | None, agent: WorkloadBundles | None
    ) -> None:
        """`domains`: which are known; `None` = all that the agent tells of."""
        self._files = {name: _Ready(bundle, Authorities(bundle.authorities)) for name, bundle in files.items()}
        self._domains = domains
        self._agent = agent
        self._told: dict[str, _Ready] = {}
        self._seen = -1

    @classmethod
    def of(cls, settings: SpiffeSettings, lasting: Lasting) -> "Bundles":
        """Return the bundles of a source's settings."""
        agent = None
        if settings.workload_api:
            agent = lasting.kept(
                WorkloadBundles, settings.workload_api, lambda: WorkloadBundles.follow(settings.workload_api, lasting)
            )
        return cls(settings.bundles, settings.trust_domains, agent)

    @property
    def revision(self) -> int:
        """Another number after each change."""
        return self._agent.revision if self._agent is not None else 0

    def is_known(self, domain: str) -> bool:
        """Whether SVIDs of this trust domain are this source's to judge."""
        return domain in self._domains if self._domains is not None else self._ready(domain) is not None

    def of_domain(self, domain: str) -> Authorities | None:
        """Return who may issue X.509-SVIDs of the trust domain; `None` = that is not known (yet)."""
        ready = self._ready(domain)
        return ready.authorities if ready is not None else None

    def jwt_keys(self, domain: str) -> str:
        """Return the JWK set that JWT-SVIDs of the trust domain are signed with; `""` = none is known."""
        ready = self._ready(domain)
        return ready.bundle.jwt_keys if ready is not None else ""

    def authorities(self) -> Collection[bytes]:
        """Return the certificates of all authorities that are known now, DER."""
        self._read_again()
        told = (ready for name, ready in self._told.items() if self._domains is None or name in self._domains)
        return {der for ready in (*self._files.values(), *told) for der in ready.bundle.authorities}

    def _ready(self, domain: str) -> _Ready | None:
        found = self._files.get(domain)
        if found is not None or self._agent is None or (self._domains is not None and domain not in self._domains):
            return found
        self._read_again()
        return self._told.get(domain)

    def _read_again(self) -> None:
        if self._agent is not None and self._agent.revision != self._seen:
            self._seen = self._agent.revision
            told = self._agent.bundles
            self._told = {name: _Ready(bundle, Authorities(bundle.authorities)) for name, bundle in told.items()}
