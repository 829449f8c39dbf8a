"""One listener: sockets that accept, and what a connection learns from them.

Opened and closed by the worker. Knows who may be believed, and for which hosts it
answers; it must not know what a request means.
"""

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from openmcp.model.http import Peer
from openmcp.model.tls import ClientAuth, ServingTls
from openmcp.server import tls
from openmcp.server.connection import Connection
from openmcp.server.doorway import Doorway
from openmcp.server.hosts import HostGuard
from openmcp.server.http1 import Source
from openmcp.server.traffic import Traffic

_log = logging.getLogger(__name__)

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

    speaks_http2: bool = True
    tls: ServingTls | None = None
    """`None` = plaintext."""


class Listener:
    """Accepts connections and tells them where they came in."""

    def __init__(
        self,
        config: ListenerConfig,
        traffic: Traffic,
        *,
        client_cas: Callable[[], bytes] = bytes,
        on_handshake_failure: Callable[[str, str], None] = lambda listener, reason: None,
    ) -> None:
        """`client_cas`: PEM of the CAs that client certificates may come from; asked for each new context.

        Raises: ValueError: a trusted peer is not a network.
        """
        self._config = config
        self._traffic = traffic
        self._tls = config.tls
        self._client_cas = client_cas
        self._on_handshake_failure = on_handshake_failure
        self._guard = HostGuard(
            config.public_url, config.allowed_hosts, config.allowed_origins, is_tls=config.tls is not None
        )
        self._public_url = config.public_url.rstrip("/")
        self._trusted: tuple[_Network, ...] = tuple(map(ipaddress.ip_network, config.trusted_peers))
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._turning = asyncio.Lock()
        self._made_of: tuple[ServingTls | None, bytes] = (None, b"")
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

        Raises: OSError: an address cannot be bound; ssl.SSLError: the certificate cannot be used.
        """
        loop = asyncio.get_running_loop()
        port = self._config.port
        found = await loop.getaddrinfo(self._config.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, bound in dict.fromkeys(found):
            listening = _bind(family, str(bound[0]), port)
            if not self._sockets:
                self._address = listening.getsockname()[:2]
                # A name with several addresses has one port at all of them.
                port = self._address[1]
            self._sockets.append(listening)
        self._public_url = self._public_url or self._bound_url()
        self._made_of = (self._tls, self._cas(self._tls))
        self._servers = await self._serve(self._context(*self._made_of))

    def _bound_url(self) -> str:
        """Return what the listener is called where nobody has said it: its address, unless that is any address."""
        host, port = self._address
        if ipaddress.ip_address(host).is_unspecified:
            return ""
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    async def turn(self, serving: ServingTls | None) -> bool:
        """Serve new connections with another certificate, key, or set of client CAs; those that are there stay.

        Returns whether that was possible; if not, all is as before. A listener does not turn from TLS to
        plaintext or back: that would be another address to its clients.
        """
        if serving is None or self._tls is None:
            return serving is self._tls
        async with self._turning:
            made_of = (serving, self._cas(serving))
            if made_of == self._made_of:
                return True
            try:
                # A second server on the same socket, before the first one stops: no connection finds nobody.
                servers = await self._serve(self._context(*made_of))
            except (OSError, ValueError):
                _log.exception("tls-not-turned", extra={"listener": self.name})
                return False
            former, self._servers = self._servers, servers
            self._tls, self._made_of = serving, made_of
            for server in former:
                server.close()
        return True

    async def trust_again(self) -> bool:
        """Ask once more which client CAs count; see `turn`."""
        return await self.turn(self._tls)

    def close(self) -> None:
        """Accept no more; connections that are there stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()

    async def _serve(self, context: ssl.SSLContext | None) -> list[asyncio.Server]:
        loop, limits = asyncio.get_running_loop(), self._traffic.limits
        accept = Doorway if self._config.speaks_http2 else Connection
        return [
            await loop.create_server(
                lambda: accept(self._traffic, self.identify, loop),
                sock=listening.dup(),
                backlog=_BACKLOG,
                ssl=context,
                # Without TLS, neither may be given.
                ssl_handshake_timeout=limits.headers_timeout_s if context is not None else None,
                ssl_shutdown_timeout=limits.linger_timeout_s if context is not None else None,
            )
            for listening in self._sockets
        ]

    def _cas(self, serving: ServingTls | None) -> bytes:
        is_asking = serving is not None and serving.client_auth is not ClientAuth.NONE
        return self._client_cas() if is_asking else b""

    def _context(self, serving: ServingTls | None, client_cas: bytes) -> ssl.SSLContext | None:
        if serving is None:
            return None
        return tls.serving_context(
            serving,
            protocols=[tls.H2, tls.H1] if self._config.speaks_http2 else [tls.H1],
            client_cas=client_cas,
            on_failure=lambda reason: self._on_handshake_failure(self.name, reason),
        )

    def identify(self, transport: asyncio.Transport) -> Source:
        """Return what a connection adds to its requests."""
        name: tuple[str, int] | None = transport.get_extra_info("peername")
        # Without the zone of a link-local address.
        address, port = (name[0].partition("%")[0], name[1]) if name else ("", 0)
        connection: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        certificate, chain = tls.presented(connection) if connection is not None else (None, ())
        peer = Peer(address, port, self._is_trusted(address), certificate, chain)
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
