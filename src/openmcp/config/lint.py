"""Warnings: what is allowed to be written and is probably not meant.

Each is one function over the inventory and the compiled snapshot; `warnings` runs them all.
"""

import re
import time
from collections.abc import Iterator

from openmcp.config import lint_identity
from openmcp.config.inventory import Inventory
from openmcp.config.snapshot import MatchSpec, PolicySpec, RuleSpec, Snapshot
from openmcp.errors import Fault
from openmcp.model.decision import Effect

_KINDS = ("tools", "prompts", "resources")


def warnings(inventory: Inventory, snapshot: Snapshot) -> list[Fault]:
    """Return everything that deserves a second look."""
    checks = (
        _certificates,
        _closed_servers,
        _unreachable_servers,
        _idle_agents,
        _unknown_agent_names,
        _rules,
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
    return any(rule.effect is Effect.ALLOW and not rule.is_shadow for rule in policy.rules)


def _unreachable_servers(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    for placed, server in zip(inventory.servers, snapshot.servers, strict=True):
        if not server.authentication.sources and not server.authentication.is_anonymous_allowed:
            text = f"there is no IdentitySource, so nobody can prove to server `{server.name}` who they are"
            yield placed.fault(text, "spec", "authentication")


def _idle_agents(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    for placed, agent in zip(inventory.agents, snapshot.agents, strict=True):
        if not agent.identities:
            yield placed.fault(f"agent `{agent.name}` has no identities: nobody can be it", "metadata", "name")


def _unknown_agent_names(inventory: Inventory, _: Snapshot) -> Iterator[Fault]:
    for placed in inventory.policies:
        names = (placed.document.spec.agents.names if placed.document.spec.agents else None) or ()
        for index, name in enumerate(names):
            # A caller without an Agent is named by its principal id, which has a colon.
            if not set(name) & {"*", ":"} and ("Agent", name) not in inventory.declared and name != "anonymous":
                yield placed.fault(f"there is no Agent `{name}`", "spec", "agents", "names", index)


def _rules(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    for placed, policy in zip(inventory.policies, snapshot.policies, strict=True):
        denials = [rule for rule in policy.rules if rule.effect is Effect.DENY and not rule.is_shadow]
        for index, rule in enumerate(policy.rules):
            if rule.effect is not Effect.ALLOW:
                continue
            loc = ("spec", "rules", index, "id")
            if rule.match == MatchSpec():
                yield placed.fault(f"rule `{rule.id}` allows everything: it has no `match`", *loc)
            wider = _wider(rule, denials)
            if wider is not None:
                text = f"rule `{rule.id}` never decides: rule `{wider.id}` denies all that it allows, and deny wins"
                yield placed.fault(text, *loc)


def _wider(rule: RuleSpec, denials: list[RuleSpec]) -> RuleSpec | None:
    return next((denial for denial in denials if _covers(denial.match, rule.match)), None)


def _covers(wide: MatchSpec, narrow: MatchSpec) -> bool:
    """Whether everything that `narrow` matches is surely matched by `wide`, too."""
    if wide.methods is not None and not _globs_cover(wide.methods, narrow.methods):
        return False
    wide_kinds = [kind for kind in _KINDS if getattr(wide, kind) is not None]
    narrow_kinds = [kind for kind in _KINDS if getattr(narrow, kind) is not None]
    if not wide_kinds:
        return True
    # A kind that `wide` does not give is one that it does not match.
    return bool(narrow_kinds) and all(
        kind in wide_kinds and _globs_cover(getattr(wide, kind), getattr(narrow, kind)) for kind in narrow_kinds
    )


def _globs_cover(wide: tuple[str, ...] | None, narrow: tuple[str, ...] | None) -> bool:
    if wide is None or narrow is None:
        return wide is None
    return all(any(_glob_covers(outer, inner) for outer in wide) for inner in narrow)


def _glob_covers(wide: str, narrow: str) -> bool:
    """Whether one glob surely matches all that another one does; in doubt no."""
    if wide in (narrow, "**"):
        return True
    if "*" not in narrow:
        pieces = re.split(r"(\*+)", wide)
        pattern = "".join({"*": "[^/]*"}.get(p, ".*") if p.startswith("*") else re.escape(p) for p in pieces)
        return re.fullmatch(pattern, narrow, re.DOTALL) is not None
    if wide == "*":
        return "/" not in narrow and "**" not in narrow
    return wide.endswith("**") and "*" not in wide[:-2] and narrow.startswith(wide[:-2])
