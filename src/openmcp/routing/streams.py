"""How many long streams each agent holds open: one who takes all places must not lock out the rest."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from openmcp.errors import Overloaded
from openmcp.mcp import methods
from openmcp.model.decision import Permitted


class Streams:
    """Open GET and `subscriptions/listen` streams of this process; lives longer than a snapshot."""

    def __init__(self) -> None:
        self.limit = 100
        """Streams per principal (per peer address for anonymous agents): `limits.streamsPerPrincipal`."""

        self._open: Counter[str] = Counter()

    @contextmanager
    def hold(self, permitted: Permitted) -> Generator[None, None, None]:
        """Hold a place while inside; exchanges that are not long by nature need none.

        Raises: Overloaded.
        """
        arrival = permitted.arrival
        if arrival.http_method != "GET" and arrival.method != methods.SUBSCRIPTIONS_LISTEN:
            yield
            return
        if self._open[arrival.holder] >= self.limit:
            raise Overloaded("Too many open streams; close one first.", detail=f"{self.limit} streams are open")
        self._open[arrival.holder] += 1
        try:
            yield
        finally:
            self._open[arrival.holder] -= 1
            if not self._open[arrival.holder]:
                del self._open[arrival.holder]
