"""Which authorities a listener lets a client certificate come from: the union over all sources that read one.

Held by the runtime for the listeners, which build their TLS contexts from it and build them
again when it has changed. The union is only a sieve: each source verifies what came through
against its own authorities, because a certificate that one of them may vouch for is nothing
to another.
"""

import base64
import textwrap
from collections.abc import Callable, Iterable


class TrustAnchors:
    """The certificates that a client certificate may be issued under; to be used in the event loop's thread."""

    def __init__(self) -> None:
        self._certificates: frozenset[bytes] = frozenset()
        self._watchers: list[Callable[[], None]] = []
        self.revision = 0
        """Grows with each change."""

    def pem(self) -> bytes:
        """Return all of them as PEM, in an order that is the same for the same set; empty = no source reads any."""
        return b"".join(_pem(certificate) for certificate in sorted(self._certificates))

    def on_change(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after every change from now on."""
        self._watchers.append(watcher)

    def put(self, certificates: Iterable[bytes]) -> None:
        """Put these (DER) in the place of those before; whoever watches is told if they are others."""
        found = frozenset(certificates)
        if found != self._certificates:
            self._certificates = found
            self.revision += 1
            for watcher in tuple(self._watchers):
                watcher()


def _pem(certificate: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(certificate).decode(), 64)
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", "")).encode()
