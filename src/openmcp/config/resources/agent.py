"""`Agent`: a name for a set of identities."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from openmcp.config.resources.base import Document, Fields, Items, Label, SourcedIdentity, Text, only_field
from openmcp.config.resources.certificates import MtlsIdentity, WorkloadId
from openmcp.config.resources.mesh import MeshIdentity
from openmcp.config.resources.shared_secrets import BasicIdentity, SignatureIdentity
from openmcp.config.resources.tokens import JwtIdentity, KubernetesIdentity

_KEY_ID = re.compile(r"[a-z0-9-]{1,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _check_key_id(text: str) -> str:
    if not _KEY_ID.fullmatch(text):
        raise ValueError(f"`{text[:80]}` cannot be a key id: use 1 to 63 lower-case letters, digits and `-`")
    return text


def _check_digest(text: str) -> str:
    if text.startswith("omcp_"):
        raise ValueError("this is the key itself; write its SHA-256 here and make a new key: this one is no secret now")
    if not _DIGEST.fullmatch(text):
        raise ValueError("a SHA-256 has 64 lower-case hexadecimal digits; `openmcp key new` prints it")
    return text


class ApiKeyIdentity(SourcedIdentity):
    """A key `omcp_<id>_<secret>`, as `openmcp key new` makes it."""

    naming_field = "id"

    id: Annotated[str, AfterValidator(_check_key_id)]
    """The key's id: the middle part of the key."""

    sha256: Annotated[str, AfterValidator(_check_digest)]
    """Hexadecimal SHA-256 of the whole key. The key itself is never written down here."""

    @property
    def principal_id(self) -> str:
        """`key:<source>:<id>`."""
        return f"key:{self.source}:{self.id}"


class Identity(Fields):
    """One way in which the agent proves who it is: exactly one kind."""

    mtls: MtlsIdentity | None = None
    """A client certificate."""

    spiffe: WorkloadId | None = None
    """The SPIFFE ID of an SVID; the trust domain in it says which bundle verifies it."""

    mesh: MeshIdentity | None = None
    """What a proxy in front says."""

    api_key: ApiKeyIdentity | None = None
    """An API key."""

    jwt: JwtIdentity | None = None
    """The subject of an issuer's tokens."""

    kubernetes: KubernetesIdentity | None = None
    """A service account of a cluster."""

    basic: BasicIdentity | None = None
    """A user with a password."""

    signature: SignatureIdentity | None = None
    """A key that signs requests."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        only_field(self)
        return self

    @property
    def kind(self) -> tuple[str, object]:
        """The key that is given (`apiKey`, `mtls`, …), and what stands there."""
        return only_field(self)

    @property
    def source(self) -> str | None:
        """Name of the `IdentitySource` that verifies it; `None` where the id alone says enough."""
        given = self.kind[1]
        return given.source if isinstance(given, SourcedIdentity) else None

    @property
    def principal_id(self) -> str:
        """What whoever presents it is called."""
        given = self.kind[1]
        return given.principal_id if isinstance(given, SourcedIdentity) else str(given)

    @property
    def naming_field(self) -> tuple[str, ...]:
        """Where the name stands, within what is given."""
        given = self.kind[1]
        return (given.naming_field,) if isinstance(given, SourcedIdentity) else ()


class AgentSettings(Fields):
    """Who the agent is."""

    owner: Text = ""
    """Who answers for the agent: an e-mail address."""

    groups: Items[Label] = ()
    """Groups that policies can name."""

    identities: Items[Identity] = ()
    """Any of these makes a caller this agent."""


class AgentDocument(Document):
    """A name for a set of identities, with owner, groups and labels.

    Optional: a verified caller without an `Agent` is its own agent, named by its principal id.
    """

    kind: Literal["Agent"]
    """The resource's kind."""

    spec: AgentSettings
    """The settings."""
