"""Turns valid resources into the nouns of the stages: seconds, bytes, absolute paths, resolved secrets.

Called by `config.loader` after validation. The only faults left to find here are
secrets that cannot be read; `Secrets` collects them, and the caller throws the result away.
"""

import hashlib
import json

from openmcp.config.compile.agents import compile_agent, compile_source
from openmcp.config.compile.approvals import compile_channel, compile_flow, compile_group
from openmcp.config.compile.content import compile_detector
from openmcp.config.compile.gateway import compile_gateway
from openmcp.config.compile.policy import compile_policy
from openmcp.config.compile.server import compile_server
from openmcp.config.inventory import Inventory
from openmcp.config.secrets import Secrets
from openmcp.config.snapshot import Snapshot

_REVISION_DIGITS = 12


def compile_snapshot(inventory: Inventory, secrets: Secrets) -> Snapshot:
    """Return the snapshot of all resources."""
    gateway = compile_gateway(inventory, secrets)
    sources = [compile_source(placed, secrets) for placed in inventory.sources]
    detectors = {placed.name: compile_detector(placed) for placed in inventory.detectors}
    return Snapshot(
        revision=_revision(inventory),
        gateway=gateway,
        servers=tuple(
            compile_server(placed, secrets, gateway=gateway, every_source=inventory.ordered_sources)
            for placed in inventory.servers
        ),
        sources=tuple(sorted(sources, key=lambda source: (source.order, source.name))),
        agents=tuple(compile_agent(placed, secrets) for placed in inventory.agents),
        groups=tuple(compile_group(placed.document) for placed in inventory.groups),
        flows=tuple(compile_flow(placed.document) for placed in inventory.flows),
        channels=tuple(compile_channel(placed, secrets) for placed in inventory.channels),
        policies=tuple(compile_policy(placed.document, detectors) for placed in inventory.policies),
    )


def _revision(inventory: Inventory) -> str:
    """The same for the same resources, however they are spread over files, ordered or commented."""
    documents = [inventory.gateway, *(placed.document for placed in inventory.all)]
    texts = {
        json.dumps(document.model_dump(by_alias=True, exclude={"metadata": {"annotations"}}), sort_keys=True)
        for document in documents
    }
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:_REVISION_DIGITS]
