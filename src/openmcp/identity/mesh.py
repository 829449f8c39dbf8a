"""Identity by the word of a proxy in front: the `mesh` source.

The header counts only from the listener's `trustedPeers`. From anybody else it never gets
here: the chain takes it out of the request before anything else looks at it.
"""

import hashlib
from collections.abc import Sequence

from openmcp.config.identities import AgentSpec, MeshSettings, SourceSpec
from openmcp.identity import xfcc
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Absent, IdentitySource, Invalid, Verdict
from openmcp.model.agent import Principal
from openmcp.model.http import Request
from openmcp.model.server import Server

_MAX_CHARS = 32 << 10
"""An element with a chain of certificates in it is shorter."""

_MAX_ID_CHARS = 2048
_FINGERPRINT = 12
_KNOWN = 4096
_KNOWN_CHARS = 4096
"""Longer values are read each time: what is remembered has to stay within 16 MiB."""


class MeshSource:
    """Recognises whom a trusted proxy names."""

    def __init__(self, name: str, settings: MeshSettings) -> None:
        self.name = name
        self.headers = frozenset({settings.header})
        self.identity_headers = self.headers
        self._settings = settings
        self._header = settings.header
        self._revision = f"mesh {name} {hash(settings)}"
        self._known: dict[str, Principal] = {}

    @classmethod
    def from_spec(cls, spec: SourceSpec, _: Sequence[AgentSpec], lasting: Lasting) -> "MeshSource":
        """Return the source as configured."""
        assert isinstance(spec.settings, MeshSettings)
        return cls(spec.name, spec.settings)

    async def verify(self, request: Request, server: Server) -> Verdict:
        """Return the principal that the proxy names."""
        value = request.headers.get(self._header)
        if value is None or not request.peer.is_trusted:
            return Absent.ABSENT
        if self._header in request.repeated:
            return Invalid(f"{self._header} came twice")
        return self._known.get(value) or self._read(value)

    def vouches(self, principal: Principal) -> bool:
        """Whether the principal was named under just these settings; the proxy is asked with each request."""
        return principal.vouched_by == self._revision

    def _read(self, value: str) -> Verdict:
        try:
            identity = self._identity_in(value)
        except ValueError as error:
            return Invalid(f"{self._header}: {error}")
        principal = Principal(
            id=f"mesh:{self.name}:{identity}",
            source=self.name,
            method="mesh",
            trust=self._settings.trust,
            fingerprint=hashlib.sha256(value.encode("latin-1", "replace")).hexdigest()[:_FINGERPRINT],
            vouched_by=self._revision,
        )
        if len(value) <= _KNOWN_CHARS:
            if len(self._known) >= _KNOWN:
                del self._known[next(iter(self._known))]
            self._known[value] = principal
        return principal

    def _identity_in(self, value: str) -> str:
        if len(value) > _MAX_CHARS:
            raise ValueError(f"the value is longer than {_MAX_CHARS} characters")
        identity = self._element_in(value) if self._settings.is_xfcc else value
        if not identity or len(identity) > _MAX_ID_CHARS or not identity.isascii() or not identity.isprintable():
            raise ValueError("the identity is empty, too long, or not printable")
        return identity

    def _element_in(self, value: str) -> str:
        element = xfcc.nearest(value)
        if self._settings.by and not self._settings.by.intersection(element.get("by", ())):
            raise ValueError("the nearest element is not by one of the proxies that may write it")
        found = element.get(self._settings.element, ())
        if len(found) != 1:
            raise ValueError(f"the nearest element has {len(found)} `{self._settings.element}`, and has to have one")
        return found[0]


_: type[IdentitySource] = MeshSource
