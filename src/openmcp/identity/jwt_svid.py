"""JWT-SVIDs: bearer tokens of workloads, verified with the keys of the trust domain that they name.

Used by the `spiffe` source for clients that cannot show a certificate. A token can be
passed on by whoever has seen it, so it is worth less than a certificate, and counts for one
audience only (JWT-SVID §3).
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from openmcp.identity.bundles import Bundles
from openmcp.identity.challenges import resource_of
from openmcp.identity.keys import PublicKey, parse_set
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Absent, Invalid, Verdict
from openmcp.identity.tokens import BadToken, Demands, Token, bearer_of, is_jwt, read, verify
from openmcp.model import spiffe
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Request
from openmcp.model.server import Server
from openmcp.model.spiffe import SpiffeId

ROUTE = "route"
"""As an audience: the public URL of the server."""

_DEMANDS = Demands(
    issuer="",
    algorithms=frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"}),
    types=frozenset({"jwt", "jose"}),
    leeway_s=10.0,
    # They live for minutes. One that would live for longer than a day was not made by an agent.
    max_lifetime_s=86400.0,
)
_CHECKED_S = 60.0
_CHECKED_CAP = 4096
_FINGERPRINT = 12
_CANDIDATES = 4


@dataclass(frozen=True, slots=True)
class _Checked:
    """A token that has verified."""

    principal: Principal
    audiences: frozenset[str]
    until: float
    revision: int
    """Of the bundles that it was verified with."""


class JwtSvids:
    """Recognises workloads by their tokens."""

    def __init__(self, source: str, bundles: Bundles, *, audiences: Collection[str], lasting: Lasting) -> None:
        self._source = source
        self._bundles = bundles
        self._audiences = frozenset(one.removesuffix("/") for one in audiences if one != ROUTE)
        self._takes_route = ROUTE in audiences
        self._clock = lasting.clock
        self._failures = lasting.failures
        self._checked: dict[bytes, _Checked] = {}
        self._keys: dict[str, Sequence[PublicKey]] = {}
        self._keys_of = -1

    def verify(self, request: Request, server: Server) -> Verdict:
        """Return whose token is in `Authorization`; what is no JWT-SVID of a known domain is another source's."""
        text = token_in(request)
        if text is None:
            return Absent.ABSENT
        digest = hashlib.sha256(text.encode("latin-1", "replace")).digest()
        known = self._checked.get(digest)
        if known is None or self._clock() >= known.until or known.revision != self._bundles.revision:
            return self._judge(text, digest, request, server=server)
        return known.principal if self._is_for(known.audiences, request, server) else _OTHER_AUDIENCE

    def vouches(self, principal: Principal) -> bool:
        """Whether tokens of the workload's trust domain are still taken; the chain looks at the token's end."""
        if principal.method != "spiffe" or principal.source != self._source:
            return False
        return bool(self._keys_for(spiffe.spiffe_id(principal.id).trust_domain))

    def are_meant(self, request: Request) -> bool:
        """Whether a token stands in the request that this source judges, good or bad."""
        text = token_in(request)
        if text is None:
            return False
        try:
            token = read(text)
        except BadToken:
            return False
        try:
            return self._workload_in(token) is not None
        except BadToken:
            return True

    def _judge(self, text: str, digest: bytes, request: Request, *, server: Server) -> Verdict:
        now = self._clock()
        try:
            token = read(text)
        except BadToken:
            return Absent.ABSENT
        try:
            workload = self._workload_in(token)
            if workload is None:
                return Absent.ABSENT
            ends = _DEMANDS.check(token, now)
            if not self._is_for(token.audiences, request, server):
                return _OTHER_AUDIENCE
            if digest not in self._checked and not self._failures.may_try(request.peer.address):
                return Invalid("too many failures from this peer")
            self._check_signature(token, workload)
        except BadToken as bad:
            return Invalid(f"JWT-SVID: {bad}")
        principal = self._principal(workload, digest, ends)
        self._keep(digest, _Checked(principal, token.audiences, min(ends, now + _CHECKED_S), self._bundles.revision))
        return principal

    def _workload_in(self, token: Token) -> SpiffeId | None:
        """Return whom a token names, `None` if it is not this source's. Raises: BadToken."""
        subject = token.claims.get("sub")
        if not isinstance(subject, str) or subject[: len(spiffe.SCHEME)].lower() != spiffe.SCHEME:
            return None
        try:
            workload = spiffe.workload_id(subject)
        except ValueError:
            raise BadToken("its subject is not the SPIFFE ID of a workload") from None
        return workload if self._bundles.is_known(workload.trust_domain) else None

    def _check_signature(self, token: Token, workload: SpiffeId) -> None:
        if token.kid is None:
            raise BadToken("it does not name its key (kid)")
        if "crit" in token.header:
            raise BadToken("it demands what is not known here (crit)")
        keys = self._keys_for(workload.trust_domain)
        if not keys:
            raise BadToken(f"there are no keys of {workload.trust_domain}")
        verify(token, [key for key in keys if key.fits(token.kid, token.algorithm)][:_CANDIDATES])

    def _is_for(self, audiences: frozenset[str], request: Request, server: Server) -> bool:
        if not self._audiences.isdisjoint(audiences):
            return True
        # Without a public URL there is no name that a token could be made out to.
        return self._takes_route and bool(request.public_url) and resource_of(server, request.public_url) in audiences

    def _principal(self, workload: SpiffeId, digest: bytes, ends: float) -> Principal:
        return Principal(
            id=str(workload),
            source=self._source,
            method="spiffe",
            trust=Trust.TOKEN,
            attributes={"trustDomain": workload.trust_domain},
            fingerprint=digest.hex()[:_FINGERPRINT],
            expires_at=ends,
        )

    def _keep(self, digest: bytes, checked: _Checked) -> None:
        if len(self._checked) >= _CHECKED_CAP:
            del self._checked[next(iter(self._checked))]
        self._checked[digest] = checked

    def _keys_for(self, domain: str) -> Sequence[PublicKey]:
        if self._keys_of != self._bundles.revision:
            self._keys_of = self._bundles.revision
            self._keys.clear()
        found = self._keys.get(domain)
        if found is None:
            found = self._keys[domain] = _read_keys(self._bundles.jwt_keys(domain))
        return found


def token_in(request: Request) -> str | None:
    """Return the token in `Authorization`; `None` if something else, or nothing, stands there."""
    value = request.headers.get("authorization")
    text = bearer_of(value) if value is not None else None
    return text if text is not None and is_jwt(text) else None


def _read_keys(jwks: str) -> Sequence[PublicKey]:
    if not jwks:
        return ()
    # `use: jwt-svid` is no word of JWK; without it they are keys like others.
    keys = [{name: value for name, value in key.items() if name != "use"} for key in json.loads(jwks)["keys"]]
    try:
        return parse_set({"keys": keys})
    except ValueError:
        return ()


_OTHER_AUDIENCE = Invalid("JWT-SVID: it is for another audience")
