"""One worker: listeners, the exchanges that come in by them, and a calm end.

Started by the `serve` command in the process that serves. It hands every request to
one handler and knows nothing of what that does.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from openmcp.server.exchange import DRAINING, Exchange, Handler
from openmcp.server.limits import ListenerLimits
from openmcp.server.listener import Listener, ListenerConfig
from openmcp.server.traffic import OnRefusal, Traffic

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_GRACE_S = 2.0
"""For cancelled exchanges to end their streams."""


class Worker:
    """Serves listeners until it is told to stop."""

    def __init__(
        self,
        listeners: Sequence[ListenerConfig],
        limits: ListenerLimits,
        handler: Handler,
        *,
        drain_timeout_s: float,
        on_hangup: Callable[[], None] | None = None,
        on_refusal: OnRefusal | None = None,
        client_cas: Callable[[], bytes] = bytes,
        on_handshake_failure: Callable[[str, str], None] = lambda listener, reason: None,
    ) -> None:
        """`client_cas`: PEM of the CAs that client certificates may come from; `trust_again` when it changes."""
        self._traffic = Traffic(limits, handler, on_refusal)
        self._listeners = [
            Listener(config, self._traffic, client_cas=client_cas, on_handshake_failure=on_handshake_failure)
            for config in listeners
        ]
        self._drain_timeout_s = drain_timeout_s
        self._on_hangup = on_hangup
        self._is_serving = False

    @property
    def addresses(self) -> Mapping[str, tuple[str, int]]:
        """Address and port that each listener is bound to, by name."""
        return {listener.name: listener.address for listener in self._listeners}

    @property
    def is_ready(self) -> bool:
        """Whether new connections are accepted; may be read from any thread."""
        return self._is_serving and not self._traffic.is_draining

    @property
    def exchanges(self) -> int:
        """How many exchanges are under way; may be read from any thread."""
        return len(self._traffic.exchanges)

    @property
    def connections(self) -> int:
        """How many connections are open; may be read from any thread."""
        return len(self._traffic.connections)

    async def start(self) -> None:
        """Accept from now on.

        Raises: OSError: an address cannot be bound, or a certificate not be used; then none is.
        """
        self._traffic.wheel.start()
        try:
            for listener in self._listeners:
                await listener.open()
        except OSError:
            await self.close()
            raise
        self._is_serving = True

    async def turn(self, listeners: Sequence[ListenerConfig]) -> bool:
        """Put new certificates and keys in force, for connections to come; returns whether all could be used."""
        tls = {config.name: config.tls for config in listeners}
        turned = [await known.turn(tls.get(known.name)) for known in self._listeners if known.name in tls]
        return all(turned)

    async def trust_again(self) -> bool:
        """Ask once more which client CAs count, for connections to come; returns whether they could be used."""
        return all([await listener.trust_again() for listener in self._listeners])

    async def drain(self) -> None:
        """Take nothing new, let what is under way end, and end what has not ended in time."""
        traffic = self._traffic
        traffic.is_draining = True
        self._stop_accepting()
        for connection in tuple(traffic.connections):
            connection.retire()
        # Listening streams wait for nothing: their clients listen elsewhere at once.
        self._cancel_exchanges(only=lambda exchange: exchange.ends_when_draining)
        if not await self._is_empty_within(self._drain_timeout_s):
            _log.warning("%d exchanges did not end within drainTimeout", len(traffic.exchanges))
            self._cancel_exchanges()
            await self._is_empty_within(_GRACE_S)

    async def close(self) -> None:
        """Break off everything that is still there."""
        traffic = self._traffic
        traffic.is_draining = True
        self._stop_accepting()
        self._cancel_exchanges()
        for connection in tuple(traffic.connections):
            connection.abort()
        await self._is_empty_within(_GRACE_S)
        traffic.wheel.stop()

    async def run_until_stopped(self) -> None:
        """Return when SIGTERM or SIGINT has come and all is drained and closed; a second one cuts the draining short.

        Call it after `start`, in the main thread.
        """
        loop = asyncio.get_running_loop()
        stop, hurry = asyncio.Event(), asyncio.Event()

        def note_stop() -> None:
            (hurry if stop.is_set() else stop).set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, note_stop)
        if self._on_hangup is not None:
            loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        try:
            await stop.wait()
            await self._drain_unless(hurry)
        finally:
            await self.close()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    async def _drain_unless(self, hurry: asyncio.Event) -> None:
        draining, hurrying = asyncio.create_task(self.drain()), asyncio.create_task(hurry.wait())
        try:
            await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
        finally:
            draining.cancel()
            hurrying.cancel()
            await asyncio.wait((draining, hurrying))

    def _stop_accepting(self) -> None:
        for listener in self._listeners:
            listener.close()

    def _cancel_exchanges(self, only: Callable[[Exchange], bool] = lambda _: True) -> None:
        for exchange in tuple(self._traffic.exchanges):
            if only(exchange):
                exchange.cancel(DRAINING)

    async def _is_empty_within(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._traffic.is_empty.wait(), timeout_s)
        except TimeoutError:
            return False
        return True


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run `main` on the fastest event loop that this machine has, and return what it returns."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a uvloop, or the standard loop where there is none."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
