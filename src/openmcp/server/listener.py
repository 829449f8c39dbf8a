"""One listener: sockets that accept, and what a connection learns from them.

Opened and closed by the worker. Knows who may be believed, and for which hosts it
answers; it must not know what a request means.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from openmcp.model.http import Peer
from openmcp.server.connection import Connection
from openmcp.server.hosts import HostGuard
from openmcp.server.http1 import Source
from openmcp.server.traffic import Traffic

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_BACKLOG = 1024
_KEEPALIVE_IDLE_S = 60
_KEEPALIVE_INTERVAL_S = 15
_KEEPALIVE_COUNT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """One entry of the bootstrap file's `listeners`."""

    name: str
    host: str
    """Address or name to bind; a name is bound with all its addresses."""

    port: int
    """0 = any free one."""

    public_url: str = ""
    allowed_hosts: Sequence[str] = ()
    """`host` (any port) or `host:port`; none = the public URL's host and loopback."""

    allowed_origins: Sequence[str] = ()
    trusted_peers: Sequence[str] = ()
    """Networks in CIDR form whose identity headers are believed."""


class Listener:
    """Accepts connections and tells them where they came in."""

    def __init__(self, config: ListenerConfig, traffic: Traffic) -> None:
        """Raises: ValueError: a trusted peer is not a network."""
        self._config = config
        self._traffic = traffic
        self._guard = HostGuard(config.public_url, config.allowed_hosts, config.allowed_origins)
        self._public_url = config.public_url.rstrip("/")
        self._trusted: tuple[_Network, ...] = tuple(map(ipaddress.ip_network, config.trusted_peers))
        self._servers: list[asyncio.Server] = []
        self._address = (config.host, config.port)

    @property
    def name(self) -> str:
        """The name that the operator gave."""
        return self._config.name

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that are bound, once opened."""
        return self._address

    async def open(self) -> None:
        """Accept from now on.

        Raises: OSError: an address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        port = self._config.port
        found = await loop.getaddrinfo(self._config.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, bound in dict.fromkeys(found):
            listening = _bind(family, str(bound[0]), port)
            if not self._servers:
                self._address = listening.getsockname()[:2]
                # A name with several addresses has one port at all of them.
                port = self._address[1]
            self._servers.append(
                await loop.create_server(
                    lambda: Connection(self._traffic, self.identify, loop), sock=listening, backlog=_BACKLOG
                )
            )

    def close(self) -> None:
        """Accept no more; connections that are there stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    def identify(self, transport: asyncio.Transport) -> Source:
        """Return what a connection adds to its requests."""
        name: tuple[str, int] | None = transport.get_extra_info("peername")
        # Without the zone of a link-local address.
        address, port = (name[0].partition("%")[0], name[1]) if name else ("", 0)
        peer = Peer(address, port, self._is_trusted(address))
        return Source(peer, self._config.name, self._public_url, self._guard.check)

    def _is_trusted(self, address: str) -> bool:
        if not address or not self._trusted:
            return False
        peer = ipaddress.ip_address(address)
        return any(peer in network for network in self._trusted)


def _bind(family: int, host: str, port: int) -> socket.socket:
    """Return a socket whose options are inherited by the connections that it accepts."""
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Not SO_REUSEPORT: a second gateway on the same address would take part of the traffic unseen.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _find_the_dead(listening)
        listening.bind((host, port))
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _find_the_dead(listening: socket.socket) -> None:
    """Notice within two minutes that the client of a silent stream is gone."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)
