"""Warnings: what is allowed to be written and is probably not meant.

Each is one function over the inventory and the compiled snapshot; `warnings` runs them all.
"""

import time
from collections.abc import Iterator

from openmcp.config import lint_identity, lint_policies
from openmcp.config.inventory import Inventory
from openmcp.config.snapshot import PolicySpec, Snapshot
from openmcp.errors import Fault
from openmcp.model.decision import Effect
from openmcp.model.pin import Pinning


def warnings(inventory: Inventory, snapshot: Snapshot) -> list[Fault]:
    """Return everything that deserves a second look."""
    checks = (
        _certificates,
        _closed_servers,
        _unreachable_servers,
        _idle_agents,
        _forgotten_pins,
        *lint_policies.CHECKS,
        lint_identity.warnings,
    )
    return [warning for check in checks for warning in check(inventory, snapshot)]


def _certificates(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    served = [(("listeners", index), listener.tls) for index, listener in enumerate(snapshot.gateway.listeners)]
    for loc, tls in (*served, (("admin",), snapshot.gateway.admin_tls)):
        if tls is not None and tls.pair.expires_at <= time.time():
            text = "a certificate in this file has expired: clients will refuse it"
            yield inventory.gateways[0].fault(text, "spec", *loc, "tls", "certFile")
    for placed, server in zip(inventory.servers, snapshot.servers, strict=True):
        if server.tls.pair is not None and server.tls.pair.expires_at <= time.time():
            text = "a certificate in this file has expired: the server will refuse it"
            yield placed.fault(text, "spec", "upstream", "tls", "certFile")


def _closed_servers(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    selectors = [policy.servers for policy in snapshot.policies if _can_allow(policy)]
    named = {name for selector in selectors for name in selector.names or ()}
    # As sets of items, and each set once: thousands of policies may select alike.
    labels = {frozenset((selector.labels or {}).items()) for selector in selectors if selector.names is None}
    for placed, server in zip(inventory.servers, snapshot.servers, strict=True):
        if server.is_default_allow or server.name in named:
            continue
        if not any(wanted <= server.labels.items() for wanted in labels):
            text = f"no rule allows anything on server `{server.name}`, and the default is deny: no agent can use it"
            yield placed.fault(text, "metadata", "name")


def _can_allow(policy: PolicySpec) -> bool:
    return any(rule.effect is not Effect.DENY and not rule.is_shadow for rule in policy.rules)


def _unreachable_servers(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    for placed, server in zip(inventory.servers, snapshot.servers, strict=True):
        if not server.authentication.sources and not server.authentication.is_anonymous_allowed:
            text = f"there is no IdentitySource, so nobody can prove to server `{server.name}` who they are"
            yield placed.fault(text, "spec", "authentication")


def _forgotten_pins(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    if snapshot.gateway.state.store != "memory":
        return
    for placed, server in zip(inventory.servers, snapshot.servers, strict=True):
        if server.pinning is not Pinning.NONE:
            text = "pins are kept in memory: at each restart, whatever the server offers then is accepted again"
            yield placed.fault(text, "spec", "pinning", "mode")


def _idle_agents(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    for placed, agent in zip(inventory.agents, snapshot.agents, strict=True):
        if not agent.identities:
            yield placed.fault(f"agent `{agent.name}` has no identities: nobody can be it", "metadata", "name")
