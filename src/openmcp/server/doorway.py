"""Which protocol a new connection speaks: HTTP/1.1 or HTTP/2.

Made by a listener for each accepted socket, and gone with the first bytes: whoever serves
the connection gets them, and all that follow, without a detour.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from openmcp.server import tls
from openmcp.server.connection import Connection
from openmcp.server.http1 import Source
from openmcp.server.http2 import PREFACE
from openmcp.server.multiplexed import Multiplexed
from openmcp.server.traffic import Traffic


class Doorway(asyncio.Protocol):
    """Shows a client in."""

    __slots__ = ("_http1", "_identify", "_loop", "_seen", "_traffic", "_transport")

    _transport: asyncio.Transport

    def __init__(
        self, traffic: Traffic, identify: Callable[[asyncio.Transport], Source], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._traffic = traffic
        self._identify = identify
        self._loop = loop
        self._seen = b""
        # Stands in until it is clear what is spoken: its limits and deadlines hold for who says nothing, too.
        self._http1 = Connection(traffic, identify, loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """With TLS the two sides have agreed already; without it the first bytes tell."""
        self._transport = transport = cast("asyncio.Transport", transport)
        agreed = transport.get_extra_info("ssl_object")
        if agreed is None:
            self._http1.connection_made(transport)
        elif tls.alpn(agreed) == tls.H2:
            self._multiplex()
        else:
            transport.set_protocol(self._http1)
            self._http1.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Hand over what has come to whom it concerns, as soon as that is clear."""
        self._seen = seen = self._seen + data
        if len(seen) < len(PREFACE) and PREFACE.startswith(seen):
            return
        if seen.startswith(PREFACE) and self._http1.withdraw():
            self._multiplex().data_received(seen)
        else:
            self._transport.set_protocol(self._http1)
            self._http1.data_received(seen)

    def eof_received(self) -> bool:
        """Nothing was asked."""
        return self._http1.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing was asked, or not for long enough."""
        self._http1.connection_lost(exc)

    def _multiplex(self) -> Multiplexed:
        protocol = Multiplexed(self._traffic, self._identify, self._loop)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        return protocol
