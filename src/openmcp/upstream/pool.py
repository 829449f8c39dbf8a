"""The connections to one replica: such as can carry the next exchange, new ones when none can.

Made by `client`. There is no cap on connections in use: an agent's session may hold one
GET stream and any number of POST streams at once, and a cap would be a deadlock. An
HTTP/1.1 connection carries one exchange and rests here in between; an HTTP/2 connection
carries many at a time.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeAlias

from openmcp import errors
from openmcp.model.server import Http2, Replica
from openmcp.model.tls import CallingTls
from openmcp.upstream import http1, http2, tls
from openmcp.upstream.deadlines import Deadlines

Connection: TypeAlias = http1.Connection | http2.Connection

Manner: TypeAlias = tuple[CallingTls | None, Http2, str]
"""How a replica is spoken to: with which TLS (`None` = in the clear), in which version of HTTP, under which name."""

IDLE_CAP = 256
"""Idle connections kept per replica; more are closed when their exchange ends."""

_DIALS_CAP = 3
"""How often somebody who would share a new connection finds it full already and waits for another."""

_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""A replica that vanished without a word is noticed within a minute, also beneath a silent stream."""


class Pool:
    """All connections to one replica, and how many exchanges run there."""

    def __init__(
        self,
        replica: Replica,
        manner: Manner,
        *,
        context: ssl.SSLContext | None,
        deadlines: Deadlines,
        loop: asyncio.AbstractEventLoop,
        emptied: Callable[["Pool"], None],
    ) -> None:
        """`context`: made for the manner; `None` for plaintext."""
        self.replica = replica
        self.manner = manner
        self._context = context
        self.in_flight = 0
        self._deadlines = deadlines
        self.loop = loop
        self._emptied = emptied
        self._is_closed = False
        self._gone: asyncio.Future[None] | None = None
        self._all: set[Connection] = set()
        self._idle: dict[http1.Connection, None] = {}
        self._shared: list[http2.Connection] = []
        self._dialing: asyncio.Task[Connection] | None = None
        # Known for sure only from the last handshake, where the two sides agree on it.
        self._is_sharing = manner[1] is Http2.PRIOR_KNOWLEDGE

    def take(self) -> Connection | None:
        """A connection that is alive as far as one can know; of those that rest, the newest."""
        for shared in self._shared:
            if shared.is_usable:
                return shared
        now, idle = self.loop.time(), self._idle
        while idle:
            connection, _ = idle.popitem()
            if connection.is_usable and connection.deadline > now:
                return connection
            connection.close()
        return None

    async def dial(self, timeout_s: float) -> Connection:
        """A new connection, perhaps one that others asked for at the same time. Raises: UpstreamUnreachable."""
        for _ in range(_DIALS_CAP):
            if not self._is_sharing:
                return await self._dial(timeout_s)
            connection = await self._share(timeout_s)
            if connection.is_usable:
                return connection
            if isinstance(connection, http1.Connection):
                # It speaks HTTP/1.1 since, and somebody else has got it.
                self._is_sharing = False
        raise errors.UpstreamUnreachable(detail=f"{self.replica.url}: new connections take no request")

    async def _share(self, timeout_s: float) -> Connection:
        """The connection that somebody dials already; it is there for all, whoever of them gives up meanwhile."""
        if self._dialing is None:
            self._dialing = asyncio.create_task(self._dial(timeout_s), name="dial")
            self._dialing.add_done_callback(self._dialed)
        dialing = self._dialing
        try:
            return await asyncio.shield(dialing)
        except asyncio.CancelledError:
            if dialing.cancelled():
                raise errors.UpstreamUnreachable(detail=f"{self.replica.url}: the client was closed") from None
            raise

    def _dialed(self, task: "asyncio.Task[Connection]") -> None:
        self._dialing = None
        if not task.cancelled():
            # Who waits for it hears of a failure; if nobody does any more, it does not matter.
            task.exception()

    async def _dial(self, timeout_s: float) -> Connection:
        replica, (calling, _, called) = self.replica, self.manner
        name = (calling.server_name or called) if calling is not None else None
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await self.loop.create_connection(
                    self._protocol, replica.host, replica.port, ssl=self._context, server_hostname=name
                )
                if isinstance(connection, _Agreeing):
                    connection = connection.chosen
                    self._is_sharing = isinstance(connection, http2.Connection)
                if isinstance(connection, http2.Connection) and not await connection.greeted():
                    raise ConnectionResetError("the connection ended before HTTP/2 began")
        except TimeoutError:
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: no connection within {timeout_s:g} s") from None
        except OSError as error:
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: {tls.fault(error)}") from error
        except UnicodeError as error:
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: {error}") from error
        if self._is_closed:
            connection.close()
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: the client was closed")
        if self.manner[1] is Http2.PRIOR_KNOWLEDGE and isinstance(connection, http1.Connection):
            connection.close()
            raise errors.UpstreamUnreachable(detail=f"{replica.url}: does not speak HTTP/2")
        return connection

    async def close(self) -> None:
        """Close every connection and wait until they are gone; exchanges under way fail."""
        self._is_closed = True
        if self._dialing is not None:
            self._dialing.cancel()
        for connection in self._all.copy():
            connection.close()
        if self._all:
            self._gone = self._gone or self.loop.create_future()
            await asyncio.shield(self._gone)

    # ------------------------------------------------------------ for connections

    def opened(self, connection: Connection, transport: asyncio.BaseTransport) -> None:
        """Take note of a connection that was made."""
        self._all.add(connection)
        if isinstance(connection, http2.Connection):
            self._shared.append(connection)
        sock = transport.get_extra_info("socket")
        if sock is None:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            # Not every system lets a program choose these.
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def released(self, connection: http1.Connection) -> None:
        """Keep a connection for the next exchange."""
        if len(self._idle) >= IDLE_CAP or self._is_closed:
            connection.close()
        else:
            self._idle[connection] = None
            connection.rest()

    def lost(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._all.discard(connection)
        if isinstance(connection, http1.Connection):
            self._idle.pop(connection, None)
        else:
            self._shared.remove(connection)
        if self._gone and not self._all and not self._gone.done():
            self._gone.set_result(None)
        self.tidy()

    def tidy(self) -> None:
        """Tell the client if nothing is left here: replicas come and go."""
        if not self._all and not self.in_flight:
            self._emptied(self)

    def _protocol(self) -> "Connection | _Agreeing":
        if self._context is not None:
            return _Agreeing(self)
        return self.new_http2() if self.manner[1] is Http2.PRIOR_KNOWLEDGE else self.new_http1()

    def new_http1(self) -> http1.Connection:
        """A connection that is still to be made."""
        return http1.Connection(self.replica.url, self, deadlines=self._deadlines, loop=self.loop)

    def new_http2(self) -> http2.Connection:
        """A connection that is still to be made."""
        return http2.Connection(self.replica.url, self, deadlines=self._deadlines, loop=self.loop)


class _Agreeing(asyncio.Protocol):
    """A connection whose version of HTTP is agreed on in the handshake."""

    chosen: Connection

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        is_http2 = tls.speaks_http2(transport.get_extra_info("ssl_object"))
        self.chosen = self._pool.new_http2() if is_http2 else self._pool.new_http1()
        transport.set_protocol(self.chosen)
        self.chosen.connection_made(transport)
