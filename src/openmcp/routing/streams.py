"""How many long streams each agent holds open: one who takes all places must not lock out the rest."""

from collections import Counter
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from openmcp.errors import Overloaded
from openmcp.mcp import methods
from openmcp.model.decision import Permitted

_NO_PLACE = nullcontext()


class Streams:
    """Open GET and `subscriptions/listen` streams of this process; lives longer than a snapshot."""

    def __init__(self) -> None:
        self.limit = 100
        """Streams per principal (per peer address for anonymous agents): `limits.streamsPerPrincipal`."""

        self._open: Counter[str] = Counter()

    def hold(self, permitted: Permitted) -> AbstractContextManager[None]:
        """Hold a place while inside; exchanges that are not long by nature need none.

        Raises: Overloaded.
        """
        arrival = permitted.arrival
        is_long = arrival.http_method == "GET" or arrival.method == methods.SUBSCRIPTIONS_LISTEN
        return self._place(arrival.holder) if is_long else _NO_PLACE

    @contextmanager
    def _place(self, holder: str) -> Generator[None, None, None]:
        if self._open[holder] >= self.limit:
            raise Overloaded("Too many open streams; close one first.", detail=f"{self.limit} streams are open")
        self._open[holder] += 1
        try:
            yield
        finally:
            self._open[holder] -= 1
            if not self._open[holder]:
                del self._open[holder]
