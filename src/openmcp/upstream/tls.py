"""TLS towards replicas: the contexts that connections are made with.

A context holds what it trusts in memory, so all pools that ask for the same share one, and
the last of them lets go of it: a key that was exchanged is not kept. Used by `client.py`
and `pool.py`.
"""

import ssl
from weakref import WeakValueDictionary

from openmcp.model.tls import CallingTls


class Contexts:
    """The contexts in use, by what they are made of."""

    def __init__(self) -> None:
        self._made: WeakValueDictionary[CallingTls, ssl.SSLContext] = WeakValueDictionary()
        # Reading the operating system's CAs takes 20 ms, so not again for each try to reach a replica that is down.
        self._plain: ssl.SSLContext | None = None

    def get(self, tls: CallingTls) -> ssl.SSLContext:
        """Return the context.

        Raises: ssl.SSLError, OSError: something of it cannot be used.
        """
        context = self._made.get(tls)
        if context is None:
            context = self._made[tls] = _context(tls)
            if tls == CallingTls():
                self._plain = context
        return context


def _context(tls: CallingTls) -> ssl.SSLContext:
    # A client's context verifies certificates and names from the start.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
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
