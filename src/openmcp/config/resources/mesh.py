"""Identity by the word of a proxy in front: the settings of `mesh` sources, and how agents name such identities."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, StringConstraints, model_validator

from openmcp.config.resources.base import Fields, Items, SourcedIdentity
from openmcp.config.resources.server import OWN_HEADERS
from openmcp.config.values import header_name

XFCC = "x-forwarded-client-cert"


def _identity_header(text: str) -> str:
    name = header_name(text).lower()
    if name in OWN_HEADERS or name.startswith(("mcp-", "x-openmcp-")) or name == "authorization":
        raise ValueError(f"`{text}` has a meaning of its own and cannot carry an identity")
    if "_" in name:
        raise ValueError(f"`{text}` never arrives: names with `_` are dropped, because `-` and `_` are easily confused")
    return text


class MeshSource(Fields):
    """Takes the identity that a proxy in front has verified and wrote into a header.

    The header counts only from the `trustedPeers` of the listener, and is deleted where anybody else sends it.
    """

    header: Annotated[str, AfterValidator(_identity_header)]
    """Name of the header: `x-forwarded-client-cert` (Envoy, Istio), `l5d-client-id` (Linkerd), or any other."""

    format: Literal["xfcc", "plain"] | None = None
    """`xfcc`: elements as Envoy writes them, of which the nearest counts; `plain`: the value is the identity.
    Default: `xfcc` for `x-forwarded-client-cert`, else `plain`."""

    element: Literal["uri", "dns", "subject"] = "uri"
    """With `xfcc`: which part of the element is the identity. It has to be there exactly once."""

    by: Items[Annotated[str, StringConstraints(min_length=1)]] = ()
    """With `xfcc`: names of the proxies that may have written the element (its `By`). Default: any, as the peer is
    trusted."""

    trust: Literal["header", "sharedSecret", "token", "certificate"] = "header"
    """How much the identity is worth. Say `certificate` where the proxy verifies client certificates and nothing else
    can reach the listener from its address."""

    @model_validator(mode="after")
    def _fits_the_format(self) -> Self:
        if not self.is_xfcc and self.model_fields_set & {"element", "by"}:
            raise ValueError("`element` and `by` mean something with `format: xfcc` only")
        return self

    @property
    def is_xfcc(self) -> bool:
        """Whether the header holds elements as Envoy writes them."""
        return self.header.lower() == XFCC if self.format is None else self.format == "xfcc"


class MeshIdentity(SourcedIdentity):
    """An identity that a proxy in front has verified."""

    naming_field = "id"

    id: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    """The identity as the proxy writes it: `spiffe://cluster.local/ns/support/sa/bot`."""

    @property
    def principal_id(self) -> str:
        """`mesh:<source>:<id>`."""
        return f"mesh:{self.source}:{self.id}"
