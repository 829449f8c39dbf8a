"""Identity by certificate: the settings of `mtls` and `spiffe` sources, and how agents name such identities."""

from typing import Annotated, Literal, Self

from cryptography import x509
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from openmcp.config.resources.base import Fields, FilePath, SomeItems, SourcedIdentity, only_field
from openmcp.model import spiffe


def _trust_domain(text: str) -> str:
    return spiffe.trust_domain(text)


def _workload_id(text: str) -> str:
    return str(spiffe.workload_id(text))


def _socket(text: str) -> str:
    path = text.removeprefix("unix:")
    if path == text or not path.startswith("/"):
        raise ValueError(f"`{text[:200]}` is not the address of an agent: write unix:///run/spire/agent.sock")
    return text


def _san(text: str) -> str:
    kind, _, name = text.partition(":")
    if kind not in ("uri", "dns", "email") or not name:
        raise ValueError(f"`{text[:200]}` does not say what it names: write uri:…, dns:… or email:…")
    if kind == "dns" and name != name.lower():
        raise ValueError(f"`{text[:200]}` never matches: host names are compared in lower case")
    return text


def _subject(text: str) -> str:
    try:
        return x509.Name.from_rfc4514_string(text).rfc4514_string()
    except ValueError:
        raise ValueError(f"`{text[:200]}` is not a subject: write it like CN=bot,O=Partner (RFC 4514)") from None


TrustDomainName = Annotated[str, AfterValidator(_trust_domain)]
WorkloadId = Annotated[str, AfterValidator(_workload_id)]


class MtlsSource(Fields):
    """Verifies TLS client certificates against authorities of its own. Trust: `certificate`."""

    ca_file: FilePath
    """PEM file of the authorities that may issue certificates here. Watched: a changed one counts at once."""

    crl_file: FilePath | None = None
    """PEM file of their revocation lists; watched. If given, every issuer in a chain has to have a current one in it:
    where it cannot be said that a certificate is not revoked, it is refused."""

    identity: Literal["san", "subject", "commonName"] = "san"
    """What names the agent: its one alternative name, its whole subject, or the `CN` in it.

    `san` unless you say otherwise: nobody looks after the uniqueness of a `CN`.
    """

    san_types: SomeItems[Literal["uri", "dns", "email"]] = ("uri", "dns", "email")
    """Kinds of alternative names that count. A certificate with several names that count is refused."""


class MtlsIdentity(SourcedIdentity):
    """A client certificate, by what its source reads in it: exactly one of `san`, `subject`, `commonName`."""

    naming_field = "source"

    san: Annotated[str, AfterValidator(_san)] | None = None
    """The alternative name with its kind: `dns:bot.partner.example`, `uri:…` or `email:…`."""

    subject: Annotated[str, AfterValidator(_subject)] | None = None
    """The whole subject: `CN=bot,O=Partner` (RFC 4514)."""

    common_name: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    """The `CN` of the subject."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        only_field(self, "source")
        return self

    @property
    def principal_id(self) -> str:
        """`x509:<source>:<san or subject>`."""
        name = self.san or self.subject or f"cn:{self.common_name}"
        return f"x509:{self.source}:{name}"


class TrustDomain(Fields):
    """Where the authorities of a trust domain are known from."""

    bundle_file: FilePath | None = None
    """The bundle: PEM certificates, or a SPIFFE bundle in JSON, which can hold keys of JWT-SVIDs, too. Watched.
    Default: what the agent at `workloadApi` says."""


class SpiffeSource(Fields):
    """Verifies SVIDs against the bundle of their own trust domain, and no other.

    Trust: `certificate` for X.509-SVIDs, `token` for JWT-SVIDs.
    """

    trust_domains: dict[TrustDomainName, TrustDomain] = {}  # noqa: RUF012 – pydantic copies it
    """The trust domains whose workloads are known here. Default: all that the agent has a bundle of, its own and those
    federated with it."""

    workload_api: Annotated[str, AfterValidator(_socket)] | None = None
    """Address of the SPIFFE agent (`unix:///run/spire/agent.sock`), which tells of every rotation. Needs the extra
    `openmcp[spiffe]`."""

    audiences: SomeItems[Annotated[str, Field(min_length=1)]] = ("route",)
    """Audiences of JWT-SVIDs, of which one is enough; `route` stands for the public URL of the server."""

    @model_validator(mode="after")
    def _has_bundles(self) -> Self:
        if self.workload_api is None:
            if not self.trust_domains:
                raise ValueError("there is no bundle to verify with: give `trustDomains` or `workloadApi`")
            for name, domain in self.trust_domains.items():
                if domain.bundle_file is None:
                    raise ValueError(f"where is the bundle of `{name}`? Give its `bundleFile`, or a `workloadApi`")
        return self
