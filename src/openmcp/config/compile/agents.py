"""Agents and identity sources as the identity stage takes them."""

from openmcp.config.resources import AgentDocument, IdentitySourceDocument
from openmcp.config.snapshot import AgentSpec, ApiKeyIdentity, ApiKeySourceSettings, SourceSpec


def compile_agent(document: AgentDocument) -> AgentSpec:
    """Return the agent with its key digests as bytes."""
    keys = [identity.api_key for identity in document.spec.identities]
    return AgentSpec(
        name=document.metadata.name,
        owner=document.spec.owner,
        groups=frozenset(document.spec.groups),
        labels=document.metadata.labels,
        identities=tuple(ApiKeyIdentity(key.source, key.id, bytes.fromhex(key.sha256)) for key in keys),
    )


def compile_source(document: IdentitySourceDocument) -> SourceSpec:
    """Return the source with the name of its implementation."""
    return SourceSpec(
        name=document.metadata.name,
        order=document.spec.order,
        method="apiKey",
        settings=ApiKeySourceSettings(header=document.spec.api_key.header.lower()),
    )
