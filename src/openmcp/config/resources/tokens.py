"""Identities by signed tokens: `jwt` (OIDC and OAuth issuers) and `kubernetes` (service accounts)."""

import ipaddress
import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, StringConstraints, model_validator

from openmcp.config.resources.base import Fields, Items, SomeItems, SourcedIdentity, Text
from openmcp.config.values import Duration

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
NonEmpty = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_ACCOUNT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def _known_algorithm(name: object) -> object:
    if isinstance(name, str) and name.lower() == "none":
        raise ValueError("`none` is no signature: whoever likes could write such a token; allow RS256 or ES256")
    if isinstance(name, str) and name.startswith("HS"):
        raise ValueError(f"`{name[:20]}` signs with a shared secret, which every verifier could sign with; allow RS256")
    return name


def _fetchable(url: str) -> str:
    """Keys decide who is believed: they come over HTTPS, or from this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_local = host == "localhost" or _is_loopback(host)
    if not host or parts.scheme not in ("http", "https") or parts.fragment or parts.username is not None:
        raise ValueError(f"`{url[:200]}` is not a URL: write it like https://login.example.com")
    if parts.scheme != "https" and not is_local:
        raise ValueError(f"`{url[:200]}` is not https://: anybody on the way could bring keys of their own")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _issuer(issuer: str) -> str:
    """Any text may name the issuer of static keys; the source checks the rest."""
    if not issuer.isprintable() or " " in issuer:
        raise ValueError("an issuer is a URL, without spaces")
    return issuer


def _scope(text: str) -> str:
    if not _SCOPE.fullmatch(text):
        raise ValueError(f"`{text[:80]}` is not a scope: no spaces, quotation marks or backslashes")
    return text


def _account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise ValueError(f"`{text[:80]}` is not a service account: write NAMESPACE/NAME")
    return text


FetchUrl = Annotated[str, AfterValidator(_fetchable)]
Algorithms = SomeItems[Annotated[Algorithm, BeforeValidator(_known_algorithm)]]


class Claims(Fields):
    """Which claims say who it is. A claim is named, or found by a path: `act.sub`."""

    agent: NonEmpty = "sub"
    """Names the agent. For delegated tokens (RFC 8693): `act.sub`."""

    on_behalf_of: NonEmpty | None = None
    """Names the user for whom the agent acts, such as `sub` or `email`; a token without it is then refused."""

    groups: NonEmpty | None = "groups"
    """Lists the agent's groups; they are added to those of its `Agent`."""

    attributes: Items[NonEmpty] = ()
    """Further claims that policies may look at. No other claim is kept."""


class TokenSource(Fields):
    """What all sources of signed tokens have in common."""

    jwks_uri: FetchUrl | None = None
    """URL of the issuer's key set. Default: what its discovery document says."""

    keys_file: NonEmpty | None = None
    """File with the issuer's public keys instead: a JWK set, or PEM. Watched."""

    audiences: SomeItems[NonEmpty] = ("route",)
    """For whom a token has to be made, one of them. `route`: the server's public URL, so that a token for one server
    is nothing to another."""

    types: SomeItems[NonEmpty] = ("JWT", "at+jwt")
    """`typ` values that are taken, so that a token made for another purpose is no credential; a token may have none."""

    leeway: Duration = "30s"
    """How far the issuer's clock may be off."""

    max_lifetime: Duration = "24h"
    """Longest life of a token that is taken: one without a near end cannot be withdrawn."""

    max_stale: Duration = "1h"
    """How long fetched keys are used while the issuer cannot be reached; after that its tokens are refused."""

    ca_file: NonEmpty | None = None
    """Authorities that the issuer's TLS certificate is verified with. Default: the system's."""

    @model_validator(mode="after")
    def _one_place_of_keys(self) -> Self:
        if self.keys_file is not None and self.jwks_uri is not None:
            raise ValueError("keys come from one place: give either `jwksUri` or `keysFile`")
        return self


class JwtSource(TokenSource):
    """Takes signed tokens of an OIDC or OAuth issuer in `Authorization: Bearer`."""

    issuer: Annotated[NonEmpty, AfterValidator(_issuer)]
    """The `iss` of its tokens, exactly; with discovery its URL."""

    algorithms: Algorithms = ("RS256", "ES256")
    """Signature algorithms that are taken."""

    claims: Claims = Claims()
    """Which claims say who it is."""

    scopes: Items[Annotated[str, AfterValidator(_scope)]] = ()
    """Scopes that OAuth clients are told to ask for."""

    @model_validator(mode="after")
    def _issuer_can_be_asked(self) -> Self:
        if self.keys_file is None and self.jwks_uri is None:
            _fetchable(self.issuer)
        return self


class KubernetesSource(TokenSource):
    """Takes service-account tokens of a cluster in `Authorization: Bearer`."""

    issuer: Annotated[NonEmpty, AfterValidator(_fetchable)] = "https://kubernetes.default.svc.cluster.local"
    """The cluster's service-account issuer."""

    algorithms: Algorithms = ("RS256", "ES256")
    """Signature algorithms that are taken."""

    token_file: NonEmpty | None = None
    """Token that the gateway shows when it fetches the keys, to that host alone. Default inside a cluster: its own."""


class JwtIdentity(SourcedIdentity):
    """The subject of a token."""

    naming_field = "subject"

    subject: NonEmpty
    """The claim that names the agent (`claims.agent` of the source)."""

    @property
    def principal_id(self) -> str:
        """`jwt:<source>:<subject>`."""
        return f"jwt:{self.source}:{self.subject}"


class KubernetesIdentity(SourcedIdentity):
    """A service account."""

    naming_field = "serviceAccount"

    service_account: Annotated[Text, AfterValidator(_account)]
    """`NAMESPACE/NAME`."""

    @property
    def principal_id(self) -> str:
        """`k8s:<source>:<namespace>:<name>`."""
        return f"k8s:{self.source}:{self.service_account.replace('/', ':')}"
