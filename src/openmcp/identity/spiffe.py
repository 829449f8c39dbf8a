"""SPIFFE identities: X.509-SVIDs of client certificates, JWT-SVIDs in `Authorization`.

An SVID is verified with the bundle of the trust domain that it names, and no other. One
merged pool would let the authority of any domain vouch for workloads of all of them.
"""

from collections.abc import Collection, Sequence

from cryptography import x509

from openmcp.config.identities import AgentSpec, SourceSpec, SpiffeSettings
from openmcp.identity import certificates
from openmcp.identity.bundles import Bundles
from openmcp.identity.certificates import Known, Presented, Proof, Unproven
from openmcp.identity.jwt_svid import JwtSvids
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Absent, IdentitySource, Invalid, Twofold, Verdict
from openmcp.model import spiffe
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Request
from openmcp.model.server import Server
from openmcp.model.spiffe import SpiffeId


class SpiffeSource:
    """Recognises workloads by their SVIDs."""

    headers = frozenset({"authorization"})

    def __init__(self, name: str, settings: SpiffeSettings, lasting: Lasting) -> None:
        self.name = name
        self._clock = lasting.clock
        self._bundles = Bundles.of(settings, lasting)
        self._tokens = JwtSvids(name, self._bundles, audiences=settings.audiences, lasting=lasting)
        self._known = Known(lasting.clock)
        self._revision = self._bundles.revision

    @classmethod
    def from_spec(cls, spec: SourceSpec, _: Sequence[AgentSpec], lasting: Lasting) -> "SpiffeSource":
        """Return the source with the bundles of its files, and those that the agent has told of."""
        assert isinstance(spec.settings, SpiffeSettings)
        return cls(spec.name, spec.settings, lasting)

    @property
    def anchors(self) -> Collection[bytes]:
        """The authorities of all trust domains, as far as they are known now."""
        return self._bundles.authorities()

    async def verify(self, request: Request, server: Server) -> Verdict:
        """Return the workload whose SVID was presented; a certificate counts for more than a token."""
        peer = request.peer
        if peer.certificate is None:
            return self._tokens.verify(request, server)
        verdict = self._certificate(peer.certificate, peer.chain)
        if verdict is Absent.ABSENT:
            return self._tokens.verify(request, server)
        if server.authentication.is_strict and isinstance(verdict, Principal):
            return self._agreed(verdict, request, server)
        return verdict

    def headers_read(self, request: Request) -> frozenset[str]:
        """`Authorization`, if a JWT-SVID of a known trust domain stands there."""
        return self.headers if self._tokens.are_meant(request) else frozenset()

    def vouches(self, principal: Principal) -> bool:
        """Whether the bundle of the workload's trust domain is still known, and vouches for its certificate."""
        if not principal.certificates:
            return self._tokens.vouches(principal)
        leaf, *chain = principal.certificates
        verdict = self._certificate(leaf, tuple(chain))
        return isinstance(verdict, Principal) and verdict.id == principal.id

    def _certificate(self, leaf: bytes, chain: tuple[bytes, ...]) -> Verdict:
        if self._revision != self._bundles.revision:
            self._revision = self._bundles.revision
            self._known.forget()
        return self._known.get(leaf) or self._prove(leaf, chain)

    def _prove(self, leaf: bytes, chain: tuple[bytes, ...]) -> Verdict:
        try:
            presented = certificates.read(leaf, chain)
            workload = workload_in(presented.leaf)
            if workload is None or not self._bundles.is_known(workload.trust_domain):
                return Absent.ABSENT
            proof = self._proof(presented, workload)
        except Unproven as error:
            return Invalid(f"X.509-SVID {certificates.fingerprint(leaf)}: {error}")
        principal = Principal(
            id=str(workload),
            source=self.name,
            method="spiffe",
            trust=Trust.CERTIFICATE,
            attributes={"trustDomain": workload.trust_domain},
            fingerprint=certificates.fingerprint(leaf),
            expires_at=proof.expires_at,
            certificates=(leaf, *chain),
        )
        self._known.put(leaf, principal, proof)
        return principal

    def _proof(self, presented: Presented, workload: SpiffeId) -> Proof:
        authorities = self._bundles.of_domain(workload.trust_domain)
        if authorities is None:
            raise Unproven(f"there is no bundle of {workload.trust_domain} yet")
        proof = authorities.prove(presented, self._clock())
        for issuer in proof.chain[1:]:
            _check_issuer(issuer, workload)
        return proof

    def _agreed(self, verdict: Principal, request: Request, server: Server) -> Verdict:
        """What is presented beside a certificate has to hold, too, and be of the same workload."""
        token = self._tokens.verify(request, server)
        if isinstance(token, Principal) and token.id != verdict.id:
            return Invalid("the X.509-SVID and the JWT-SVID are of different workloads")
        return token if isinstance(token, Invalid) else verdict


def workload_in(certificate: x509.Certificate) -> SpiffeId | None:
    """Return whose X.509-SVID a certificate is; `None` if it is none at all.

    Raises: Unproven if it means to be one and is not (X509-SVID §2).
    """
    uris = _uris(certificate)
    if not any(uri[: len(spiffe.SCHEME)].lower() == spiffe.SCHEME for uri in uris):
        return None
    if len(uris) != 1:
        raise Unproven(f"it has {len(uris)} URIs, and an SVID has one")
    try:
        return spiffe.workload_id(uris[0])
    except ValueError as error:
        raise Unproven(str(error)) from None


def _check_issuer(issuer: x509.Certificate, workload: SpiffeId) -> None:
    """An authority that names a trust domain issues for that one only (X509-SVID §4.1)."""
    for uri in _uris(issuer):
        if uri[: len(spiffe.SCHEME)].lower() == spiffe.SCHEME:
            domain = uri[len(spiffe.SCHEME) :].partition("/")[0]
            if domain != workload.trust_domain:
                raise Unproven(f"its issuer is an authority of {domain[:80]!r}")


def _uris(certificate: x509.Certificate) -> list[str]:
    names = certificates.alternative_names(certificate)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


_: type[IdentitySource] = SpiffeSource
__: type[Twofold] = SpiffeSource
