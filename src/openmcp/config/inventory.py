"""All valid resources, by kind: what checks, lint and compilation look at."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from openmcp.config.documents import Placed
from openmcp.config.resources import (
    AgentDocument,
    ApprovalFlowDocument,
    ApproverGroupDocument,
    DetectorDocument,
    Document,
    GatewayConfigDocument,
    IdentitySourceDocument,
    MCPServerDocument,
    PolicyDocument,
    PolicyTestDocument,
    ReviewChannelDocument,
)

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The resources of one load."""

    base: Path
    """Directory that the bootstrap document's relative paths count from."""

    gateways: tuple[Placed[GatewayConfigDocument], ...]
    servers: tuple[Placed[MCPServerDocument], ...]
    sources: tuple[Placed[IdentitySourceDocument], ...]
    agents: tuple[Placed[AgentDocument], ...]
    policies: tuple[Placed[PolicyDocument], ...]
    groups: tuple[Placed[ApproverGroupDocument], ...]
    flows: tuple[Placed[ApprovalFlowDocument], ...]
    channels: tuple[Placed[ReviewChannelDocument], ...]
    detectors: tuple[Placed[DetectorDocument], ...]
    tests: tuple[Placed[PolicyTestDocument], ...]
    """Cases for policies; a gateway reads past them."""

    declared: frozenset[tuple[str, str]]
    """(kind, name) of all documents, the faulty ones too."""

    is_rehearsal: bool = False
    """Whether this is tried out, and kinds without any document may be kept elsewhere."""

    @classmethod
    def of(
        cls,
        documents: Iterable[Placed[Document]],
        declared: frozenset[tuple[str, str]],
        *,
        default_base: Path,
        is_rehearsal: bool = False,
    ) -> "Inventory":
        """Sort the documents by kind, keeping their order; `default_base` counts where no `GatewayConfig` is."""
        placed = tuple(documents)
        gateways = _of(GatewayConfigDocument, placed)
        return cls(
            base=gateways[0].file.parent if gateways else default_base,
            gateways=gateways,
            servers=_of(MCPServerDocument, placed),
            sources=_of(IdentitySourceDocument, placed),
            agents=_of(AgentDocument, placed),
            policies=_of(PolicyDocument, placed),
            groups=_of(ApproverGroupDocument, placed),
            flows=_of(ApprovalFlowDocument, placed),
            channels=_of(ReviewChannelDocument, placed),
            detectors=_of(DetectorDocument, placed),
            tests=_of(PolicyTestDocument, placed),
            declared=declared,
            is_rehearsal=is_rehearsal,
        )

    def is_known(self, kind: str, name: str) -> bool:
        """Whether there is such a resource, as far as that can be told from these documents."""
        if (kind, name) in self.declared:
            return True
        return self.is_rehearsal and not any(declared == kind for declared, _ in self.declared)

    @property
    def all(self) -> tuple[Placed[Document], ...]:
        """Every resource that a gateway is made of."""
        approving = (*self.groups, *self.flows, *self.channels)
        return (*self.gateways, *self.servers, *self.sources, *self.agents, *self.policies, *self.detectors, *approving)

    @property
    def gateway(self) -> GatewayConfigDocument:
        """The bootstrap document; the defaults where none is written."""
        if self.gateways:
            return self.gateways[0].document
        return GatewayConfigDocument.model_validate({"apiVersion": "openmcp.dev/v1alpha1", "kind": "GatewayConfig"})

    @property
    def ordered_sources(self) -> list[str]:
        """Names of the identity sources, in the order in which they are asked."""
        ordered = sorted(self.sources, key=lambda placed: (placed.document.spec.order, placed.name))
        return [placed.name for placed in ordered]


def _of(model: type[D], placed: Iterable[Placed[Document]]) -> tuple[Placed[D], ...]:
    return tuple(cast("Placed[D]", one) for one in placed if isinstance(one.document, model))
