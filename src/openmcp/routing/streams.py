"""How much each agent has under way: one who takes all places must not lock out the rest.

Long streams (GET, `subscriptions/listen`) and all other exchanges are counted apart: whoever
keeps many streams open can still call, and in the legacy era a call goes on, and keeps its
place, when its client has left.
"""

import ipaddress
from contextlib import AbstractContextManager
from functools import lru_cache
from types import TracebackType

from openmcp.errors import Overloaded
from openmcp.mcp import methods
from openmcp.model.decision import Permitted

_NETWORK_BITS = 64
"""Of an IPv6 address, what tells one subscriber from another: whoever has one has all the addresses behind it."""


@lru_cache(maxsize=4096)
def peer_holder(address: str) -> str:
    """Return whom the limits count where nobody is known: the peer's address, or its network for IPv6."""
    if ":" not in address:
        return f"peer:{address}"
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return f"peer:{address}"
    if parsed.ipv4_mapped is not None:
        return f"peer:{parsed.ipv4_mapped}"
    return f"peer:{ipaddress.IPv6Network((parsed, _NETWORK_BITS), strict=False)}"


class Streams:
    """The exchanges of this process that are being forwarded, by holder; lives longer than a snapshot."""

    def __init__(self) -> None:
        self.limit = 100
        """Streams per principal (per peer for anonymous agents, see `peer_holder`): `limits.streamsPerPrincipal`."""

        self.exchange_limit = 1000
        """Other exchanges per principal, or per peer; see `configure`."""

        self._open: dict[str, int] = {}
        self._busy: dict[str, int] = {}

    def configure(self, *, streams: int, exchanges: int) -> None:
        """Take the limits of a new snapshot; no one holder gets more than a tenth of the node's `exchanges`."""
        self.limit = streams
        self.exchange_limit = max(streams, exchanges // 10)

    def hold(self, permitted: Permitted) -> AbstractContextManager[None]:
        """Hold a place while inside.

        Raises: Overloaded.
        """
        arrival = permitted.arrival
        if arrival.http_method == "GET" or arrival.method == methods.SUBSCRIPTIONS_LISTEN:
            if self._open.get(arrival.holder, 0) >= self.limit:
                raise Overloaded("Too many open streams; close one first.", detail=f"{self.limit} streams are open")
            return _Place(self._open, arrival.holder)
        if self._busy.get(arrival.holder, 0) >= self.exchange_limit:
            why = f"{self.exchange_limit} exchanges of one agent are under way"
            raise Overloaded("Too many requests are under way; wait until one of them ends.", detail=why)
        return _Place(self._busy, arrival.holder)


class _Place:
    """One place, held while inside. Entered for every exchange, so it is as little as it can be."""

    __slots__ = ("_holder", "_taken")

    def __init__(self, taken: dict[str, int], holder: str) -> None:
        self._taken = taken
        self._holder = holder

    def __enter__(self) -> None:
        self._taken[self._holder] = self._taken.get(self._holder, 0) + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self._taken[self._holder] - 1
        if left:
            self._taken[self._holder] = left
        else:
            del self._taken[self._holder]
