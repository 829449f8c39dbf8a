"""Finds the server that a path belongs to: the longest prefix at a segment boundary wins.

Called first for every exchange, before identity. Pure look-ups in tables made once
per snapshot; never redirects, and takes paths with or without a trailing slash.
"""

from collections.abc import Iterable

from openmcp.errors import UnknownPath
from openmcp.model.http import Request
from openmcp.model.server import Server


class Router:
    """Maps (host, path) to servers."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self._by_path: dict[str, tuple[Server, ...]] = {}
        self._by_name: dict[str, Server] = {}
        for server in servers:
            self._by_name[server.name] = server
            self._by_path[server.path] = (*self._by_path.get(server.path, ()), server)
        self._depth = max((path.count("/") for path in self._by_path), default=0)
        self._only = {path: found[0] for path, found in self._by_path.items() if len(found) == 1 and not found[0].hosts}
        """Servers that are the only one at their path, whatever the host."""

    def match(self, request: Request) -> Server:
        """Return the server at the request's path.

        Raises: UnknownPath.
        """
        only = self._only.get(request.path)
        if only is not None:
            return only
        path = request.path.rstrip("/")
        if path.count("/") > self._depth:
            # Nobody lives deeper, and trying every prefix of a path of thousands of segments takes milliseconds.
            path = "/".join(path.split("/", self._depth + 1)[: self._depth + 1])
        while True:
            server = self._at(path, request)
            if server is not None:
                return server
            if not path:
                raise UnknownPath
            path = path.rpartition("/")[0]

    def at(self, path: str, request: Request) -> Server | None:
        """Return the server at just this path, without trailing slash, for the host of the request."""
        return self._at(path, request)

    def named(self, name: str) -> Server | None:
        """Return the server of this name; `None` if none is configured."""
        return self._by_name.get(name)

    def _at(self, path: str, request: Request) -> Server | None:
        candidates = self._by_path.get(path)
        if candidates is None:
            return None
        if len(candidates) == 1 and not candidates[0].hosts:
            return candidates[0]
        host = _host_name(request.headers.get("host", ""))
        named = next((server for server in candidates if host in server.hosts), None)
        return named or next((server for server in candidates if not server.hosts), None)


def _host_name(authority: str) -> str:
    """Return the host without port, in lower case; brackets of an IPv6 literal stay."""
    host, _, port = authority.rpartition(":")
    return (host if host and port.isdigit() else authority).lower()
