"""Agents and identity sources as the identity stage takes them."""

from collections.abc import Iterator

from openmcp.config import values
from openmcp.config.compile.authorities import compile_mesh, compile_mtls, compile_spiffe
from openmcp.config.compile.shared_secrets import compile_basic, compile_signature
from openmcp.config.compile.tokens import compile_jwt, compile_kubernetes
from openmcp.config.documents import Placed
from openmcp.config.identities import (
    AgentSpec,
    ApiKeyIdentity,
    ApiKeySourceSettings,
    BasicSourceSettings,
    IdentitySpec,
    SignatureSourceSettings,
    SourceSettings,
    SourceSpec,
)
from openmcp.config.resources import AgentDocument, IdentitySourceDocument
from openmcp.config.resources import agent as written
from openmcp.config.resources.certificates import MtlsIdentity, MtlsSource, SpiffeSource
from openmcp.config.resources.identity_source import ApiKeySource
from openmcp.config.resources.mesh import MeshIdentity, MeshSource
from openmcp.config.resources.shared_secrets import BasicIdentity, BasicSource, SignatureIdentity, SignatureSource
from openmcp.config.resources.tokens import JwtIdentity, JwtSource, KubernetesIdentity, KubernetesSource
from openmcp.config.secrets import Secrets


def compile_agent(placed: Placed[AgentDocument], secrets: Secrets) -> AgentSpec:
    """Return the agent with its keys and hashes as they were read."""
    document = placed.document
    return AgentSpec(
        name=document.metadata.name,
        owner=document.spec.owner,
        groups=frozenset(document.spec.groups),
        labels=document.metadata.labels,
        identities=tuple(_identities(placed, secrets)),
    )


def _identities(placed: Placed[AgentDocument], secrets: Secrets) -> Iterator[IdentitySpec]:
    for index, identity in enumerate(placed.document.spec.identities):
        yield _identity(placed, identity, secrets, loc=("spec", "identities", index, identity.kind[0]))


def _identity(
    placed: Placed[AgentDocument], identity: written.Identity, secrets: Secrets, *, loc: tuple[int | str, ...]
) -> IdentitySpec:
    match identity.kind:
        case _, written.ApiKeyIdentity() as key:
            digest = bytes.fromhex(key.sha256)
            return ApiKeyIdentity(principal_id=key.principal_id, source=key.source, id=key.id, digest=digest)
        case _, (JwtIdentity() | KubernetesIdentity()) as named:
            return IdentitySpec(principal_id=named.principal_id, source=named.source)
        case _, BasicIdentity() as user:
            return compile_basic(placed, user, secrets, loc=loc)
        case _, SignatureIdentity() as signed:
            return compile_signature(placed, signed, secrets, loc=loc)
        case _, (MtlsIdentity() | MeshIdentity()) as sourced:
            return IdentitySpec(principal_id=sourced.principal_id, source=sourced.source)
        case "spiffe", str(spiffe_id):
            return IdentitySpec(principal_id=spiffe_id)
        case name, _:
            raise AssertionError(f"no compiler for the identity {name}")


def compile_source(placed: Placed[IdentitySourceDocument], secrets: Secrets) -> SourceSpec:
    """Return the source with the name of its implementation; files that it names are read now."""
    document = placed.document
    name, kind = document.spec.kind
    return SourceSpec(document.metadata.name, document.spec.order, name, _settings(placed, kind, secrets))


def _settings(placed: Placed[IdentitySourceDocument], kind: object, secrets: Secrets) -> SourceSettings:
    match kind:
        case ApiKeySource():
            return ApiKeySourceSettings(header=kind.header.lower())
        case JwtSource():
            return compile_jwt(placed, kind, secrets)
        case KubernetesSource():
            return compile_kubernetes(placed, kind, secrets)
        case BasicSource():
            return BasicSourceSettings()
        case SignatureSource():
            return SignatureSourceSettings(values.duration_s(kind.max_age))
        case MtlsSource():
            return compile_mtls(placed, kind, secrets)
        case SpiffeSource():
            return compile_spiffe(placed, kind, secrets)
        case MeshSource():
            return compile_mesh(kind)
        case _:
            raise AssertionError(f"no compiler for {placed.name}")
