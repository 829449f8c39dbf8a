"""One HTTP exchange as the stages see it: a `Request` that arrived whole, and the `Wire` to answer on.

Made by `server/`, whatever the protocol below is (HTTP/1.1, HTTP/2), and by tests
without any socket. Knows nothing of MCP.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end of the connection, as far as the socket can tell."""

    address: str
    """IP address in text form, without port or zone; `""` for a Unix socket."""

    port: int = 0
    is_trusted: bool = False
    """Whether the listener's `trustedPeers` holds the address: only then are identity headers believed."""

    certificate: bytes | None = None
    """The client certificate that the handshake accepted, DER; `None` without TLS or without a certificate."""

    chain: tuple[bytes, ...] = ()
    """What the client presented beside it, in its order: intermediates, DER. Not verified; each source does that."""


class Request(msgspec.Struct, frozen=True):
    """One HTTP request, read whole and already free of HTTP-level tricks."""

    method: str
    path: str
    """Path of the target as sent (percent-encoding kept), without query."""

    headers: Mapping[str, str]
    """Names in lower case, values latin-1 decoded; repeated fields joined by `", "`."""

    body: bytes
    peer: Peer
    query: str = ""
    repeated: frozenset[str] = frozenset()
    """Names of fields that came more than once; the edge refuses repetition where one value is meant."""

    listener: str = ""
    public_url: str = ""
    """The listener's `publicUrl`, without trailing slash; never taken from the `Host` header."""

    http_version: str = "1.1"
    received_ns: int = 0
    """`time.time_ns()` when the last byte of the head was read."""


class Wire(Protocol):
    """The answering half of one exchange. Writes never block; `drain` waits for a slow reader.

    After the client has left, every method is a no-op and `is_open` is false.
    """

    outlives_client: bool
    """Whether the exchange goes on when the client disconnects; if not, its task is cancelled.

    False at the start. The gateway sets it for legacy requests, where a disconnect is not a
    cancellation (MCP 2025-11-25, Streamable HTTP).
    """

    ends_when_draining: bool
    """Whether the exchange is ended as soon as the node begins to stop, instead of being waited for.

    False at the start. The gateway sets it for streams that would never end by themselves: their clients
    open them again elsewhere.
    """

    @property
    def is_open(self) -> bool: ...

    def respond(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Write a whole answer; the edge adds `Content-Length`, `Date` and connection headers."""

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Write the head of an answer of unknown length; flushed with the first `write`."""

    def write(self, data: bytes) -> None:
        """Append to a begun answer; writes of one loop turn leave together."""

    async def drain(self) -> None:
        """Wait until the client has read enough that more may be written."""

    def end(self) -> None:
        """End a begun answer cleanly."""
