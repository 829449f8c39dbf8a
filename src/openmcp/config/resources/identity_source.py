"""`IdentitySource`: one trusted way to learn who the agent is."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from openmcp.config.resources.base import Document, Fields
from openmcp.config.resources.server import header_name


class ApiKeySource(Fields):
    """Takes keys `omcp_<id>_<secret>`; agents name theirs by digest."""

    header: Annotated[str, AfterValidator(header_name)] = "Authorization"
    """Header that carries the key: in `Authorization` as `Bearer KEY`, in any other header alone."""


class IdentitySourceSettings(Fields):
    """How identities are learned."""

    order: int = 0
    """Place among the sources of a server that names none itself: smaller comes first, then by name."""

    api_key: ApiKeySource
    """API keys. Trust: `sharedSecret`."""


class IdentitySourceDocument(Document):
    """One trusted way to learn who the agent is."""

    kind: Literal["IdentitySource"]
    """The resource's kind."""

    spec: IdentitySourceSettings
    """The settings."""
