"""What all connections of a worker share: limits, clock, and who is there.

Made by the worker, handed to every connection. Knows no protocol and no socket.
"""

import asyncio
import logging
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol, TypeAlias

from openmcp.errors import OpenMCPError, Overloaded
from openmcp.model.http import Peer
from openmcp.server.exchange import Exchange, Handler
from openmcp.server.http1 import Budget, Source
from openmcp.server.limits import ListenerLimits
from openmcp.server.timers import Wheel

_log = logging.getLogger(__name__)

OnRefusal: TypeAlias = Callable[[Peer, str, OpenMCPError, int], None]
"""Is told of each refusal that the edge itself writes: to whom, at which listener, why, with which HTTP status."""


class Closable(Protocol):
    """A live connection, as the worker sees it."""

    def retire(self) -> None:
        """Close when nothing is under way, at once if nothing is."""

    def abort(self) -> None:
        """Break off at once."""


class Traffic:
    """The live connections and exchanges of one worker."""

    def __init__(self, limits: ListenerLimits, handler: Handler, on_refusal: OnRefusal | None = None) -> None:
        self.limits = limits
        self.handler = handler
        self._on_refusal = on_refusal
        self.budget = Budget(limits.buffered_bytes)
        self.connections: set[Closable] = set()
        self.exchanges: set[Exchange] = set()
        self.is_draining = False
        self.is_empty = asyncio.Event()
        """Set while there is neither a connection nor an exchange."""

        self.is_empty.set()
        self.now = b""
        """The time as HTTP writes it, made once a tick."""

        self.date = b""
        """The same as a line of HTTP/1.1: `Date: …`."""

        self.wheel = Wheel(limits.tick_s, self._set_date)
        self.headers_ticks = self.wheel.ticks(limits.headers_timeout_s)
        self.body_ticks = self.wheel.ticks(limits.body_timeout_s)
        self.idle_ticks = self.wheel.ticks(limits.idle_timeout_s)
        self.write_ticks = self.wheel.ticks(limits.write_timeout_s)
        self.linger_ticks = self.wheel.ticks(limits.linger_timeout_s)
        self._set_date()

    def enter(self, connection: Closable) -> None:
        """Count a connection in."""
        self.connections.add(connection)
        self.is_empty.clear()

    def leave(self, connection: Closable) -> None:
        """Count a connection out."""
        self.connections.discard(connection)
        self._note_empty()

    def admit(self, exchange: Exchange) -> OpenMCPError | None:
        """Count an exchange in, or return why not."""
        if len(self.exchanges) >= self.limits.concurrent_exchanges:
            return Overloaded(headers=(("Retry-After", "1"),), detail="concurrent_exchanges is reached")
        self.exchanges.add(exchange)
        return None

    def dismiss(self, exchange: Exchange) -> None:
        """Count an exchange out, and the bytes it held."""
        self.exchanges.discard(exchange)
        self.budget.used -= len(exchange.request.body)
        self._note_empty()

    def turned_away(self, source: Source, error: OpenMCPError, status: int) -> None:
        """Tell whoever keeps evidence that the edge itself says no; a fault there must not keep the answer back."""
        if self._on_refusal is None:
            return
        try:
            self._on_refusal(source.peer, source.listener, error, status)
        except Exception:
            _log.exception("A refusal could not be recorded")

    def _note_empty(self) -> None:
        if not self.connections and not self.exchanges:
            self.is_empty.set()

    def _set_date(self) -> None:
        self.now = formatdate(usegmt=True).encode()
        self.date = b"Date: %b\r\n" % self.now
