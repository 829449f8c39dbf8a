"""Faults that only several resources together can have.

Each check is one function over the inventory; `faults` runs them all. References to a
resource that is there but faulty are no second fault.
"""

from collections.abc import Iterator, Sequence

from openmcp import plugins
from openmcp.config import check_content, check_identity, check_policies, values
from openmcp.config.documents import Placed
from openmcp.config.inventory import Inventory
from openmcp.config.resources import Document, MCPServerDocument
from openmcp.config.resources.agent import Identity
from openmcp.config.wording import or_rather
from openmcp.errors import Fault

RESERVED_PATHS = ("/.well-known", "/console")
"""Path prefixes that the gateway answers itself, now or later."""

_ONE_SECRET = frozenset({"basic", "signature"})
"""Identities of which a name has one secret; an API key's id may have two while one replaces the other."""


def faults(inventory: Inventory) -> list[Fault]:
    """Return everything that is wrong between the resources."""
    checks = (
        _duplicates,
        _gateways,
        _listeners,
        _server_paths,
        _upstreams,
        _sources,
        check_identity.faults,
        _agents,
        _policies,
        check_policies.rules,
        check_policies.headers,
        check_content.detectors,
        check_content.names,
        _redaction,
    )
    return [fault for check in checks for fault in check(inventory)]


def _redaction(inventory: Inventory) -> Iterator[Fault]:
    known = sorted({*plugins.names("detector"), *(placed.name for placed in inventory.detectors)})
    for placed in inventory.gateways:
        for index, name in enumerate(placed.document.spec.audit.redact.detect):
            if placed.is_whole and name not in known:
                text = f"there is no detector `{name}`{or_rather(name, known)}"
                yield placed.fault(text, "spec", "audit", "redact", "detect", index)


def server_path(document: MCPServerDocument) -> str:
    """Return the server's path prefix without trailing slash."""
    path = document.spec.path
    return values.public_path(f"/{document.metadata.name}" if path is None else path)


def _duplicates(inventory: Inventory) -> Iterator[Fault]:
    seen: dict[tuple[str, str], Placed[Document]] = {}
    for placed in (*inventory.all[len(inventory.gateways) :], *inventory.tests):
        kind = type(placed.document).__name__.removesuffix("Document")
        first = seen.setdefault((kind, placed.name), placed)
        if first is not placed:
            text = f"there are two {kind} named `{placed.name}`; the first is at {_where(first)}"
            yield placed.fault(text, "metadata", "name")


def _gateways(inventory: Inventory) -> Iterator[Fault]:
    for placed in inventory.gateways[1:]:
        text = f"there is more than one GatewayConfig; the first is at {_where(inventory.gateways[0])}"
        yield placed.fault(text, "kind")


def _listeners(inventory: Inventory) -> Iterator[Fault]:
    for placed in inventory.gateways:
        if not placed.is_whole:
            continue
        spec = placed.document.spec
        names: set[str] = set()
        addresses = {str(values.address(spec.admin.address)): "the admin listener"}
        for index, listener in enumerate(spec.listeners):
            if listener.name in names:
                text = f"there are two listeners named `{listener.name}`"
                yield placed.fault(text, "spec", "listeners", index, "name")
            names.add(listener.name)
            address = values.address(listener.address)
            taken_by = addresses.get(str(address)) if address.port else None
            if taken_by:
                text = f"{address} is taken by {taken_by} already"
                yield placed.fault(text, "spec", "listeners", index, "address")
            addresses.setdefault(str(address), f"listener `{listener.name}`")


def _server_paths(inventory: Inventory) -> Iterator[Fault]:
    seen: dict[tuple[str, str], Placed[MCPServerDocument]] = {}
    for placed in inventory.servers:
        if not placed.is_whole:
            continue
        path = server_path(placed.document)
        loc = ("spec", "path") if placed.document.spec.path is not None else ("metadata", "name")
        for reserved in RESERVED_PATHS:
            if path == reserved or path.startswith(f"{reserved}/"):
                yield placed.fault(f"the path `{path}` is the gateway's own; choose another `spec.path`", *loc)
        for host in placed.document.spec.hosts or ("",):
            first = seen.setdefault((values.host_name(host) if host else "", path), placed)
            # Two resources of one name are a fault already.
            if first.name != placed.name:
                at = f"`{path or '/'}`" + (f" on host `{host}`" if host else "")
                yield placed.fault(f"the path {at} belongs to server `{first.name}` at {_where(first)} already", *loc)
                break


