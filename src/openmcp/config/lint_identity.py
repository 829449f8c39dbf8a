"""Warnings about identity sources: what has expired or soon will, and who is believed too easily.

Called by `config.lint`. Expired authorities are no fault: a gateway has to start although
one partner forgot to renew.
"""

import time
from collections.abc import Iterable, Iterator

from cryptography import x509

from openmcp.config.documents import Placed
from openmcp.config.identities import MtlsSettings, SourceSpec, SpiffeSettings
from openmcp.config.inventory import Inventory
from openmcp.config.resources import IdentitySourceDocument
from openmcp.config.snapshot import Snapshot
from openmcp.errors import Fault
from openmcp.model import spiffe

_SOON_S = 7 * 86400.0


def warnings(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    """Return what deserves a second look."""
    placed = {source.name: source for source in inventory.sources}
    for source in snapshot.sources:
        yield from _authorities(placed[source.name], source)
    yield from _peers(inventory, snapshot)
    yield from _certificates_unseen(inventory)
    yield from _unknown_domains(inventory)


def _authorities(placed: Placed[IdentitySourceDocument], source: SourceSpec) -> Iterator[Fault]:
    match source.settings:
        case MtlsSettings(authorities=authorities, crls=crls):
            yield from _expired(placed, authorities, ("spec", "mtls", "caFile"))
            yield from _revocation(placed, authorities, crls)
        case SpiffeSettings(bundles=bundles):
            for domain, bundle in bundles.items():
                loc = ("spec", "spiffe", "trustDomains", domain, "bundleFile")
                yield from _expired(placed, bundle.authorities, loc)
        case _:
            pass


def _expired(
    placed: Placed[IdentitySourceDocument], authorities: Iterable[bytes], loc: tuple[str, ...]
) -> Iterator[Fault]:
    now = time.time()
    for der in authorities:
        certificate = x509.load_der_x509_certificate(der)
        left_s = certificate.not_valid_after_utc.timestamp() - now
        name = f"the authority `{certificate.subject.rfc4514_string()[:200]}`"
        if left_s <= 0:
            yield placed.fault(f"{name} has expired: whoever it has issued certificates to is refused", *loc)
        elif left_s < _SOON_S:
            yield placed.fault(f"{name} expires within {_SOON_S / 86400:.0f} days", *loc)


def _revocation(
    placed: Placed[IdentitySourceDocument], authorities: Iterable[bytes], crls: Iterable[bytes] | None
) -> Iterator[Fault]:
    if crls is None:
        return
    now = time.time()
    current: set[x509.Name] = set()
    for der in crls:
        crl = x509.load_der_x509_crl(der)
        if crl.next_update_utc is not None and crl.next_update_utc.timestamp() > now:
            current.add(crl.issuer)
    for der in authorities:
        subject = x509.load_der_x509_certificate(der).subject
        if subject not in current:
            name = subject.rfc4514_string()[:200]
            text = f"there is no current revocation list of `{name}`: whoever it has issued certificates to is refused"
            yield placed.fault(text, "spec", "mtls", "crlFile")


def _peers(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    if not any(source.method == "mesh" for source in snapshot.sources) or not inventory.gateways:
        return
    for index, listener in enumerate(snapshot.gateway.listeners):
        for place, network in enumerate(listener.trusted_peers):
            if network.prefixlen == 0:
                text = "everybody is believed here, whatever they say of who they are: name the proxies alone"
                yield inventory.gateways[0].fault(text, "spec", "listeners", index, "trustedPeers", place)


def _certificates_unseen(inventory: Inventory) -> Iterator[Fault]:
    """SVIDs may also come as tokens, so a listener without certificates is no fault for a `spiffe` source."""
    for gateway in inventory.gateways[:1]:
        listeners = gateway.document.spec.listeners
        if any(listener.tls is not None and listener.tls.client_auth != "none" for listener in listeners):
            return
        for source in inventory.sources:
            if source.document.spec.kind[0] == "spiffe":
                text = "no listener asks for client certificates (`tls.clientAuth`): only JWT-SVIDs are taken"
                yield source.fault(text, "spec", "spiffe")


def _unknown_domains(inventory: Inventory) -> Iterator[Fault]:
    """An agent has the SPIFFE ID of a trust domain that no source knows."""
    sources = [source.document.spec.spiffe for source in inventory.sources]
    known = [source.trust_domains for source in sources if source is not None]
    # Without a list, all count that the agent tells of.
    if any(not domains for domains in known):
        return
    for agent in inventory.agents:
        for index, identity in enumerate(agent.document.spec.identities):
            domain = spiffe.spiffe_id(identity.spiffe).trust_domain if identity.spiffe is not None else ""
            if domain and not any(domain in domains for domains in known):
                text = f"no `spiffe` source knows the trust domain `{domain}`: nobody can be this"
                yield agent.fault(text, "spec", "identities", index, "spiffe")
