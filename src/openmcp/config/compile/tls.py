"""Certificates and keys out of the files that resources name, each fault at the field that names the file.

Everything that OpenSSL would refuse later is found here, before anything is put in force.
"""

import ssl

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from openmcp.config.documents import Placed
from openmcp.config.resources import Document
from openmcp.config.resources.gateway import ListenerTls, Tls
from openmcp.config.resources.server import UpstreamTls
from openmcp.config.secrets import Secrets
from openmcp.model.tls import CallingTls, ClientAuth, KeyPair, ServingTls

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_NO_PAIR = KeyPair(b"", b"", 0.0)


def serving_tls(placed: Placed[Document], tls: Tls, secrets: Secrets, *loc: int | str) -> ServingTls:
    """Return the settings at `loc`; what is wrong with the files is reported to `secrets`."""
    client_auth = ClientAuth(tls.client_auth) if isinstance(tls, ListenerTls) else ClientAuth.NONE
    return ServingTls(
        key_pair(placed, tls.cert_file, tls.key_file, secrets, *loc), _VERSIONS[tls.min_version], client_auth
    )


def calling_tls(placed: Placed[Document], tls: UpstreamTls, secrets: Secrets, *loc: int | str) -> CallingTls:
    """Return the settings at `loc`; what is wrong with the files is reported to `secrets`."""
    authorities = b""
    if tls.ca_file is not None:
        authorities = secrets.read_pem(placed, tls.ca_file, *loc, "caFile")
        _check_authorities(placed, authorities, secrets, *loc, "caFile")
    pair = None
    if tls.cert_file is not None and tls.key_file is not None:
        pair = key_pair(placed, tls.cert_file, tls.key_file, secrets, *loc)
    return CallingTls(authorities, pair, (tls.server_name or "").strip("[]"))


def _check_authorities(placed: Placed[Document], pem: bytes, secrets: Secrets, *loc: int | str) -> None:
    if not pem or not certificates(placed, pem, secrets, *loc):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("latin-1"))
    except (ssl.SSLError, ValueError) as error:
        secrets.report(placed, f"TLS cannot use these certificates: {error}", *loc)


def key_pair(placed: Placed[Document], cert_file: str, key_file: str, secrets: Secrets, *loc: int | str) -> KeyPair:
    """Return what is in the files, which are named below `loc`; an unusable pair is reported."""
    pem = secrets.read_pem(placed, cert_file, *loc, "certFile")
    key = secrets.read_pem(placed, key_file, *loc, "keyFile")
    chain = certificates(placed, pem, secrets, *loc, "certFile") if pem else []
    public = _public_key(placed, key, secrets, *loc, "keyFile") if key else None
    if not chain or public is None:
        return _NO_PAIR
    if _spki(chain[0].public_key()) != public:
        text = f"the key does not belong to the certificate in `{cert_file}`: give the pair that belongs together"
        secrets.report(placed, text, *loc, "keyFile")
        return _NO_PAIR
    pair = KeyPair(pem, key, min(one.not_valid_after_utc.timestamp() for one in chain))
    try:
        pair.install(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    except ssl.SSLError as error:
        secrets.report(placed, f"TLS cannot use this certificate: {error.reason or error}", *loc, "certFile")
    return pair


def certificates(placed: Placed[Document], pem: bytes, secrets: Secrets, *loc: int | str) -> list[x509.Certificate]:
    """Return the certificates of a PEM file; none with a fault where there are none, or they cannot be read."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except (ValueError, UnsupportedAlgorithm):
        text = "the file holds no certificate that can be read: give PEM (-----BEGIN CERTIFICATE-----)"
        secrets.report(placed, text, *loc)
        return []


def _public_key(placed: Placed[Document], pem: bytes, secrets: Secrets, *loc: int | str) -> bytes | None:
    try:
        return _spki(serialization.load_pem_private_key(pem, password=None).public_key())
    except TypeError:
        secrets.report(placed, "the key is encrypted: the gateway has nobody to ask for its password", *loc)
    except (ValueError, UnsupportedAlgorithm):
        text = "the file holds no private key that can be read: give PEM (-----BEGIN PRIVATE KEY-----)"
        secrets.report(placed, text, *loc)
    return None


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
