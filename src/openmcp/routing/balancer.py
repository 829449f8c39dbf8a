"""Chooses the replicas that may take an exchange, best first.

A bound exchange has exactly one; everything else goes to healthy replicas by the
server's `balance`, or, with `affinity: hash`, by who asks. If none is healthy all are
tried: a wrong verdict must not make an outage.
"""

import random
from collections.abc import Callable
from hashlib import blake2b

from openmcp.errors import UnknownSession
from openmcp.model.server import AffinityMode, Balance, Replica, Server
from openmcp.routing.health import HealthBook


class Balancer:
    """Orders replicas."""

    def __init__(self, health: HealthBook, in_flight: Callable[[Replica], int]) -> None:
        self._health = health
        self._in_flight = in_flight
        self._turn = 0

    def candidates(self, server: Server, bound_to: str | None, *, holder: str) -> tuple[Replica, ...]:
        """Return the replicas to try in order; `bound_to` is the URL of the one that must serve it, `holder` who asks.

        Raises: UnknownSession if the bound replica is not configured any more: never a silent move.
        """
        if bound_to is not None:
            for replica in server.replicas:
                if replica.url == bound_to:
                    return (replica,)
            raise UnknownSession(detail=f"its replica {bound_to} is gone")
        if len(server.replicas) <= 1:
            return server.replicas
        healthy = [replica for replica in server.replicas if self._health.is_healthy(replica)]
        choice = healthy or list(server.replicas)
        if server.affinity.mode is AffinityMode.HASH:
            return tuple(sorted(choice, key=lambda replica: _weight(holder, replica)))
        return tuple(self._ordered(server.balance, choice))

    def _ordered(self, balance: Balance, replicas: list[Replica]) -> list[Replica]:
        if balance is Balance.RANDOM:
            return random.sample(replicas, len(replicas))
        self._turn += 1
        start = self._turn % len(replicas)
        rotated = replicas[start:] + replicas[:start]
        if balance is Balance.LEAST_REQUESTS:
            rotated.sort(key=self._in_flight)
        return rotated


def _weight(holder: str, replica: Replica) -> bytes:
    """Return the place of a replica for somebody: who loses a replica moves, everybody else stays (rendezvous hashing).

    The key is no secret and needs none: whom a replica suits is theirs to know.
    """
    return blake2b(f"{holder}\0{replica.url}".encode(), digest_size=8).digest()
