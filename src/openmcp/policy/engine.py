"""The decision: every rule that attaches and matches is collected, and the strictest effect wins.

deny > require-approval > allow > default. No priorities, no order, no first match.
Asked by `policy` for every message in either direction.
"""

from collections.abc import Sequence

from openmcp.mcp import methods
from openmcp.mcp.methods import Subject
from openmcp.model.agent import Agent
from openmcp.model.decision import Decision, Effect
from openmcp.model.server import Server
from openmcp.policy.rules import Rule

_VIEWS = 20_000
_DECISIONS_PER_VIEW = 5_000
_DECISIONS = 50_000
"""Views and decisions kept per snapshot: names are chosen by strangers, so what is full is emptied."""

_LONGEST = 256
"""Characters of a name or method whose decision is kept; none that is in use is longer."""

_OPEN_GROUPS = frozenset({methods.Group.PROTOCOL, methods.Group.LIST})
"""Allowed to every agent to whom anything on the server could be allowed, unless a rule names them.

Lists and subscriptions are among them because they are filtered entry by entry.
"""


class PolicyEngine:
    """Decides under the rules of one snapshot."""

    def __init__(self, rules: Sequence[Rule], *, revision: str) -> None:
        self._rules = tuple(rules)
        self.revision = revision
        """That of the snapshot; stands in each decision."""

        self._views: dict[tuple[str, str], _View] = {}
        self._kept = 0

    def decide(self, agent: Agent, server: Server, *, method: str, subject: Subject | None = None) -> Decision:
        """Return the decision on `method` about `subject`."""
        view = self._view(agent, server)
        decision = view.decided.get((method, subject))
        if decision is None:
            decision = self._decide(view, method, subject)
            if len(method) <= _LONGEST and (subject is None or len(subject.name) <= _LONGEST):
                self._keep(view, method, subject, decision=decision)
        return decision

    def access(self, agent: Agent, server: Server) -> Decision:
        """Return the decision on using the server at all."""
        effect = Effect.ALLOW if self.may_use(agent, server) else Effect.DENY
        return Decision(effect, None, revision=self.revision)

    def may_use(self, agent: Agent, server: Server) -> bool:
        """Whether anything on the server could be allowed to the agent."""
        return self._view(agent, server).may_use

    def _keep(self, view: "_View", method: str, subject: Subject | None, *, decision: Decision) -> None:
        if len(view.decided) >= _DECISIONS_PER_VIEW:
            view.decided.clear()
        if self._kept >= _DECISIONS:
            self._views.clear()
            self._kept = 0
        view.decided[method, subject] = decision
        self._kept += 1

    def _view(self, agent: Agent, server: Server) -> "_View":
        key = (agent.principal.binding, server.name)
        view = self._views.get(key)
        # The same principal may come back with other attributes: a new token with other groups.
        if view is None or not ((view.agent is agent and view.server is server) or view.is_of(agent, server)):
            if len(self._views) >= _VIEWS:
                self._views.clear()
            view = _View(agent, server, tuple(rule for rule in self._rules if rule.attaches(agent, server)))
            self._views[key] = view
        return view

    def _decide(self, view: "_View", method: str, subject: Subject | None) -> Decision:
        # Of a subscription, the whole is open and each part is asked for by itself.
        is_open = _is_open(method) and subject is None
        matched = [rule for rule in view.rules if _speaks_of(rule, method, subject=subject, is_open=is_open)]
        enforced = [rule for rule in matched if not rule.is_shadow]
        would = tuple((rule.ref, rule.effect) for rule in matched if rule.is_shadow)
        if not enforced:
            effect = _default(view, method, is_open=is_open)
            return Decision(effect, None, revision=self.revision, would=would)
        deciding = _strictest(enforced)
        return Decision(
            deciding.effect,
            deciding.ref,
            reason=deciding.reason,
            revision=self.revision,
            matched=tuple(rule.ref for rule in enforced),
            would=would,
        )


class _View:
    """What one agent may do on one server: the rules that attach, and what they decided so far."""

    def __init__(self, agent: Agent, server: Server, rules: tuple[Rule, ...]) -> None:
        self.agent = agent
        self.server = server
        self.rules = rules
        self.decided: dict[tuple[str, Subject | None], Decision] = {}
        self.may_use = _may_use(server, [rule for rule in rules if not rule.is_shadow])

    def is_of(self, agent: Agent, server: Server) -> bool:
        """Whether it was made for just these, as they were read from some configuration."""
        return (self.agent is agent or self.agent == agent) and (self.server is server or self.server == server)


def _may_use(server: Server, rules: Sequence[Rule]) -> bool:
    if any(rule.effect is Effect.DENY and rule.match.is_everything for rule in rules):
        return False
    return server.is_default_allow or any(rule.effect is not Effect.DENY for rule in rules)


def _default(view: _View, method: str, *, is_open: bool) -> Effect:
    if is_open:
        return Effect.ALLOW if view.may_use else Effect.DENY
    return Effect.ALLOW if view.server.is_default_allow and not _must_be_named(method) else Effect.DENY


def _is_open(method: str) -> bool:
    known = methods.lookup(method)
    return known is not None and (known.group in _OPEN_GROUPS or method == methods.SUBSCRIPTIONS_LISTEN)


def _speaks_of(rule: Rule, method: str, *, subject: Subject | None, is_open: bool) -> bool:
    if is_open and not rule.match.names_methods_only:
        return False
    if rule.effect is not Effect.DENY and not rule.match.names_methods_only and _must_be_named(method):
        return False
    return rule.match.covers(method, subject)


def _must_be_named(method: str) -> bool:
    """Whether only a rule that names the method allows it.

    A method that nobody knows is a hole in every rule about known ones; and tasks are not bound to the agent that
    began them, so that whoever allows them has to mean it.
    """
    known = methods.lookup(method)
    return known is None or known.group is methods.Group.TASK


def _strictest(rules: Sequence[Rule]) -> Rule:
    """Return the rule with the strictest effect; among equals one that gives a reason, for the agent's sake."""
    return max(rules, key=lambda rule: (rule.effect, bool(rule.reason)))
