"""Bearer tokens of an issuer: OIDC or OAuth access tokens that are signed JWTs (RFC 9068, RFC 8725).

A token counts for one route only (its audience, RFC 8707), is checked once and then known
by its digest for a minute, or until it ends. What is known costs a hash; what is not known
is checked cheaply first, and its signature only for peers that have not failed too often.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from openmcp.config.identities import AgentSpec, JwtSourceSettings, SourceSpec, TokenSettings
from openmcp.identity.challenges import resource_of
from openmcp.identity.discovery import keys_of
from openmcp.identity.failures import Failures
from openmcp.identity.keys import Keys, KeysUnavailable
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Absent, Advertised, IdentitySource, Invalid, TokenIssuer, Verdict
from openmcp.identity.tokens import (
    BadToken,
    Demands,
    Token,
    bearer_of,
    bound_certificate,
    is_jwt,
    read,
    text_at,
    texts_at,
    values_at,
    verify,
)
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Request
from openmcp.model.server import Server

_AUTHORIZATION: Final = "authorization"
_CHECKED_S: Final = 60.0
"""How long a checked token is believed without another look: keys may be withdrawn meanwhile."""

_CHECKED_CAP: Final = 10_000
_FAILED_S: Final = 60.0
_FAILED_CAP: Final = 4096
_FINGERPRINT: Final = 12

Naming = Callable[[Mapping[str, object]], Principal]
"""Makes the principal of verified claims. Raises: BadToken."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A token that has verified."""

    principal: Principal
    audiences: frozenset[str]
    is_for_all: bool
    """Whether one of its audiences is good on every route."""

    until: float
    """When it is looked at again."""

    certificate: str = ""
    """Thumbprint of the one client certificate that it may be shown with (RFC 8705 §3); `""` = any, or none."""


@dataclass(slots=True)
class Memory:
    """What was learned of tokens under one configuration; bounded, and shared by all snapshots that have it."""

    checked: dict[bytes, Checked] = field(default_factory=dict[bytes, Checked])
    failed: dict[bytes, tuple[float, str]] = field(default_factory=dict[bytes, tuple[float, str]])
    """Tokens whose signature is wrong, until when they are refused unseen, and why."""

    def keep(self, digest: bytes, checked: Checked) -> None:
        """Remember a token that holds; the oldest goes where there is no room."""
        self.checked.pop(digest, None)
        if len(self.checked) >= _CHECKED_CAP:
            del self.checked[next(iter(self.checked))]
        self.checked[digest] = checked

    def refuse(self, digest: bytes, why: str, until: float) -> None:
        """Remember a token that can never hold."""
        if len(self.failed) >= _FAILED_CAP:
            del self.failed[next(iter(self.failed))]
        self.failed[digest] = (until, why)


