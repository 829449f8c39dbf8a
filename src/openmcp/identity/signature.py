"""HTTP message signatures (RFC 9421): each request is signed, so that no secret is ever sent.

A signature covers the method, the target, the body (through its digest, RFC 9530) and the
time, holds for a short while, and counts once: its nonce is remembered for as long as it
could be sent again.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from http_message_signatures import algorithms
from http_message_signatures.exceptions import HTTPMessageSignaturesException, InvalidSignature
from http_message_signatures.resolvers import HTTPSignatureKeyResolver
from http_message_signatures.signatures import HTTPMessageVerifier

from openmcp.config.identities import AgentSpec, SignatureIdentity, SignatureSourceSettings, SourceSpec
from openmcp.identity.failures import Failures
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Absent, IdentitySource, Invalid, Verdict
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Request
from openmcp.model.server import Server

HMAC: Final = "hmac-sha256"
ED25519: Final = "ed25519"

# The library exports them without saying so in a way that type checkers take.
_LIBRARY: Final = cast("Any", algorithms)
_ALGORITHMS: Final[Mapping[str, Any]] = {HMAC: _LIBRARY.HMAC_SHA256, ED25519: _LIBRARY.ED25519}

_HEADERS: Final = frozenset({"signature", "signature-input"})
_SKEW_S: Final = 5.0
"""How far the clock of a sender may go before ours."""

_NONCES_CAP: Final = 65_536
"""Nonces of one key; within 60 s that is a thousand requests a second."""

_NONCE_CHARS: Final = 256
_FINGERPRINT: Final = 12


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key whose signatures are taken."""

    id: str
    algorithm: str
    """`hmac-sha256` or `ed25519`."""

    key: bytes
    """The shared secret, or the public key in PEM."""


class Nonces:
    """What was signed once, for as long as it could come again; outlives snapshots."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.began = clock()
        """Since when nonces are remembered: what was signed before may have been sent before, too."""

        self._seen: dict[str, dict[str, tuple[float, Hashable]]] = {}

    def is_first(self, key_id: str, nonce: str, *, until: float, use: Hashable = None) -> bool:
        """Whether a nonce of this key comes for the first time; a key that signs too much loses the right to more.

        `use` names the request that shows it: the same one is asked for again where the configuration has changed
        meanwhile. `None` = no request is the same.
        Only signatures that verify get here, and each key has a memory of its own: nobody pushes out another's.
        """
        seen = self._seen.setdefault(key_id, {})
        now = self._clock()
        # In the order of their coming, which is nearly that of their end.
        while seen and (oldest := next(iter(seen))) and seen[oldest][0] <= now:
            del seen[oldest]
        known = seen.get(nonce)
        if known is not None:
            return use is not None and known[1] == use
        if len(seen) >= _NONCES_CAP:
            return False
        seen[nonce] = (until, use)
        return True


class SignatureSource:
    """Recognises keys by what they have signed."""

    def __init__(
        self,
        name: str,
        entries: Iterable[KeyEntry],
        *,
        max_age_s: float,
        nonces: Nonces,
        failures: Failures,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._nonces = nonces
        self._failures = failures
        self._max_age_s = max_age_s
        known = tuple(entries)
        self._principals = {entry.id: _principal(name, entry) for entry in known}
        self._verifiers = tuple(
            _Verifier(
                algorithm, {entry.id: entry.key for entry in known if entry.algorithm == algorithm}, max_age_s, clock
            )
            for algorithm in _ALGORITHMS
        )

    @classmethod
    def from_spec(cls, spec: SourceSpec, agents: Iterable[AgentSpec], lasting: Lasting) -> "SignatureSource":
        """Return the source with all keys that agents have there; nonces of earlier snapshots stay seen."""
        settings = spec.settings
        assert isinstance(settings, SignatureSourceSettings)
        entries = (
            KeyEntry(identity.key_id, identity.algorithm, identity.key)
            for agent in agents
            for identity in agent.identities
            if isinstance(identity, SignatureIdentity) and identity.source == spec.name
        )
        return cls(
            spec.name,
            entries,
            max_age_s=settings.max_age_s,
            nonces=lasting.kept(Nonces, spec.name, lambda: Nonces(lasting.clock)),
            failures=lasting.failures,
            clock=lasting.clock,
        )

    @property
    def name(self) -> str:
        """Name of the `IdentitySource` resource."""
        return self._name

    @property
    def headers(self) -> frozenset[str]:
        """The two headers of a signature."""
        return _HEADERS

    async def verify(self, request: Request, server: Server) -> Verdict:
        """Return the principal whose key has signed this very request, now and for the first time."""
        if _HEADERS.isdisjoint(request.headers):
            return Absent.ABSENT
        if not request.public_url:
            return Invalid("the listener has no publicUrl, which the target of a signature is compared with")
        if not self._failures.may_try(request.peer.address):
            return Invalid("too many failures from this peer")
        try:
            covered, parameters = self._verified(request)
            key_id = _require(covered, parameters, request)
            self._require_once(key_id, parameters, _use(request))
        except HTTPMessageSignaturesException as error:
            return Invalid(f"the signature does not verify: {str(error)[:200]}")
        return self._principals[key_id]

    def vouches(self, principal: Principal) -> bool:
        """Whether the key that has signed is still one of the agent's."""
        known = self._principals.get(principal.id.removeprefix(f"sig:{self._name}:"))
        return known is not None and known.fingerprint == principal.fingerprint

    def _verified(self, request: Request) -> tuple[Mapping[str, str], Mapping[str, object]]:
        message = _Signed(request)
        fault: HTTPMessageSignaturesException = InvalidSignature("no agent has a key of this id and algorithm")
        for verifier in self._verifiers:
            try:
                (result,) = cast("Any", verifier).verify(message, max_age=None, body=request.body)
            except _UnknownKey:
                continue
            except HTTPMessageSignaturesException as error:
                if "Unexpected algorithm" not in str(error):
                    fault = error
                continue
            return result.covered_components, result.parameters
        raise fault

    def _require_once(self, key_id: str, parameters: Mapping[str, object], use: Hashable) -> None:
        created, nonce = parameters["created"], parameters.get("nonce")
        assert isinstance(created, int)  # the verifier has looked
        if not isinstance(nonce, str) or not 0 < len(nonce) <= _NONCE_CHARS:
            raise InvalidSignature("it has no nonce")
        if created < int(self._nonces.began):
            raise InvalidSignature("it was made before this gateway began to remember nonces; sign again")
        if not self._nonces.is_first(key_id, nonce, until=created + self._max_age_s + _SKEW_S, use=use):
            raise InvalidSignature("its nonce was used before")


