"""The decision: every rule that attaches and matches is collected, and the strictest effect wins.

deny > require-approval > allow > default. No priorities, no order, no first match.
Asked by `policy` for every message in either direction. Pure: no clock, no I/O; what is
kept between two questions is kept for speed only.
"""

from collections.abc import Sequence
from typing import Protocol

from openmcp.mcp import methods
from openmcp.mcp.methods import Subject
from openmcp.model.agent import Agent
from openmcp.model.decision import Decision, Effect, Explanation
from openmcp.model.facts import AgentFacts, DecisionInput, McpFacts, ServerFacts, ToolFacts
from openmcp.model.server import Server
from openmcp.policy import explaining, verdicts
from openmcp.policy.conditions import ARGUMENTS, NOTHING
from openmcp.policy.question import Question
from openmcp.policy.rules import Rule
from openmcp.policy.view import Case, View

_VIEWS = 20_000
_DECISIONS_PER_VIEW = 5_000
_DECISIONS = 50_000
"""Views and decisions kept per snapshot: names are chosen by strangers, so what is full is emptied."""

_LONGEST = 256
"""Characters of a name or method whose decision is kept; none that is in use is longer."""


class Asked(Protocol):
    """What more can be known of a message than its method and subject; asked only where rules look at it."""

    def tool(self) -> ToolFacts:
        """Return the definition of what is used."""
        ...

    def input(self, agent: AgentFacts, server: ServerFacts) -> DecisionInput:
        """Return all that a decision may look at."""
        ...


class PolicyEngine:
    """Decides under the rules of one snapshot."""

    def __init__(self, rules: Sequence[Rule], *, revision: str) -> None:
        self.rules = tuple(rules)
        self.revision = revision
        """That of the snapshot; stands in each decision."""

        self.reads = frozenset[str]().union(*(rule.conditions.reads for rule in self.rules))
        """Groups of variables that any condition looks at, `session.calls` and `session.id` by themselves."""

        self._views: dict[tuple[str, str], View] = {}
        self._kept = 0

    def decide(
        self,
        agent: Agent,
        server: Server,
        *,
        method: str,
        subject: Subject | None = None,
        asked: Asked | None = None,
        knows_arguments: bool = True,
    ) -> Decision:
        """Return the decision on `method` about `subject`; without `asked`, as if nothing more were there to know.

        Where the arguments are not known (any more), it is allowed if some arguments could be.
        """
        view = self._view(agent, server)
        case = self._case(view, method, subject, asked)
        if case.decision is not None:
            return case.decision
        question = _question(view, method, subject, asked)
        unknown = _unknown(method, subject) if knows_arguments else ARGUMENTS
        decision = verdicts.conclude(view, case, question, revision=self.revision, unknown=unknown)
        if not case.open:
            case.decision = decision
        return decision

    def shows(self, agent: Agent, server: Server, *, method: str, subject: Subject, asked: Asked | None = None) -> bool:
        """Whether some use of `subject` could be allowed or approved, whatever the arguments."""
        view = self._view(agent, server)
        case = self._case(view, method, subject, asked)
        if case.shown is not None:
            return case.shown
        unknown = ARGUMENTS if _unknown(method, subject) or _has_arguments(subject) else NOTHING
        shown = verdicts.could(view, case, _question(view, method, subject, asked), unknown=unknown)
        if all(rule.conditions.reads.isdisjoint(_OF_MOMENTS_ALONE) for rule in case.open):
            case.shown = shown
        return shown

    def decide_on(self, given: DecisionInput) -> Decision:
        """Return the decision on a written or recorded input."""
        agent, server = given.agent.agent(), given.server.server()
        return self.decide(agent, server, method=given.mcp.method, subject=given.mcp.subject, asked=Given(given))

    def explain(self, given: DecisionInput) -> Explanation:
        """Return the decision on an input, with every rule and why it matched or not."""
        return explaining.explain(self.rules, given, self.decide_on(given), unknown=_unknown_of(given))

    def access(self, agent: Agent, server: Server) -> Decision:
        """Return the decision on using the server at all; all rules about what comes back apply."""
        view = self._view(agent, server)
        effect = Effect.ALLOW if view.may_use else Effect.DENY
        return Decision(effect, None, revision=self.revision, response_rules=view.content)

    def may_use(self, agent: Agent, server: Server) -> bool:
        """Whether anything on the server could be allowed to the agent."""
        return self._view(agent, server).may_use

    def _case(self, view: View, method: str, subject: Subject | None, asked: Asked | None) -> Case:
        key: object = (method, subject)
        is_kept = len(method) <= _LONGEST and (subject is None or len(subject.name) <= _LONGEST)
        if view.reads_tool and asked is not None:
            # The same name may stand for another definition tomorrow; of one without a digest nothing is kept.
            tool = asked.tool()
            key, is_kept = (method, subject, tool.digest, tool.pinned), is_kept and bool(tool.digest)
        case = view.cases.get(key) if is_kept else None
        if case is None:
            case = view.case(method, subject, _question(view, method, subject, asked))
            if is_kept:
                self._keep(view, key, case)
        return case

    def _keep(self, view: View, key: object, case: Case) -> None:
        if len(view.cases) >= _DECISIONS_PER_VIEW:
            view.cases.clear()
        if self._kept >= _DECISIONS:
            self._views.clear()
            self._kept = 0
        view.cases[key] = case
        self._kept += 1

    def _view(self, agent: Agent, server: Server) -> View:
        key = (agent.principal.binding, server.name)
        view = self._views.get(key)
        # The same principal may come back with other attributes: a new token with other groups.
        if view is None or not ((view.agent is agent and view.server is server) or view.is_of(agent, server)):
            if len(self._views) >= _VIEWS:
                self._views.clear()
            view = View(agent, server, self.rules)
            self._views[key] = view
        return view


class Given:
    """An input that is there already."""

    def __init__(self, given: DecisionInput) -> None:
        self._given = given

    def tool(self) -> ToolFacts:
        """Return the definition of what is used."""
        return self._given.tool

    def input(self, agent: AgentFacts, server: ServerFacts) -> DecisionInput:
        """Return it as it is."""
        return self._given


_: type[Asked] = Given

_OF_MOMENTS_ALONE = frozenset({"request", "session", "now"})


def _question(view: View, method: str, subject: Subject | None, asked: Asked | None) -> Question:
    if asked is None:
        return view.question(McpFacts.of(method, subject))
    return Question(asked.input(*view.facts))


def _has_arguments(subject: Subject) -> bool:
    return subject.kind is not methods.SubjectKind.RESOURCE


def _unknown(method: str, subject: Subject | None) -> frozenset[str]:
    """Return what is not known yet when something is asked for: while it is completed, the arguments."""
    is_completing = method == methods.COMPLETION_COMPLETE and subject is not None and _has_arguments(subject)
    return ARGUMENTS if is_completing else NOTHING


def _unknown_of(given: DecisionInput) -> frozenset[str]:
    return _unknown(given.mcp.method, given.mcp.subject)
