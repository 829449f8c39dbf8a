"""Whether a certificate is vouched for by a set of authorities, and for how long that stays so.

What the sources that read client certificates have in common: `Authorities` proves a
chain, `Known` remembers whom it proved, so that a known connection costs a look-up. It
must not know what in a certificate names its owner.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError
from cryptography.x509.verification import Policy as ChainPolicy

from openmcp.identity.revocations import Revocations
from openmcp.model.agent import Principal

_MAX_PRESENTED = 10
"""Intermediates that are looked at. No chain is longer, and each costs a signature."""

_KNOWN = 4096
_FINGERPRINT = 12


class Unproven(Exception):
    """The certificate is not vouched for; the text says why, for the record only."""


class Presented(NamedTuple):
    """What a peer has shown, read."""

    leaf: x509.Certificate
    intermediates: Sequence[x509.Certificate]


@dataclass(frozen=True, slots=True)
class Proof:
    """A chain from a certificate to an authority."""

    since: float
    until: float
    """Unix seconds between which everything that was looked at holds: certificates and revocation lists."""

    expires_at: float
    """When the first certificate of the chain expires, Unix seconds."""

    chain: Sequence[x509.Certificate]
    """The certificate first, the authority last."""


class Authorities:
    """Those who may issue, and what they have revoked."""

    def __init__(self, certificates: Iterable[bytes], crls: Iterable[bytes] | None = None) -> None:
        """Take certificates and revocation lists in DER; `None` = revocation is not looked at."""
        self._certificates = [x509.load_der_x509_certificate(der) for der in certificates]
        self._store = Store(self._certificates) if self._certificates else None
        self._revocations = None if crls is None else Revocations(crls)

    def have_issued(self, presented: Presented) -> bool:
        """Whether one of these authorities has issued the certificate, at once or by the intermediates beside it.

        Little is proved by that. It tells a certificate that is these authorities' to judge, and has to hold, from
        one that is another source's, although its authority may have the same name.
        """
        by_subject = {one.subject: one for one in presented.intermediates}
        issued: x509.Certificate | None = presented.leaf
        while issued is not None:
            if any(_has_issued(authority, issued) for authority in self._certificates):
                return True
            issued = by_subject.pop(issued.issuer, None)
        return False

    def prove(self, presented: Presented, at: float) -> Proof:
        """Return the chain that vouches for the certificate at this time (Unix seconds).

        Raises: Unproven.
        """
        if self._store is None:
            raise Unproven("there is no authority")
        policy = PolicyBuilder().store(self._store).time(datetime.fromtimestamp(at, UTC))
        verifier = policy.extension_policies(ee_policy=_END_ENTITY, ca_policy=_AUTHORITY).build_client_verifier()
        try:
            chain = verifier.verify(presented.leaf, list(presented.intermediates)).chain
        except (VerificationError, ValueError, UnsupportedAlgorithm) as error:
            raise Unproven(_first_line(error)) from None
        since = max(one.not_valid_before_utc.timestamp() for one in chain)
        expires_at = until = min(one.not_valid_after_utc.timestamp() for one in chain)
        if self._revocations is not None:
            revocation = self._revocations.check(chain, at)
            if revocation.why:
                raise Unproven(revocation.why)
            since, until = max(since, revocation.since), min(until, revocation.until)
        return Proof(since, until, expires_at, chain)


class Known:
    """Whose certificates were proved, and until when that holds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[bytes, tuple[Principal, float, float]] = {}

    def get(self, certificate: bytes) -> Principal | None:
        """Return the principal whose certificate this is, if that was proved and still holds."""
        # The same bytes object comes with each request of a connection, and remembers its hash.
        entry = self._entries.get(certificate)
        if entry is not None and entry[1] <= self._clock() < entry[2]:
            return entry[0]
        return None

    def put(self, certificate: bytes, principal: Principal, proof: Proof) -> None:
        """Remember a principal for as long as its proof holds; the oldest gives way."""
        if len(self._entries) >= _KNOWN:
            del self._entries[next(iter(self._entries))]
        self._entries[certificate] = (principal, proof.since, proof.until)

    def forget(self) -> None:
        """Prove everybody again."""
        self._entries.clear()


def read(leaf: bytes, chain: Sequence[bytes]) -> Presented:
    """Return what was presented (DER).

    Raises: Unproven if it cannot be read.
    """
    if len(chain) > _MAX_PRESENTED:
        raise Unproven(f"more than {_MAX_PRESENTED} intermediates were presented")
    try:
        found = [x509.load_der_x509_certificate(der) for der in (leaf, *chain)]
        # Read once here: an extension that comes twice, or cannot be decoded, is found at the first look.
        for certificate in found:
            _ = certificate.extensions
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise Unproven(f"a certificate cannot be read: {_first_line(error)}") from None
    return Presented(found[0], found[1:])


def alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    """Return the alternative names; `None` if there are none."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def fingerprint(certificate: bytes) -> str:
    """Return the short digest that stands for a certificate in the record."""
    return hashlib.sha256(certificate).hexdigest()[:_FINGERPRINT]


def der(certificate: x509.Certificate) -> bytes:
    """Return the certificate as DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def _has_issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    if certificate.issuer != authority.subject:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]


# ------------------------------------------------------------ what a chain has to be like (RFC 5280 §4.2.1)


def _is_for_clients(_: ChainPolicy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("it is not issued for clients (extended key usage)")


def _issues_for_clients(_: ChainPolicy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    allowed = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if usage is not None and not any(oid in usage for oid in allowed):
        raise ValueError("its issuer may not issue for clients (extended key usage)")


def _signs(_: ChainPolicy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and (not usage.digital_signature or usage.key_cert_sign or usage.crl_sign):
        raise ValueError("its key is not for signing in TLS, or may issue (key usage)")


def _issues(_: ChainPolicy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the key of its issuer is not for issuing (key usage)")


def _is_no_authority(_: ChainPolicy, certificate: x509.Certificate, found: x509.BasicConstraints | None) -> None:
    if found is not None and found.ca:
        raise ValueError("it is the certificate of an authority")


_END_ENTITY = (
    ExtensionPolicy.permit_all()
    .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_no_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_clients)
)
_AUTHORITY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _issues)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _issues_for_clients)
)
