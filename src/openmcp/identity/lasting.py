"""What identity sources share, and what outlives a snapshot: the clock, streams, fetched keys.

Made by the runtime and closed with it. Sources are made anew with each snapshot and find
here what took time to get.
"""

import time
from collections.abc import Callable

from openmcp.identity.anchors import TrustAnchors
from openmcp.identity.failures import Failures


class Lasting:
    """Lives as long as the runtime."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        """Unix seconds."""

        self.anchors = TrustAnchors()
        """What the listeners let client certificates be issued under."""

        self.failures = Failures(clock)

    async def close(self) -> None:
        """End everything that runs beside the exchanges."""
