"""API keys: `omcp_<id>_<secret>`, known to the gateway only as SHA-256 digests.

The digests stand in `Agent` resources. The principal is the key's id, so that a key can
be replaced under the same id without losing sessions.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from openmcp.config.identities import AgentSpec, ApiKeyIdentity, ApiKeySourceSettings, SourceSpec
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Absent, IdentitySource, Invalid, Verdict
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Request
from openmcp.model.server import Server

PREFIX = "omcp_"
_AUTHORIZATION = "authorization"
_BEARER = "bearer "
_MAX_LENGTH = 512
_FINGERPRINT = 12


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key that is accepted."""

    id: str
    digest: str
    """Hex SHA-256 of the whole key string."""


class ApiKeySource:
    """Recognises keys in one header."""

    def __init__(self, name: str, header: str, entries: Iterable[KeyEntry]) -> None:
        self._name = name
        self._header = header.lower()
        self._principals = _principals(name, entries)

    @classmethod
    def from_spec(cls, spec: SourceSpec, agents: Iterable[AgentSpec], _: Lasting) -> "ApiKeySource":
        """Return the source with all keys that agents have there."""
        assert isinstance(spec.settings, ApiKeySourceSettings)
        entries = (
            KeyEntry(identity.id, identity.digest.hex())
            for agent in agents
            for identity in agent.identities
            if isinstance(identity, ApiKeyIdentity) and identity.source == spec.name
        )
        return cls(spec.name, spec.settings.header, entries)

    @property
    def name(self) -> str:
        """Name of the `IdentitySource` resource."""
        return self._name

    @property
    def headers(self) -> frozenset[str]:
        """The one header that carries the key."""
        return frozenset({self._header})

    @property
    def scheme(self) -> str:
        """A key in `Authorization` is a bearer token."""
        return "bearer" if self._header == _AUTHORIZATION else ""

    @property
    def issuer(self) -> None:
        """Keys are handed out by people."""
        return None

    async def verify(self, request: Request, server: Server) -> Verdict:
        """Return the principal whose key was presented."""
        value = request.headers.get(self._header)
        if value is None:
            return Absent.ABSENT
        key = _key_in(value, is_authorization=self._header == _AUTHORIZATION)
        if key is None:
            # Another source may read the same header: a bearer token that is no key of ours is not ours to refuse.
            return Absent.ABSENT
        if self._header in request.repeated or len(key) > _MAX_LENGTH:
            return Invalid("the key header is repeated or too long")
        return self._look_up(key)

    def vouches(self, principal: Principal) -> bool:
        """Whether the very key that was presented is still one of the agent's."""
        key_id = principal.id.removeprefix(f"key:{self._name}:")
        return any(known.fingerprint == principal.fingerprint for _, known in self._principals.get(key_id, ()))

    def _look_up(self, key: str) -> Verdict:
        key_id = key.removeprefix(PREFIX).partition("_")[0]
        digest = hashlib.sha256(key.encode("latin-1", "replace")).hexdigest()
        known = self._principals.get(key_id)
        if known is None:
            # What stands in the place of an id may be a secret that was pasted wrongly: it is not for the record.
            return Invalid("API key for an id that is not configured")
        for known_digest, principal in known:
            if hmac.compare_digest(known_digest, digest):
                return principal
        return Invalid(f"wrong API key for id {key_id!r}")


def _key_in(value: str, *, is_authorization: bool) -> str | None:
    """Return the API key in a header value, `None` if it holds something else."""
    if is_authorization:
        if value[: len(_BEARER)].lower() != _BEARER:
            return None
        value = value[len(_BEARER) :]
    key = value.strip()
    return key if key.startswith(PREFIX) else None


def _principals(source: str, entries: Iterable[KeyEntry]) -> Mapping[str, tuple[tuple[str, Principal], ...]]:
    found: dict[str, tuple[tuple[str, Principal], ...]] = {}
    for entry in entries:
        principal = Principal(
            id=f"key:{source}:{entry.id}",
            source=source,
            method="apiKey",
            trust=Trust.SHARED_SECRET,
            fingerprint=entry.digest[:_FINGERPRINT].lower(),
        )
        found[entry.id] = (*found.get(entry.id, ()), (entry.digest.lower(), principal))
    return found


_: type[IdentitySource] = ApiKeySource
