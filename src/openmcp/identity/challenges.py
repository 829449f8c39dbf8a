"""What a 401 says of the ways in (`WWW-Authenticate`), and where a route's OAuth metadata is.

A route that takes OAuth tokens names its protected-resource metadata (RFC 9728 §5.1), so
that clients find the authorization server by themselves; any other names none, so that
they do not set out for one. The same challenge for every cause of failure.
"""

from collections.abc import Mapping

from openmcp.identity.source import Advertised, IdentitySource, TokenIssuer
from openmcp.model.server import Server

METADATA_PATH = "/.well-known/oauth-protected-resource"

Headers = tuple[tuple[str, str], ...]
_PLAIN: Headers = (("WWW-Authenticate", 'Bearer realm="openmcp"'),)
_BASIC: Headers = (("WWW-Authenticate", 'Basic realm="openmcp", charset="UTF-8"'),)


def resource_of(server: Server, public_url: str) -> str:
    """Return what clients and tokens call the route: the canonical URI, without trailing slash (RFC 8707)."""
    return f"{public_url}{server.path}"


class Challenges:
    """The challenges and the metadata of all routes of a snapshot."""

    def __init__(self, sources: Mapping[str, IdentitySource]) -> None:
        self._sources = {name: source for name, source in sources.items() if isinstance(source, Advertised)}
        self._made: dict[tuple[tuple[str, ...], str, str], Headers] = {}

    def of(self, server: Server, public_url: str) -> Headers:
        """Return the header fields of a 401."""
        key = (server.authentication.sources, server.path, public_url)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(server, public_url)
        return made

    def metadata(self, server: Server, public_url: str) -> Mapping[str, object] | None:
        """Return the protected-resource metadata of a route (RFC 9728 §2); `None` where it takes no OAuth tokens."""
        issuers = self._issuers(server)
        if not issuers or not public_url:
            return None
        scopes = _scopes(issuers)
        return {
            "resource": resource_of(server, public_url),
            "authorization_servers": list(dict.fromkeys(issuer.url for issuer in issuers)),
            "bearer_methods_supported": ["header"],
            **({"scopes_supported": list(scopes)} if scopes else {}),
        }

    def _issuers(self, server: Server) -> list[TokenIssuer]:
        found = [self._sources[name].issuer for name in server.authentication.sources if name in self._sources]
        return [issuer for issuer in found if issuer is not None]

    def _make(self, server: Server, public_url: str) -> Headers:
        schemes = {self._sources[name].scheme for name in server.authentication.sources if name in self._sources}
        bearer = _PLAIN
        issuers = self._issuers(server)
        if issuers and public_url:
            value = f'Bearer realm="openmcp", resource_metadata="{public_url}{METADATA_PATH}{server.path}"'
            scopes = _scopes(issuers)
            bearer = (("WWW-Authenticate", f'{value}, scope="{" ".join(scopes)}"' if scopes else value),)
        if "basic" not in schemes:
            return bearer
        return (*bearer, *_BASIC) if "bearer" in schemes else _BASIC


def _scopes(issuers: list[TokenIssuer]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(scope for issuer in issuers for scope in issuer.scopes))
