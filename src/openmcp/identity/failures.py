"""Who fails too often: the work that a peer without a valid credential can cause is bounded.

The chain notes every failure. Sources whose check is costly (signatures, password hashes)
ask before they check what they have not seen before; what they know already, and what is
checked in a microsecond, needs no leave, so that an attacker behind the same address
locks nobody out who is known.
"""

import ipaddress
import time
from collections.abc import Callable

BURST = 30
"""Failures in a row that cost a peer nothing: a whole office may start with a wrong password at nine."""

PER_SECOND = 1.0
_PEERS_CAP = 10_000


class Failures:
    """A bucket of tries for each peer that failed of late; bounded, whoever comes."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._peers: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def may_try(self, address: str) -> bool:
        """Whether a costly check of something unknown is done for this peer now."""
        return not self._peers or self._level(_network(address), self._clock()) < BURST

    def note(self, address: str) -> None:
        """A credential from this peer did not verify."""
        now, peer = self._clock(), _network(address)
        level = min(self._level(peer, now) + 1, float(BURST))
        # Taken out first, so that it stands last: the oldest goes when there is no room.
        self._peers.pop(peer, None)
        if len(self._peers) >= _PEERS_CAP:
            del self._peers[next(iter(self._peers))]
        self._peers[peer] = (level, now)

    def _level(self, peer: str, now: float) -> float:
        level, since = self._peers.get(peer, (0.0, now))
        return max(0.0, level - max(0.0, now - since) * PER_SECOND)


def _network(address: str) -> str:
    """Return whom an address stands for: itself, and in IPv6 its /64, of which one host has all."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    except ValueError:
        return address
