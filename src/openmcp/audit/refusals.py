"""`Refusals`: a budget for recording callers that nobody knows, so that a flood cannot fill the log.

The first refusals of a peer in a minute are recorded one by one, the rest are counted and
told in one line. Used by the recorder for requests that were refused before an agent was
identified.
"""

import ipaddress
from dataclasses import dataclass, field
from typing import Final

PER_PEER: Final = 20
WINDOW_NS: Final = 60 * 10**9
_PEERS: Final = 4096
_OTHERS: Final = "*"


@dataclass(slots=True)
class Tally:
    """What one peer was refused within a window."""

    peer: str
    first: int
    """Unix nanoseconds, as `last`."""

    last: int = 0
    recorded: int = 0
    kinds: dict[str, int] = field(default_factory=dict[str, int])
    """Those that were only counted."""


class Refusals:
    """Counts per peer and minute; called from one thread."""

    def __init__(self, *, per_peer: int = PER_PEER, window_ns: int = WINDOW_NS, peers: int = _PEERS) -> None:
        self._per_peer = per_peer
        self._window_ns = window_ns
        self._capacity = peers
        self._tallies: dict[str, Tally] = {}
        self._window_end = 0

    def admits(self, address: str, kind: str, *, now_ns: int) -> bool:
        """Whether this refusal gets a record of its own; if not, it is counted."""
        peer = _network(address)
        tally = self._tallies.get(peer)
        if tally is None:
            if len(self._tallies) >= self._capacity:
                peer = _OTHERS
            tally = self._tallies.setdefault(peer, Tally(peer, now_ns))
            self._window_end = self._window_end or now_ns + self._window_ns
        if tally.recorded < self._per_peer:
            tally.recorded += 1
            return True
        tally.last = now_ns
        tally.kinds[kind] = tally.kinds.get(kind, 0) + 1
        return False

    def is_due(self, now_ns: int) -> bool:
        """Whether the minute is over."""
        return 0 < self._window_end <= now_ns

    def take(self) -> list[Tally]:
        """Return what was only counted, and begin a new minute."""
        counted = [tally for tally in self._tallies.values() if tally.kinds]
        self._tallies.clear()
        self._window_end = 0
        return counted


def _network(address: str) -> str:
    """Return what one caller can be assumed to hold: an IPv4 address, or an IPv6 /64."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
