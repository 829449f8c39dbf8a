"""What the gateway sends beside an exchange and does not wait for: a "no" to a server's question.

The exchange goes on meanwhile; whatever becomes of an errand changes nothing there.
Bounded in time and number: a server that does not take our "no" loses nothing but that.
"""

import asyncio
import logging

from openmcp.errors import OpenMCPError
from openmcp.model.decision import Permitted
from openmcp.model.server import Replica
from openmcp.upstream.client import Client

_log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
MAX_RUNNING = 256
"""Errands under way at one time; what comes beyond is not sent: its server waits until its own time-out."""


class Errands:
    """Sends without waiting."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._running: set[asyncio.Task[None]] = set()

    def send(self, permitted: Permitted, replica: Replica) -> None:
        """Send it some time soon; failures are only logged."""
        if len(self._running) >= MAX_RUNNING:
            _log.warning("errand-dropped", extra={"replica": replica.url, "running": len(self._running)})
            return
        task = asyncio.create_task(self._send(permitted, replica), name="errand")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Give up what is still under way."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _send(self, permitted: Permitted, replica: Replica) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._client.send(permitted, (replica,)):
                pass
        except (OpenMCPError, TimeoutError) as error:
            _log.info("errand-failed", extra={"replica": replica.url, "why": str(error)})
