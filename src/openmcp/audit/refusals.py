"""`Refusals`: a budget for recording callers that nobody knows, so that a flood cannot fill the log.

The first refusals of a peer in a minute are recorded one by one, the rest are counted and
told in one line. Used by the recorder for requests that were refused before an agent was
identified, by the gateway or already by the edge.
"""

import ipaddress
from dataclasses import dataclass, field, replace
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
        self.has_counted = False
        """Whether something waits to be told (`take`)."""

    def admits(self, address: str, kind: str, *, now_ns: int) -> bool:
        """Whether this refusal gets a record of its own; if not, it is counted."""
        tally = self._tally(address, now_ns)
        if tally.recorded < self._per_peer:
            tally.recorded += 1
            return True
        self._count(tally, kind, now_ns=now_ns)
        return False

    def count(self, address: str, kind: str, *, now_ns: int) -> None:
        """Only count this refusal: there is no room to record it."""
        self._count(self._tally(address, now_ns), kind, now_ns=now_ns)

    def _tally(self, address: str, now_ns: int) -> Tally:
        if now_ns >= self._window_end:
            # A new minute: what was recorded no longer counts, what was only counted waits for `take`.
            self._window_end = now_ns + self._window_ns
            self._tallies = {peer: tally for peer, tally in self._tallies.items() if tally.kinds}
            for counted in self._tallies.values():
                counted.recorded = 0
        peer = _network(address)
        tally = self._tallies.get(peer)
        if tally is None:
            if len(self._tallies) >= self._capacity:
                peer = _OTHERS
            tally = self._tallies.setdefault(peer, Tally(peer, now_ns))
        return tally

    def _count(self, tally: Tally, kind: str, *, now_ns: int) -> None:
        self.has_counted = True
        if not tally.kinds:
            tally.first = now_ns
        tally.last = now_ns
        tally.kinds[kind] = tally.kinds.get(kind, 0) + 1

    def take(self) -> list[Tally]:
        """Return what was only counted since the last call."""
        counted = [replace(tally) for tally in self._tallies.values() if tally.kinds]
        for tally in self._tallies.values():
            tally.kinds = {}
        self.has_counted = False
        return counted


def _network(address: str) -> str:
    """Return what one caller can be assumed to hold: an IPv4 address, or an IPv6 /64."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
