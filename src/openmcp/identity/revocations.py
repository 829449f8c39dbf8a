"""Whether a certificate of a proved chain was revoked, by the lists of its issuers.

A list counts if its issuer signed it and it has not expired. Where no list counts, nobody
knows whether a certificate was revoked: that is a no, as it is in nginx and Envoy.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa


class Revocation(NamedTuple):
    """What the lists say of a chain."""

    why: str
    """Why it does not hold; `""` = it does."""

    since: float = 0.0
    until: float = 0.0
    """Unix seconds between which the lists that were looked at hold."""


class Revocations:
    """The revocation lists of one source."""

    def __init__(self, crls: Iterable[bytes]) -> None:
        """Take lists in DER."""
        self._by_issuer: dict[x509.Name, list[x509.CertificateRevocationList]] = {}
        self._signed: dict[tuple[int, bytes], bool] = {}
        for der in crls:
            crl = x509.load_der_x509_crl(der)
            self._by_issuer.setdefault(crl.issuer, []).append(crl)

    def check(self, chain: Sequence[x509.Certificate], at: float) -> Revocation:
        """Return what is known of every certificate but the authority at the end."""
        since, until = 0.0, float("inf")
        for certificate, issuer in itertools.pairwise(chain):
            crl = self._current(issuer, at)
            if crl is None:
                return Revocation(f"there is no current revocation list of `{issuer.subject.rfc4514_string()}`")
            if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                return Revocation(f"certificate {certificate.serial_number:x} is revoked")
            since = max(since, crl.last_update_utc.timestamp())
            until = min(until, _end(crl))
        return Revocation("", since, until)

    def _current(self, issuer: x509.Certificate, at: float) -> x509.CertificateRevocationList | None:
        """The newest list that the issuer has signed, and that holds at this time."""
        found = [
            crl
            for crl in self._by_issuer.get(issuer.subject, ())
            if crl.last_update_utc.timestamp() <= at < _end(crl) and self._is_signed(crl, issuer)
        ]
        return max(found, key=lambda crl: crl.last_update_utc, default=None)

    def _is_signed(self, crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
        key = (id(crl), issuer.signature)
        known = self._signed.get(key)
        if known is None:
            known = self._signed[key] = _is_signed_by(crl, issuer)
        return known


def _end(crl: x509.CertificateRevocationList) -> float:
    """A list that does not say when it ends has ended."""
    return crl.next_update_utc.timestamp() if crl.next_update_utc is not None else 0.0


def _is_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        if not usage.crl_sign:
            return False
    except x509.ExtensionNotFound:
        pass
    key = issuer.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return False
    try:
        return crl.is_signature_valid(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
