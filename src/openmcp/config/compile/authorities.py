"""Authorities and revocation lists out of the files that identity sources name, each fault at the naming field.

What could never verify anything is a fault here. What has merely expired is a warning
(`config.lint_identity`): a gateway has to start although one partner forgot to renew.
"""

import base64
import json
from collections.abc import Iterable
from importlib.util import find_spec
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from openmcp.config.documents import Placed
from openmcp.config.identities import Bundle, CertificateName, MeshSettings, MtlsSettings, SpiffeSettings
from openmcp.config.resources import IdentitySourceDocument
from openmcp.config.resources.certificates import MtlsSource, SpiffeSource
from openmcp.config.resources.mesh import MeshSource
from openmcp.config.secrets import Secrets
from openmcp.model.agent import Trust

_RSA_BITS = 2048
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_CRL_BEGIN, _CRL_END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"

Source = Placed[IdentitySourceDocument]


def compile_mtls(placed: Source, written: MtlsSource, secrets: Secrets) -> MtlsSettings:
    """Return the settings with the contents of the files."""
    loc = ("spec", "mtls", "caFile")
    authorities = _authorities(placed, secrets.read_pem(placed, written.ca_file, *loc), secrets, loc=loc)
    crls = None
    if written.crl_file is not None:
        crls = _crls(placed, written.crl_file, secrets, authorities=authorities)
    return MtlsSettings(
        authorities=tuple(_der(one) for one in authorities),
        crls=crls,
        identity=CertificateName(written.identity),
        san_types=frozenset(written.san_types),
    )


def compile_spiffe(placed: Source, written: SpiffeSource, secrets: Secrets) -> SpiffeSettings:
    """Return the settings with the bundles of the files."""
    if written.workload_api is not None and find_spec("spiffe") is None:
        text = "the SPIFFE Workload API needs an extra that is not installed: pip install 'openmcp[spiffe]'"
        secrets.report(placed, text, "spec", "spiffe", "workloadApi")
    bundles: dict[str, Bundle] = {}
    for name, domain in written.trust_domains.items():
        if domain.bundle_file is not None:
            loc = ("spec", "spiffe", "trustDomains", name, "bundleFile")
            content = secrets.read_pem(placed, domain.bundle_file, *loc)
            bundles[name] = _bundle(placed, content, secrets, loc=loc)
    return SpiffeSettings(
        bundles=bundles,
        trust_domains=frozenset(written.trust_domains) or None,
        workload_api=written.workload_api or "",
        audiences=tuple(written.audiences),
    )


def compile_mesh(written: MeshSource) -> MeshSettings:
    """Return the settings."""
    return MeshSettings(
        header=written.header.lower(),
        trust=Trust.of(written.trust),
        is_xfcc=written.is_xfcc,
        element=written.element,
        by=frozenset(written.by),
    )


def _bundle(placed: Source, content: bytes, secrets: Secrets, *, loc: tuple[str, ...]) -> Bundle:
    """PEM, or JSON as the SPIFFE Trust Domain and Bundle specification has it."""
    if not content.lstrip().startswith(b"{"):
        return Bundle(tuple(_der(one) for one in _authorities(placed, content, secrets, loc=loc)))
    try:
        x509_keys, jwt_keys = _read_keys(json.loads(content))
        found = [x509.load_der_x509_certificate(der) for der in x509_keys]
    except (ValueError, TypeError, KeyError, AttributeError):
        secrets.report(placed, "the file is not a SPIFFE bundle: give PEM certificates, or a JWK set", *loc)
        return Bundle()
    if not found and not jwt_keys:
        secrets.report(placed, "the bundle is empty: nobody of this trust domain could be verified", *loc)
    _judge(placed, found, secrets, loc=loc)
    return Bundle(tuple(_der(one) for one in found), json.dumps({"keys": jwt_keys}) if jwt_keys else "")


def _read_keys(document: dict[str, object]) -> tuple[list[bytes], list[dict[str, object]]]:
    keys = cast("list[dict[str, object]]", document["keys"])
    certificates = [str(cast("list[object]", key["x5c"])[0]) for key in keys if key.get("use") == "x509-svid"]
    return [base64.b64decode(text, validate=True) for text in certificates], [
        key for key in keys if key.get("use") == "jwt-svid"
    ]


def _authorities(placed: Source, pem: bytes, secrets: Secrets, *, loc: tuple[str, ...]) -> list[x509.Certificate]:
    if not pem:
        # That the file cannot be read is a fault already; that it is empty is none yet.
        if not any(fault.place == placed.fault("", *loc).place for fault in secrets.faults):
            secrets.report(placed, "the file is empty: it has to hold the certificates of the authorities", *loc)
        return []
    try:
        found = x509.load_pem_x509_certificates(pem)
    except (ValueError, UnsupportedAlgorithm):
        text = "the file holds no certificate that can be read: give PEM (-----BEGIN CERTIFICATE-----)"
        secrets.report(placed, text, *loc)
        return []
    _judge(placed, found, secrets, loc=loc)
    return found


def _judge(placed: Source, found: Iterable[x509.Certificate], secrets: Secrets, *, loc: tuple[str, ...]) -> None:
    for certificate in found:
        why = _unusable(certificate)
        if why:
            secrets.report(placed, f"`{certificate.subject.rfc4514_string()[:200]}` {why}", *loc)


def _unusable(certificate: x509.Certificate) -> str:
    """Why nothing could ever be verified with an authority; `""` = it can."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        key = certificate.public_key()
    except x509.ExtensionNotFound:
        return "is no authority: its certificate does not say CA:TRUE"
    except (ValueError, UnsupportedAlgorithm):
        return "cannot be read"
    if not constraints.ca:
        return "is no authority: its certificate does not say CA:TRUE"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_BITS:
        return ""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES):
        return ""
    return f"has a key that certificates are not verified with: RSA from {_RSA_BITS} bits, or ECDSA with a NIST curve"


def _crls(placed: Source, path: str, secrets: Secrets, *, authorities: list[x509.Certificate]) -> tuple[bytes, ...]:
    loc = ("spec", "mtls", "crlFile")
    content = secrets.read_pem(placed, path, *loc)
    if not content:
        return ()
    try:
        found = [x509.load_pem_x509_crl(part) for part in _crl_parts(content)]
    except (ValueError, UnsupportedAlgorithm):
        found = []
    if not found:
        secrets.report(
            placed, "the file holds no revocation list that can be read: give PEM (-----BEGIN X509 CRL)", *loc
        )
    for crl in found:
        why = _unusable_crl(crl, authorities)
        if why:
            secrets.report(placed, f"the revocation list of `{crl.issuer.rfc4514_string()[:200]}` {why}", *loc)
    return tuple(crl.public_bytes(serialization.Encoding.DER) for crl in found)


def _crl_parts(content: bytes) -> list[bytes]:
    parts = content.split(_CRL_BEGIN)[1:]
    return [_CRL_BEGIN + part.partition(_CRL_END)[0] + _CRL_END + b"\n" for part in parts]


def _unusable_crl(crl: x509.CertificateRevocationList, authorities: list[x509.Certificate]) -> str:
    if crl.next_update_utc is None:
        return "does not say until when it holds (nextUpdate)"
    if any(extension.critical for extension in crl.extensions):
        return "is partial, indirect or a delta; give whole lists of each authority"
    issuers = [one for one in authorities if one.subject == crl.issuer]
    if issuers and not any(_is_signed_by(crl, issuer) for issuer in issuers):
        return "is not signed by that authority"
    return ""


def _is_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        return False
    try:
        return crl.is_signature_valid(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
