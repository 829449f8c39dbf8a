"""Faults of identity sources by which nobody could ever be recognised. Called by `config.check`."""

from collections.abc import Iterator

from openmcp.config import values
from openmcp.config.documents import Placed
from openmcp.config.inventory import Inventory
from openmcp.config.resources import AgentDocument, GatewayConfigDocument, IdentitySourceDocument
from openmcp.config.resources.base import only_field
from openmcp.config.resources.certificates import MtlsIdentity
from openmcp.config.resources.gateway import Listener
from openmcp.config.resources.shared_secrets import SignatureSource
from openmcp.config.resources.tokens import TokenSource
from openmcp.errors import Fault


def faults(inventory: Inventory) -> Iterator[Fault]:
    """Return what is wrong between the sources and the listeners."""
    for agent in inventory.agents:
        for index, identity in enumerate(agent.document.spec.identities):
            if identity.mtls is not None:
                yield from _never_named(inventory, agent, identity.mtls, index=index)
    # Without a bootstrap file these are resources of a gateway that is not known here.
    for gateway in inventory.gateways[:1]:
        if not gateway.is_whole:
            continue
        for source in inventory.sources:
            if source.is_whole:
                yield from _unheard(source, gateway)
        yield from _in_vain(inventory, gateway)


def _never_named(
    inventory: Inventory, agent: Placed[AgentDocument], identity: MtlsIdentity, *, index: int
) -> Iterator[Fault]:
    """The source names agents by another part of their certificates."""
    for source in inventory.sources:
        mtls = source.document.spec.mtls
        if source.name != identity.source or mtls is None:
            continue
        field, value = only_field(identity, "source")
        kind = str(value).partition(":")[0]
        if field != mtls.identity:
            text = f"`{field}` is never what names an agent here: the source `{source.name}` takes `{mtls.identity}`"
            yield agent.fault(text, "spec", "identities", index, "mtls", field)
        elif field == "san" and kind not in mtls.san_types:
            text = f"names of the kind `{kind}` do not count here: add it to `sanTypes` of the source `{source.name}`"
            yield agent.fault(text, "spec", "identities", index, "mtls", field)


def _unheard(source: Placed[IdentitySourceDocument], gateway: Placed[GatewayConfigDocument]) -> Iterator[Fault]:
    """No listener brings what the source reads."""
    kind, written = source.document.spec.kind
    listeners = gateway.document.spec.listeners
    if kind == "mesh" and not any(listener.trusted_peers for listener in listeners):
        text = "no listener has `trustedPeers`, so this header is deleted wherever it comes from: name the proxy there"
        yield source.fault(text, "spec", "mesh")
    if kind == "mtls" and not _asks_for_certificates(gateway):
        text = "no listener asks for client certificates: set `tls.clientAuth` to `optional` or `required`"
        yield source.fault(text, "spec", "mtls")
    if _needs_name(written) and not any(map(_has_name, listeners)):
        text = "no listener has a `publicUrl`, which is what this source compares with: write what agents call it"
        yield source.fault(text, "spec", kind)


def _has_name(listener: Listener) -> bool:
    """Whether there is a URL that agents call the listener by: the one that is written, or its one address."""
    return listener.public_url is not None or values.address(listener.address).host not in ("0.0.0.0", "::")


def _needs_name(kind: object) -> bool:
    """Whether a source compares with the route's public URL, and with nothing else."""
    return isinstance(kind, SignatureSource) or (isinstance(kind, TokenSource) and set(kind.audiences) == {"route"})


def _in_vain(inventory: Inventory, gateway: Placed[GatewayConfigDocument]) -> Iterator[Fault]:
    """A listener demands certificates, and nothing says which authorities count."""
    if any(source.document.spec.kind[0] in ("mtls", "spiffe") for source in inventory.sources):
        return
    for index, listener in enumerate(gateway.document.spec.listeners):
        if listener.tls is not None and listener.tls.client_auth == "required":
            text = "no `mtls` or `spiffe` source says which authorities count: nobody could connect"
            yield gateway.fault(text, "spec", "listeners", index, "tls", "clientAuth")


def _asks_for_certificates(gateway: Placed[GatewayConfigDocument]) -> bool:
    return any(
        listener.tls is not None and listener.tls.client_auth != "none" for listener in gateway.document.spec.listeners
    )
