"""Which authorities a listener lets a client certificate come from: the union over all sources that read one.

Held by the runtime for the listeners, which build their TLS contexts from it and build them
again when it has changed. The union is only a sieve: each source verifies what came through
against its own authorities, because a certificate that one of them may vouch for is nothing
to another.
"""

import base64
import textwrap
from collections.abc import Callable, Collection, Iterable
from typing import Protocol, runtime_checkable


@runtime_checkable
class Anchored(Protocol):
    """An identity source that reads client certificates."""

    @property
    def anchors(self) -> Collection[bytes]:
        """The certificates of the authorities that it knows now, DER."""
        ...


class TrustAnchors:
    """The certificates that a client certificate may be issued under; to be used in the event loop's thread."""

    def __init__(self) -> None:
        self._sources: tuple[Anchored, ...] = ()
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

    def follow(self, sources: Iterable[object]) -> None:
        """Take the authorities of those among these sources that have some, in the place of all before."""
        self._sources = tuple(source for source in sources if isinstance(source, Anchored))
        self.refresh()

    def refresh(self) -> None:
        """Ask the sources again; whoever watches is told if they have others now."""
        found = frozenset(certificate for source in self._sources for certificate in source.anchors)
        if found != self._certificates:
            self._certificates = found
            self.revision += 1
            for watcher in tuple(self._watchers):
                watcher()


def _pem(certificate: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(certificate).decode(), 64)
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", "")).encode()
