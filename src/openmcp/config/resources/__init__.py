"""The resource kinds: what may stand in a document, field by field.

Read by `config.documents`, which validates, by `config.compile`, which turns them into
the nouns of the stages, and by the generators of the schema and the reference.
"""

from openmcp.config.resources.agent import AgentDocument
from openmcp.config.resources.approvals import ApprovalFlowDocument, ApproverGroupDocument, ReviewChannelDocument
from openmcp.config.resources.base import API_VERSION, Document
from openmcp.config.resources.detector import DetectorDocument
from openmcp.config.resources.gateway import GatewayConfigDocument
from openmcp.config.resources.identity_source import IdentitySourceDocument
from openmcp.config.resources.policy import PolicyDocument
from openmcp.config.resources.policy_test import PolicyTestDocument
from openmcp.config.resources.server import MCPServerDocument

__all__ = [
    "API_VERSION",
    "KINDS",
    "AgentDocument",
    "ApprovalFlowDocument",
    "ApproverGroupDocument",
    "DetectorDocument",
    "Document",
    "GatewayConfigDocument",
    "IdentitySourceDocument",
    "MCPServerDocument",
    "PolicyDocument",
    "PolicyTestDocument",
    "ReviewChannelDocument",
]

KINDS: dict[str, type[Document]] = {
    "GatewayConfig": GatewayConfigDocument,
    "MCPServer": MCPServerDocument,
    "IdentitySource": IdentitySourceDocument,
    "Agent": AgentDocument,
    "Policy": PolicyDocument,
    "ApproverGroup": ApproverGroupDocument,
    "ApprovalFlow": ApprovalFlowDocument,
    "ReviewChannel": ReviewChannelDocument,
    "Detector": DetectorDocument,
    "PolicyTest": PolicyTestDocument,
}
"""Every kind of this version, in the order in which the reference shows them."""