def _upstreams(inventory: Inventory) -> Iterator[Fault]:
    for placed in inventory.servers:
        upstream = placed.document.spec.upstream
        calls_tls = any(map(_is_tls, upstream.replicas or ())) or (upstream.dns and upstream.dns.scheme == "https")
        if upstream.tls is not None and placed.is_whole and not calls_tls:
            yield placed.fault("no replica is called by `https://`, so this says nothing", "spec", "upstream", "tls")


def _is_tls(url: str) -> bool:
    return values.replica_url(url).scheme == "https"


def _sources(inventory: Inventory) -> Iterator[Fault]:
    for placed in inventory.servers:
        authentication = placed.document.spec.authentication
        loc = ("spec", "authentication", "sources")
        if authentication.sources == () and not authentication.anonymous:
            yield placed.fault("nobody could ever use this server: name a source, or allow `anonymous`", *loc)
        seen: set[str] = set()
        for index, name in enumerate(authentication.sources or ()):
            yield from _unknown(inventory, placed, "IdentitySource", name=name, loc=(*loc, index))
            if name in seen:
                yield placed.fault(f"`{name}` is named twice", *loc, index)
            seen.add(name)


def _agents(inventory: Inventory) -> Iterator[Fault]:
    owners: dict[str, Placed[Document]] = {}
    given: set[Identity] = set()
    made: set[str] = set()
    for placed in inventory.agents:
        for index, identity in enumerate(placed.document.spec.identities):
            method, principal_id = identity.kind[0], identity.principal_id
            loc = ("spec", "identities", index, method)
            yield from _identity_source(inventory, placed, identity, loc=loc)
            first = owners.setdefault(principal_id, placed)
            if first is not placed:
                text = f"`{principal_id}` is agent `{first.name}` at {_where(first)} already; one identity is one agent"
                yield placed.fault(text, *loc, *identity.naming_field)
            elif identity in given or (principal_id in made and method in _ONE_SECRET):
                yield placed.fault(f"`{principal_id}` is given twice", *loc)
            given.add(identity)
            made.add(principal_id)


def _identity_source(
    inventory: Inventory, placed: Placed[Document], identity: Identity, *, loc: Sequence[int | str]
) -> Iterator[Fault]:
    """The source that an identity names is there, and is of its kind."""
    if identity.source is None:
        return
    loc = (*loc, "source")
    yield from _unknown(inventory, placed, "IdentitySource", name=identity.source, loc=loc)
    for source in inventory.sources:
        if source.name == identity.source and source.document.spec.kind[0] != identity.kind[0]:
            kind = source.document.spec.kind[0]
            yield placed.fault(
                f"the source `{source.name}` is of the kind `{kind}`: it never makes this identity", *loc
            )


def _policies(inventory: Inventory) -> Iterator[Fault]:
    for placed in inventory.policies:
        spec = placed.document.spec
        if isinstance(spec.servers, tuple):
            for index, name in enumerate(spec.servers):
                loc = ("spec", "servers", index)
                yield from _unknown(inventory, placed, "MCPServer", name=name, loc=loc)
        for index, name in enumerate((spec.agents.sources if spec.agents else None) or ()):
            source_loc = ("spec", "agents", "sources", index)
            yield from _unknown(inventory, placed, "IdentitySource", name=name, loc=source_loc)


def _unknown(
    inventory: Inventory, placed: Placed[Document], kind: str, *, name: str, loc: Sequence[int | str]
) -> Iterator[Fault]:
    if inventory.is_known(kind, name):
        return
    known = sorted(other for other_kind, other in inventory.declared if other_kind == kind)
    yield placed.fault(f"there is no {kind} `{name}`{or_rather(name, known)}", *loc)


def _where(placed: Placed[Document]) -> str:
    return placed.fault("", "metadata", "name").place
