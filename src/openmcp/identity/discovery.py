"""Where an issuer's keys are: in a file, at a configured URL, or where its discovery document says."""

from collections.abc import Callable, Coroutine
from urllib.parse import urlsplit

from openmcp.config.identities import TokenSettings
from openmcp.identity.fetch import Fetch, FetchFailed, HttpFetch, is_fetchable
from openmcp.identity.keys import IssuerKeys, Keys, StaticKeys
from openmcp.identity.lasting import Lasting

_OIDC = "/.well-known/openid-configuration"
_OAUTH = "/.well-known/oauth-authorization-server"


def keys_of(settings: TokenSettings, lasting: Lasting) -> Keys:
    """Return the keys of the issuer that a source is configured with; fetched ones outlive a reload."""
    if settings.keys is not None:
        return StaticKeys(settings.keys)

    def make() -> IssuerKeys:
        fetch = HttpFetch(
            ca_file=settings.ca_file,
            token_file=settings.token_file,
            token_origin=settings.jwks_uri or settings.issuer,
        )
        return IssuerKeys(
            _fixed(settings.jwks_uri) if settings.jwks_uri else _discovered(settings.issuer),
            fetch,
            clock=lasting.clock,
            beside=lasting.beside,
            stale_s=settings.stale_s,
        )

    place = (settings.issuer, settings.jwks_uri, settings.ca_file, settings.token_file, settings.stale_s)
    return lasting.kept(IssuerKeys, place, make)


def _fixed(url: str) -> Callable[[Fetch], Coroutine[object, object, str]]:
    async def locate(_: Fetch) -> str:
        return url

    return locate


def _discovered(issuer: str) -> Callable[[Fetch], Coroutine[object, object, str]]:
    """OpenID Connect Discovery 1.0 §4, else RFC 8414 §3, whose well-known part goes before the issuer's path."""
    base = issuer.removesuffix("/")
    parts = urlsplit(base)
    places = (f"{base}{_OIDC}", f"{parts.scheme}://{parts.netloc}{_OAUTH}{parts.path}")

    async def locate(fetch: Fetch) -> str:
        faults: list[str] = []
        for place in places:
            try:
                document = await fetch(place)
            except FetchFailed as error:
                faults.append(str(error))
                continue
            # A document that speaks for another issuer could bring anybody's keys (OIDC Discovery §4.3).
            if document.get("issuer") != issuer:
                raise FetchFailed(f"{place} is of another issuer: {document.get('issuer')!r:.200}")
            url = document.get("jwks_uri")
            if not isinstance(url, str) or not is_fetchable(url):
                raise FetchFailed(f"{place} names no jwks_uri that is https://")
            return url
        raise FetchFailed("; ".join(faults))

    return locate
