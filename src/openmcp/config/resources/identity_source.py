"""`IdentitySource`: one trusted way to learn who the agent is."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from openmcp.config.resources.base import Document, Fields, only_field
from openmcp.config.resources.certificates import MtlsSource, SpiffeSource
from openmcp.config.resources.mesh import MeshSource
from openmcp.config.resources.shared_secrets import BasicSource, SignatureSource
from openmcp.config.resources.tokens import JwtSource, KubernetesSource
from openmcp.config.values import header_name


class ApiKeySource(Fields):
    """Takes keys `omcp_<id>_<secret>`; agents name theirs by digest."""

    header: Annotated[str, AfterValidator(header_name)] = "Authorization"
    """Header that carries the key: in `Authorization` as `Bearer KEY`, in any other header alone."""


class IdentitySourceSettings(Fields):
    """How identities are learned: the order, and exactly one kind of source."""

    order: int = 0
    """Place among the sources of a server that names none itself: smaller comes first, then by name."""

    mtls: MtlsSource | None = None
    """TLS client certificates. Trust: `certificate`."""

    spiffe: SpiffeSource | None = None
    """SPIFFE SVIDs. Trust: `certificate`, JWT-SVIDs `token`."""

    mesh: MeshSource | None = None
    """What a proxy in front says. Trust: `header`, or what you state."""

    api_key: ApiKeySource | None = None
    """API keys. Trust: `sharedSecret`."""

    jwt: JwtSource | None = None
    """Signed tokens of an OIDC or OAuth issuer. Trust: `token`."""

    kubernetes: KubernetesSource | None = None
    """Service-account tokens of a cluster. Trust: `token`."""

    basic: BasicSource | None = None
    """Users with passwords. Trust: `sharedSecret`."""

    signature: SignatureSource | None = None
    """Signed requests. Trust: `sharedSecret`."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        only_field(self, "order")
        return self

    @property
    def kind(self) -> tuple[str, object]:
        """The key that is given (`apiKey`, `mtls`, …), and what stands there."""
        return only_field(self, "order")


class IdentitySourceDocument(Document):
    """One trusted way to learn who the agent is."""

    kind: Literal["IdentitySource"]
    """The resource's kind."""

    spec: IdentitySourceSettings
    """The settings."""
