"""Agents and identity sources as the identity stage takes them."""

from openmcp.config.documents import Placed
from openmcp.config.identities import (
    AgentSpec,
    ApiKeyIdentity,
    ApiKeySourceSettings,
    IdentitySpec,
    SourceSettings,
    SourceSpec,
)
from openmcp.config.resources import AgentDocument, IdentitySourceDocument
from openmcp.config.resources import agent as written
from openmcp.config.resources.identity_source import ApiKeySource
from openmcp.config.secrets import Secrets


def compile_agent(placed: Placed[AgentDocument]) -> AgentSpec:
    """Return the agent with its key digests as bytes."""
    document = placed.document
    return AgentSpec(
        name=document.metadata.name,
        owner=document.spec.owner,
        groups=frozenset(document.spec.groups),
        labels=document.metadata.labels,
        identities=tuple(_identity(identity) for identity in document.spec.identities),
    )


def _identity(identity: written.Identity) -> IdentitySpec:
    match identity.kind:
        case _, written.ApiKeyIdentity() as key:
            digest = bytes.fromhex(key.sha256)
            return ApiKeyIdentity(principal_id=key.principal_id, source=key.source, id=key.id, digest=digest)
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
        case _:
            raise AssertionError(f"no compiler for {placed.name}")