class TokenSource:
    """Recognises the tokens of one issuer; what their claims mean is told by `naming`."""

    def __init__(
        self,
        spec: SourceSpec,
        settings: TokenSettings,
        keys: Keys,
        *,
        naming: Naming,
        memory: Memory | None = None,
        failures: Failures,
        clock: Callable[[], float],
    ) -> None:
        self._name = spec.name
        self._settings = settings
        self._demands = Demands(
            issuer=settings.issuer,
            algorithms=frozenset(settings.algorithms),
            types=frozenset(kind.lower() for kind in settings.types),
            leeway_s=settings.leeway_s,
            max_lifetime_s=settings.max_lifetime_s,
        )
        self._keys = keys
        self._naming = naming
        self._memory = memory or Memory()
        self._failures = failures
        self._clock = clock

    @property
    def name(self) -> str:
        """Name of the `IdentitySource` resource."""
        return self._name

    @property
    def headers(self) -> frozenset[str]:
        """Tokens come in `Authorization` and nowhere else: not in the query, where logs would have them."""
        return frozenset({_AUTHORIZATION})

    @property
    def scheme(self) -> str:
        """Tokens are bearer tokens."""
        return "bearer"

    @property
    def issuer(self) -> TokenIssuer | None:
        """The authorization server, where clients can find one."""
        return None

    async def verify(self, request: Request, server: Server) -> Verdict:
        """Return whose token it is; a token of another issuer is another source's to judge."""
        value = request.headers.get(_AUTHORIZATION)
        if value is None:
            return Absent.ABSENT
        token = bearer_of(value)
        if token is None or not is_jwt(token):
            return Absent.ABSENT
        digest = hashlib.sha256(token.encode("latin-1", "replace")).digest()
        known = self._memory.checked.get(digest)
        if known is not None and self._clock() < known.until:
            return self._for_route(known, request, server)
        return await self._judge(token, digest, request, server=server)

    def vouches(self, principal: Principal) -> bool:
        """Whether the principal was verified under just this configuration; its end is the chain's to watch."""
        return principal.vouched_by == self._settings.revision

    async def _judge(self, text: str, digest: bytes, request: Request, *, server: Server) -> Verdict:
        now = self._clock()
        failed = self._memory.failed.get(digest)
        if failed is not None and now < failed[0]:
            return Invalid(failed[1])
        try:
            token = read(text)
            if token.claims.get("iss") != self._settings.issuer:
                return Absent.ABSENT
            if _AUTHORIZATION in request.repeated:
                return Invalid("the token comes more than once")
            ends = self._demands.check(token, now)
            certificate = bound_certificate(token)
            is_for_all = not self._settings.audiences.isdisjoint(token.audiences)
            if not is_for_all and not self._is_for(token.audiences, request, server):
                return Invalid("the token is for another audience")
            if digest not in self._memory.checked and not self._failures.may_try(request.peer.address):
                return Invalid("too many failures from this peer")
            await self._check_signature(token, digest, now)
            principal = self._principal(token, digest, ends)
        except BadToken as bad:
            return Invalid(str(bad))
        except KeysUnavailable as missing:
            return Invalid(f"the issuer's keys are not at hand: {missing}")
        known = self._memory.checked.get(digest)
        if known is not None and known.principal == principal:
            # What is remembered for an agent is remembered by its very object.
            principal = known.principal
        checked = Checked(principal, token.audiences, is_for_all, min(ends, now + _CHECKED_S), certificate)
        self._memory.keep(digest, checked)
        return self._for_route(checked, request, server)

    async def _check_signature(self, token: Token, digest: bytes, now: float) -> None:
        keys = await self._keys.find(token.kid, token.algorithm)
        try:
            verify(token, keys)
        except BadToken as bad:
            if keys:
                # An unknown key may be published yet; a wrong signature stays wrong.
                self._memory.refuse(digest, str(bad), now + _FAILED_S)
            raise

    def _for_route(self, known: Checked, request: Request, server: Server) -> Verdict:
        if known.certificate and known.certificate != _thumbprint(request.peer.certificate):
            return Invalid("the token is bound to a client certificate that was not shown")
        if known.is_for_all or self._is_for(known.audiences, request, server):
            return known.principal
        return Invalid("the token is for another audience")

    def _is_for(self, audiences: frozenset[str], request: Request, server: Server) -> bool:
        # Without a public URL there is no name that a token could be made out to.
        is_named = self._settings.takes_route and bool(request.public_url)
        return is_named and resource_of(server, request.public_url) in audiences

    def _principal(self, token: Token, digest: bytes, ends: float) -> Principal:
        made = self._naming(token.claims)
        return Principal(
            id=made.id,
            source=made.source,
            method=made.method,
            trust=Trust.TOKEN,
            attributes=made.attributes,
            groups=made.groups,
            on_behalf_of=made.on_behalf_of,
            fingerprint=digest.hex()[:_FINGERPRINT],
            expires_at=ends,
            vouched_by=self._settings.revision,
        )


def _thumbprint(certificate: bytes | None) -> str:
    return urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode() if certificate else ""


class JwtSource(TokenSource):
    """Tokens whose claims are named in the configuration."""

    @classmethod
    def from_spec(cls, spec: SourceSpec, agents: Iterable[AgentSpec], lasting: Lasting) -> "JwtSource":
        """Return the source; keys and checked tokens are those of an earlier snapshot with the same settings."""
        settings = spec.settings
        assert isinstance(settings, JwtSourceSettings)
        return cls(
            spec,
            settings,
            keys_of(settings, lasting),
            naming=_naming(spec.name, settings),
            memory=lasting.kept(Memory, (spec.name, settings.revision), Memory),
            failures=lasting.failures,
            clock=lasting.clock,
        )

    @property
    def issuer(self) -> TokenIssuer | None:
        """The issuer, where it is a URL: a static key file may have any name for its issuer."""
        settings = self._settings
        is_url = settings.issuer.startswith(("https://", "http://"))
        return TokenIssuer(settings.issuer, settings.scopes) if is_url else None


def _naming(source: str, settings: JwtSourceSettings) -> Naming:
    def principal(claims: Mapping[str, object]) -> Principal:
        return Principal(
            id=f"jwt:{source}:{text_at(claims, settings.agent_claim)}",
            source=source,
            method="jwt",
            trust=Trust.TOKEN,
            attributes=values_at(claims, settings.attribute_claims),
            groups=texts_at(claims, settings.groups_claim) if settings.groups_claim else frozenset(),
            on_behalf_of=text_at(claims, settings.on_behalf_of_claim) if settings.on_behalf_of_claim else None,
        )

    return principal


_: type[IdentitySource] = JwtSource
__: type[Advertised] = JwtSource
