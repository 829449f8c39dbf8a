"""Certificate authorities made for one test: keys never leave the test's own memory or folder."""

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from openmcp.model.tls import KeyPair

LOOPBACK = ipaddress.ip_address("127.0.0.1")
DAY = datetime.timedelta(days=1)

Extensions = Sequence[tuple[x509.ExtensionType, bool]]
"""Each with whether it is critical."""


@dataclass(frozen=True)
class Made:
    """A certificate with its key, and the intermediates that go with it."""

    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        """The certificate and its intermediates."""
        certificates = (self.certificate, *self.intermediates)
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key(self) -> bytes:
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def pair(self) -> KeyPair:
        return KeyPair(self.pem, self.key, self.certificate.not_valid_after_utc.timestamp())

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Put both into files, each exchanged at once, as tools that rotate certificates do."""
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        for path, content in zip(paths, (self.pem, self.key), strict=True):
            fresh = path.with_suffix(path.suffix + ".new")
            fresh.write_bytes(content)
            fresh.replace(path)
        return paths


class Authority:
    """A CA."""

    def __init__(
        self,
        name: str = "Test CA",
        parent: "Authority | None" = None,
        *,
        life: datetime.timedelta = 30 * DAY,
        extensions: Extensions = (),
        is_ca: bool = True,
    ) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.parent = parent
        self.certificate = self._sign(self, parent or self, is_ca=is_ca, san=None, life=life, extensions=extensions)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self, *san: x509.GeneralName, name: str = "leaf", life: datetime.timedelta = DAY, extensions: Extensions = ()
    ) -> Made:
        """A certificate for these names; for loopback if none are given."""
        subject = _Subject(ec.generate_private_key(ec.SECP256R1()), name)
        names = san or (x509.DNSName("localhost"), x509.IPAddress(LOOPBACK))
        certificate = self._sign(subject, self, is_ca=False, san=names, life=life, extensions=extensions)
        return Made(certificate, subject.private, (self.certificate,) if self.parent else ())

    def server_context(self, made: Made, *, clients: bytes = b"") -> ssl.SSLContext:
        """A server that presents `made`, and demands a certificate of the CA in `clients` if there is one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.pair.install(context)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=clients.decode())
        return context

    def crl(
        self,
        *revoked: Made,
        life: datetime.timedelta = DAY,
        signer: "Authority | None" = None,
        extensions: Extensions = (),
    ) -> bytes:
        """A revocation list in PEM; `signer`: who signs it in the name of this CA."""
        end = datetime.datetime.now(datetime.UTC) + life
        builder = (
            x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(end - 60 * DAY).next_update(end)
        )
        for made in revoked:
            number = made.certificate.serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(end - 60 * DAY).build()
            builder = builder.add_revoked_certificate(entry)
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, is_critical)
        crl = builder.sign((signer or self).private, hashes.SHA256())
        return crl.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def client_context(self, made: Made | None = None, *, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """A client that trusts this CA, and presents `made`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.pem.decode())
        if made is not None:
            made.pair.install(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    @staticmethod
    def _sign(
        subject: "Authority | _Subject",
        issuer: "Authority",
        *,
        is_ca: bool,
        san: tuple[x509.GeneralName, ...] | None,
        life: datetime.timedelta,
        extensions: Extensions,
    ) -> x509.Certificate:
        end = datetime.datetime.now(datetime.UTC) + life
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject.name)
            .issuer_name(issuer.name)
            .public_key(subject.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - 60 * DAY)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        # As every real CA does (RFC 5280 §4.2.1.1): else two CAs of one name are taken for one another.
        named = x509.SubjectKeyIdentifier.from_public_key(subject.private.public_key())
        vouching = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.private.public_key())
        builder = builder.add_extension(named, critical=False).add_extension(vouching, critical=False)
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, is_critical)
        return builder.sign(issuer.private, hashes.SHA256())


class _Subject:
    def __init__(self, private: ec.EllipticCurvePrivateKey, name: str) -> None:
        self.private = private
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
