"""TLS of a listener: the context that new connections get, and what a client has presented.

A context is never changed once it serves: OpenSSL only ever adds to a set of trusted CAs,
and tickets that it gave out would let a client come back whose CA was removed since. So
each change of certificate, key or CAs makes a new context, for new connections. Used by
`listener.py`; knows nothing of HTTP but the names of its versions.
"""

import ssl
from collections.abc import Callable
from typing import Protocol, cast

from openmcp.model.tls import ClientAuth, ServingTls

H1 = "http/1.1"
H2 = "h2"

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only, as HTTP/2 demands (RFC 9113 §9.2.2)."""

_CERTIFICATE_REASONS = frozenset({"CERTIFICATE_VERIFY_FAILED", "PEER_DID_NOT_RETURN_A_CERTIFICATE"})

_VERIFY = {
    ClientAuth.NONE: ssl.CERT_NONE,
    ClientAuth.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRED: ssl.CERT_REQUIRED,
}


def serving_context(
    tls: ServingTls,
    *,
    protocols: list[str],
    client_cas: bytes = b"",
    on_failure: Callable[[str], None] = lambda reason: None,
) -> ssl.SSLContext:
    """Return the context for connections from now on. `on_failure` is told `certificate` or `protocol`.

    Raises: ssl.SSLError, ValueError: something of it cannot be used.
    """
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.on_failure = on_failure
    context.sslobject_class = _Witnessed
    context.minimum_version = tls.min_version
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(protocols)
    context.options |= ssl.OP_NO_RENEGOTIATION
    tls.pair.install(context)
    if tls.client_auth is not ClientAuth.NONE:
        _ask_for_certificates(context, client_cas)
    # Last: without CAs that count nobody has a certificate, and `optional` means just that.
    context.verify_mode = _VERIFY[tls.client_auth]
    return context


def _ask_for_certificates(context: ssl.SSLContext, client_cas: bytes) -> None:
    # A bundle may hold an intermediate without its root (SPIFFE's may): what is listed is trusted, no more.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # A ticket holds the client's certificate and not its intermediates, so whoever came back
    # with one could not be verified again.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    if client_cas.strip():
        context.load_verify_locations(cadata=client_cas.decode("ascii"))


def alpn(connection: ssl.SSLObject) -> str | None:
    """Return the protocol that was agreed on."""
    return connection.selected_alpn_protocol()


def presented(connection: ssl.SSLObject) -> tuple[bytes | None, tuple[bytes, ...]]:
    """Return the client's certificate and what it sent beside it (DER); `None` and nothing without one."""
    leaf = connection.getpeercert(binary_form=True)
    if not leaf:
        return None, ()
    chain = tuple(_unverified_chain(connection))
    return leaf, tuple(der for der in chain if der != leaf)


def _unverified_chain(connection: ssl.SSLObject) -> list[bytes]:
    # Public since Python 3.13; before that the same method of the object below gives wrapped certificates.
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:
        return cast("list[bytes]", public())
    below = cast("_Below", getattr(connection, "_sslobj"))  # noqa: B009 – private, and typed as such
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in below.get_unverified_chain() or ()]


class _Certificate(Protocol):
    def public_bytes(self) -> str: ...


class _Below(Protocol):
    def get_unverified_chain(self) -> list[_Certificate] | None: ...


class _Context(ssl.SSLContext):
    on_failure: Callable[[str], None]


class _Witnessed(ssl.SSLObject):
    """Tells of handshakes that fail; the event loop only drops their connections."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            is_certificate = (error.reason or "") in _CERTIFICATE_REASONS
            cast("_Context", self.context).on_failure("certificate" if is_certificate else "protocol")
            raise
