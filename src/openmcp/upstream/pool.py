"""The connections to one replica: idle ones ready for the next exchange, new ones when none is.

Made by `client`. There is no cap on connections in use: an agent's session may hold one
GET stream and any number of POST streams at once, and a cap would be a deadlock.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

from openmcp import errors
from openmcp.model.server import Replica
from openmcp.model.tls import CallingTls
from openmcp.upstream import tls
from openmcp.upstream.deadlines import Deadlines
from openmcp.upstream.http1 import Connection

IDLE_CAP = 256
"""Idle connections kept per replica; more are closed when their exchange ends."""

_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""A replica that vanished without a word is noticed within a minute, also beneath a silent stream."""


class Pool:
    """All connections to one replica, and how many exchanges run there."""

    def __init__(
        self,
        replica: Replica,
        calling: CallingTls | None,
        *,
        context: ssl.SSLContext | None,
        deadlines: Deadlines,
        loop: asyncio.AbstractEventLoop,
        emptied: Callable[["Pool"], None],
    ) -> None:
        """`context`: made of `calling`; both are `None` for plaintext."""
        self.replica = replica
        self.calling = calling
        self._context = context
        self.in_flight = 0
        self._deadlines = deadlines
        self.loop = loop
        self._emptied = emptied
        self._is_closed = False
        self._gone: asyncio.Future[None] | None = None
        self._all: set[Connection] = set()
        self._idle: dict[Connection, None] = {}

    def take(self) -> Connection | None:
        """An idle connection that is alive as far as one can know, the newest first."""
        now, idle = self.loop.time(), self._idle
        while idle:
            connection, _ = idle.popitem()
            if connection.is_usable and connection.deadline > now:
                return connection
            connection.close()
        return None

    async def dial(self, timeout_s: float) -> Connection:
        """A new connection. Raises: UpstreamUnreachable."""
        replica = self.replica
        name = (self.calling.server_name or replica.called) if self.calling is not None else None
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await self.loop.create_connection(
                    self._connection, replica.host, replica.port, ssl=self._context, server_hostname=name
                )
        except TimeoutError:
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: no connection within {timeout_s:g} s") from None
        except OSError as error:
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: {tls.fault(error)}") from error
        except UnicodeError as error:
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: {error}") from error
        if self._is_closed:
            connection.close()
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: the client was closed")
        return connection

    async def close(self) -> None:
        """Close every connection and wait until they are gone; exchanges under way fail."""
        self._is_closed = True
        for connection in self._all.copy():
            connection.close()
        if self._all:
            self._gone = self._gone or self.loop.create_future()
            await asyncio.shield(self._gone)

    # ------------------------------------------------------------ for connections

    def opened(self, connection: Connection, transport: asyncio.BaseTransport) -> None:
        """Take note of a connection that was made."""
        self._all.add(connection)
        sock = transport.get_extra_info("socket")
        if sock is None:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            # Not every system lets a program choose these.
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def released(self, connection: Connection) -> None:
        """Keep a connection for the next exchange."""
        if len(self._idle) >= IDLE_CAP or self._is_closed:
            connection.close()
        else:
            self._idle[connection] = None
            connection.rest()

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._all.discard(connection)
        self._idle.pop(connection, None)
        if self._gone and not self._all and not self._gone.done():
            self._gone.set_result(None)
        self.tidy()

    def tidy(self) -> None:
        """Tell the client if nothing is left here: replicas come and go."""
        if not self._all and not self.in_flight:
            self._emptied(self)

    def _connection(self) -> Connection:
        return Connection(self.replica.url, self, deadlines=self._deadlines, loop=self.loop)
