"""Which `Host` and which browser `Origin` a listener answers for.

Guards against DNS rebinding: a page of a foreign site can make a browser connect to
us, but it cannot make the browser lie in these two headers. Used by the codecs on
every request head; knows nothing of routes.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from openmcp.errors import HostRefused, Malformed, OriginRefused

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Who asks for many hosts gets no memory of ours for it.
_REMEMBERED = 64


class HostGuard:
    """Refuses requests that were meant for somebody else, or come from a foreign page."""

    def __init__(
        self,
        public_url: str,
        allowed_hosts: Sequence[str] = (),
        allowed_origins: Sequence[str] = (),
        *,
        is_tls: bool = False,
    ) -> None:
        """`allowed_hosts` entries hold `host` (any port) or `host:port`; none = the public URL's host and loopback."""
        public = urlsplit(public_url)
        if not allowed_hosts:
            allowed_hosts = (*LOOPBACK_HOSTS, *((_bracketed(public.hostname),) if public.hostname else ()))
        self._allowed = frozenset(_split_authority(entry) for entry in allowed_hosts)
        self._origins = frozenset(_normal_origin(origin) for origin in allowed_origins)
        own_scheme = "https" if is_tls else "http"
        self._schemes = {own_scheme, public.scheme} if public.scheme else {own_scheme}
        self._public_origin = _normal_origin(f"{public.scheme}://{public.netloc}") if public.netloc else ""
        self._known_hosts: set[str] = set()

    def check(self, headers: Mapping[str, str]) -> None:
        """Return if the request is meant for us.

        Raises: HostRefused, OriginRefused, Malformed.
        """
        host = headers.get("host")
        if host is not None and host not in self._known_hosts:
            self._check_host(host)
        origin = headers.get("origin")
        if origin is not None:
            self._check_origin(origin, host or "")

    def _check_host(self, host: str) -> None:
        name, port = _split_authority(host)
        if (name, None) not in self._allowed and (name, port) not in self._allowed:
            raise HostRefused(detail=f"Host {host!r} is not allowed")
        if len(self._known_hosts) < _REMEMBERED:
            self._known_hosts.add(host)

    def _check_origin(self, origin: str, host: str) -> None:
        normal = _normal_origin(origin)
        if normal in self._origins or normal == self._public_origin:
            return
        # A page that we ourselves served under the host that was asked for; that host was checked before.
        if host and any(normal == _normal_origin(f"{scheme}://{host}") for scheme in self._schemes):
            return
        raise OriginRefused(detail=f"Origin {origin!r} is not allowed")


def _split_authority(authority: str) -> tuple[str, int | None]:
    """Return name and port of a `Host` value, the name in one spelling."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        # Without the part that could be somebody's password.
        raise Malformed("The Host header is not valid.", detail=f"Host {authority.rpartition('@')[2]!r}")
    name, port = match.groups()
    if name.startswith("["):
        name = _bracketed(name[1:-1])
    return name.lower(), int(port) if port else None


def _bracketed(host: str) -> str:
    """Return an IPv6 address shortened and in brackets, any other host as it is."""
    if ":" not in host:
        return host
    try:
        return f"[{ipaddress.IPv6Address(host).compressed}]"
    except ValueError:
        raise Malformed("The Host header is not valid.", detail=f"Host [{host!r}]") from None


def _normal_origin(origin: str) -> str:
    """Return `scheme://host:port` in lower case with the default port left out (RFC 6454 §6.2)."""
    scheme, separator, authority = origin.lower().partition("://")
    default_port = _DEFAULT_PORTS.get(scheme)
    if separator and default_port is not None:
        authority = authority.removesuffix(f":{default_port}")
    return f"{scheme}{separator}{authority}"