class _UnknownKey(InvalidSignature):
    """The key is not one of this algorithm's."""


class _Resolver(HTTPSignatureKeyResolver):
    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = keys

    def resolve_public_key(self, key_id: str) -> bytes:
        try:
            return self._keys[key_id]
        except KeyError:
            raise _UnknownKey("no such key") from None


class _Verifier(HTTPMessageVerifier):
    """The library's verifier on our clock."""

    def __init__(
        self,
        algorithm: str,
        keys: Mapping[str, bytes],
        max_age_s: float,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(signature_algorithm=_ALGORITHMS[algorithm], key_resolver=_Resolver(keys))
        self._max_age_s = max_age_s
        self._clock = clock

    def validate_created_and_expires(self, sig_input: Any, max_age: object = None) -> None:
        now, parameters = self._clock(), sig_input.params
        created, expires = parameters.get("created"), parameters.get("expires")
        if not isinstance(created, int) or isinstance(created, bool):
            raise InvalidSignature("it does not say when it was made (created)")
        if created > now + _SKEW_S:
            raise InvalidSignature("it was made in the future")
        if created + self._max_age_s < now:
            raise InvalidSignature("it is older than maxAge")
        if expires is not None and (not isinstance(expires, int) or expires < now):
            raise InvalidSignature("it has expired")


class _Signed:
    """A request as the library wants to see it: under the public URL, whatever the `Host` header says."""

    def __init__(self, request: Request) -> None:
        self.method = request.method
        self.url = f"{request.public_url}{request.path}{f'?{request.query}' if request.query else ''}"
        self.headers = dict(request.headers)


def _require(covered: Mapping[str, str], parameters: Mapping[str, object], request: Request) -> str:
    """Return the id of the key, if the signature covers all that makes the request. Raises: InvalidSignature."""
    has_target = '"@target-uri"' in covered or ('"@authority"' in covered and '"@path"' in covered)
    has_query = not request.query or '"@target-uri"' in covered or '"@query"' in covered
    if '"@method"' not in covered or not has_target or not has_query:
        raise InvalidSignature("it does not cover the method and the whole target")
    if request.body and '"content-digest"' not in covered:
        raise InvalidSignature("it does not cover the body (content-digest)")
    key_id = parameters["keyid"]
    assert isinstance(key_id, str)  # it was resolved
    return key_id


def _use(request: Request) -> Hashable:
    """Return what no two requests share: those that are there together are two objects, others came at two times."""
    return (request.received_ns, id(request)) if request.received_ns else None


def _principal(source: str, entry: KeyEntry) -> Principal:
    return Principal(
        id=f"sig:{source}:{entry.id}",
        source=source,
        method="signature",
        trust=Trust.SHARED_SECRET,
        fingerprint=hashlib.sha256(entry.key).hexdigest()[:_FINGERPRINT],
    )


_: type[IdentitySource] = SignatureSource
