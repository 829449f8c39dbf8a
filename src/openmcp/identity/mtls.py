"""Client certificates of authorities that the operator names: the `mtls` source.

The listener has checked that the peer holds the key. Whether the certificate counts is
decided here, against the source's own authorities, and again with every request: it may
expire or be revoked while the connection stands.
"""

from collections.abc import Collection, Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID

from openmcp.config.identities import AgentSpec, CertificateName, MtlsSettings, SourceSpec
from openmcp.identity import certificates
from openmcp.identity.certificates import Authorities, Known, Presented, Unproven
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Absent, IdentitySource, Invalid, Verdict
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Request
from openmcp.model.server import Server


class MtlsSource:
    """Recognises whoever has a certificate of one of its authorities."""

    headers: frozenset[str] = frozenset()

    def __init__(self, name: str, settings: MtlsSettings, lasting: Lasting) -> None:
        self.name = name
        self.anchors: Collection[bytes] = settings.authorities
        self._settings = settings
        self._authorities = Authorities(settings.authorities, settings.crls)
        self._clock = lasting.clock
        self._known = Known(lasting.clock)

    @classmethod
    def from_spec(cls, spec: SourceSpec, _: Sequence[AgentSpec], lasting: Lasting) -> "MtlsSource":
        """Return the source with the authorities that were read with the configuration."""
        assert isinstance(spec.settings, MtlsSettings)
        return cls(spec.name, spec.settings, lasting)

    async def verify(self, request: Request, server: Server) -> Verdict:
        """Return the principal that the client certificate names."""
        peer = request.peer
        if peer.certificate is None:
            return Absent.ABSENT
        return self._known.get(peer.certificate) or self._prove(peer.certificate, peer.chain)

    def vouches(self, principal: Principal) -> bool:
        """Whether the very certificate that was presented would still be taken."""
        if not principal.certificates:
            return False
        leaf, *chain = principal.certificates
        verdict = self._known.get(leaf) or self._prove(leaf, tuple(chain))
        return isinstance(verdict, Principal) and verdict.id == principal.id

    def _prove(self, leaf: bytes, chain: tuple[bytes, ...]) -> Verdict:
        try:
            presented = certificates.read(leaf, chain)
            if not self._authorities.have_issued(presented):
                # Another source may have authorities that issued it; if none has, the chain of sources refuses it.
                return Absent.ABSENT
            proof = self._authorities.prove(presented, self._clock())
            name = self._name_in(presented)
        except Unproven as error:
            return Invalid(f"client certificate {certificates.fingerprint(leaf)}: {error}")
        principal = Principal(
            id=f"x509:{self.name}:{name}",
            source=self.name,
            method="mtls",
            trust=Trust.CERTIFICATE,
            fingerprint=certificates.fingerprint(leaf),
            expires_at=proof.expires_at,
            certificates=(leaf, *chain),
        )
        self._known.put(leaf, principal, proof)
        return principal

    def _name_in(self, presented: Presented) -> str:
        match self._settings.identity:
            case CertificateName.SAN:
                return _only_san(presented.leaf, self._settings.san_types)
            case CertificateName.SUBJECT:
                return _subject(presented.leaf)
            case CertificateName.COMMON_NAME:
                return f"cn:{_common_name(presented.leaf)}"


def _only_san(certificate: x509.Certificate, kinds: Collection[str]) -> str:
    names = certificates.alternative_names(certificate)
    found: list[str] = []
    for name in names or ():
        match name:
            case x509.UniformResourceIdentifier(value=value) if "uri" in kinds:
                found.append(f"uri:{value}")
            case x509.DNSName(value=value) if "dns" in kinds:
                found.append(f"dns:{value.lower()}")
            case x509.RFC822Name(value=value) if "email" in kinds:
                found.append(f"email:{value}")
            case _:
                pass
    if len(found) != 1:
        raise Unproven(f"it has {len(found)} alternative names that count, and has to have one")
    if "*" in found[0] or not found[0].isascii() or not found[0].isprintable() or " " in found[0]:
        raise Unproven("its alternative name names nobody in particular")
    return found[0]


def _subject(certificate: x509.Certificate) -> str:
    name = certificate.subject.rfc4514_string()
    if not name:
        raise Unproven("its subject is empty")
    if not name.isprintable():
        raise Unproven("its subject holds control characters")
    return name


def _common_name(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(found) != 1 or not isinstance(found[0].value, str):
        raise Unproven(f"its subject has {len(found)} common names, and has to have one")
    if not found[0].value or not found[0].value.isprintable():
        raise Unproven("its common name is empty, or holds control characters")
    return found[0].value


_: type[IdentitySource] = MtlsSource
