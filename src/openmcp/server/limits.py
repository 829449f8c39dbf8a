"""What a worker accepts from clients before it says no.

Filled from the bootstrap file's `limits` by whoever starts a worker; read by every
connection. Knows nothing of what is behind the edge.
"""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerLimits:
    """Bounds on what clients may send, hold and take, per request and over a worker."""

    header_bytes: int = 32 * KIB
    header_fields: int = 128
    request_bytes: int = 4 * MIB
    buffered_bytes: int = 256 * MIB
    """Request bodies held at one time, over all exchanges of the worker."""

    concurrent_exchanges: int = 10_000
    connections: int = 20_000
    """Idle connections cost little, but each is a file descriptor: beyond this, new ones are turned away."""

    streams_per_connection: int = 128
    """Requests under way on one HTTP/2 connection; clients open another one for more."""

    pipelined_bytes: int = 64 * KIB
    """What a connection may send ahead while its exchange runs; then it is not read until that has ended."""

    write_buffer_bytes: int = 64 * KIB
    """What may wait for a slow reader before `drain` makes the writer wait as well."""

    headers_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    """For the whole body, so that a trickle does not count as progress."""

    idle_timeout_s: float = 75.0
    """Longer than common clients and load balancers keep a connection, so that they close first."""

    write_timeout_s: float = 300.0
    """A client that takes nothing for so long while an answer waits is given up."""

    linger_timeout_s: float = 2.0
    """How long a refused client may go on sending before it has read the refusal."""

    tick_s: float = 1.0
    """Granularity of all of these timeouts."""
