"""TLS towards replicas: the contexts that connections are made with.

A context holds what it trusts in memory, so all pools that ask for the same share one, and
the last of them lets go of it: a key that was exchanged is not kept. Used by `client.py`
and `pool.py`.
"""

import ssl
from weakref import WeakValueDictionary

from openmcp.model.server import Http2
from openmcp.model.tls import CallingTls


class Contexts:
    """The contexts in use, by what they are made of."""

    def __init__(self) -> None:
        self._made: WeakValueDictionary[tuple[CallingTls, Http2], ssl.SSLContext] = WeakValueDictionary()
        # Reading the operating system's CAs takes 20 ms, so not again for each try to reach a replica that is down.
        self._plain: dict[Http2, ssl.SSLContext] = {}

    def get(self, tls: CallingTls, http2: Http2) -> ssl.SSLContext:
        """Return the context.

        Raises: ssl.SSLError, OSError: something of it cannot be used.
        """
        context = self._made.get((tls, http2))
        if context is None:
            context = self._made[tls, http2] = _context(tls, _PROTOCOLS[http2])
            if tls == CallingTls():
                self._plain[http2] = context
        return context


_PROTOCOLS = {Http2.AUTO: ["h2", "http/1.1"], Http2.NEVER: ["http/1.1"], Http2.PRIOR_KNOWLEDGE: ["h2"]}


def speaks_http2(connection: ssl.SSLObject) -> bool:
    """Whether the two sides have agreed on HTTP/2."""
    return connection.selected_alpn_protocol() == "h2"


def _context(tls: CallingTls, protocols: list[str]) -> ssl.SSLContext:
    # A client's context verifies certificates and names from the start.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(protocols)
    if tls.authorities:
        # What is named is trusted, also an intermediate without its root, and nothing beside it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=tls.authorities.decode("latin-1"))
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if tls.pair is not None:
        tls.pair.install(context)
    return context


def fault(error: OSError) -> str:
    """Return what is wrong, in words for the operator."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the replica is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    return str(error)
