"""What one agent may do on one server: the rules that attach, and the cases that were met so far.

A case is one method about one thing. What can be said of it once and for all is said once;
what hangs on arguments, session, request or time is asked again for every message.
"""

from collections.abc import Iterable, Sequence

from openmcp.mcp import methods
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent
from openmcp.model.content import Phase
from openmcp.model.decision import Decision, Effect, Verdict
from openmcp.model.facts import AgentFacts, DecisionInput, McpFacts, ServerFacts
from openmcp.model.server import Server
from openmcp.policy.conditions import OF_MESSAGES, OF_MOMENTS, OF_RESPONSES, Settled
from openmcp.policy.index import Index
from openmcp.policy.question import Question
from openmcp.policy.rules import Rule

_OPEN_GROUPS = frozenset({methods.Group.PROTOCOL, methods.Group.LIST})
"""Allowed to every agent to whom anything on the server could be allowed, unless a rule names them.

Lists and subscriptions are among them because they are filtered entry by entry.
"""


class Case:
    """One method about one thing, for one agent on one server."""

    __slots__ = ("decision", "is_open", "method", "open", "settled", "shown", "subject")

    def __init__(self, method: str, subject: Subject | None, *, is_open: bool) -> None:
        self.method = method
        self.subject = subject
        self.is_open = is_open
        """Whether it is the protocol's own, which nobody has to allow."""

        self.settled: list[tuple[Rule, Settled]] = []
        self.open: list[Rule] = []
        """Rules that have to be asked for each message."""

        self.decision: Decision | None = None
        """What was decided, where nothing is open."""

        self.shown: bool | None = None
        """Whether lists show it, where that hangs on nothing but names."""


class View:
    """What one agent may do on one server."""

    def __init__(self, agent: Agent, server: Server, rules: Iterable[Rule]) -> None:
        self.agent = agent
        self.server = server
        self.facts = (AgentFacts.of(agent), ServerFacts.of(server))
        nothing = self.question(McpFacts(""))
        # A condition on the agent that fails here fails for every message.
        attached = [rule for rule in rules if rule.attaches(agent, server) and not _is_idle(rule, nothing)]
        self.rules: Sequence[Rule] = tuple(attached)
        self.may_use = _may_use(server, self.rules, nothing)
        self.cases: dict[object, Case] = {}
        self.reads_tool = any("tool" in rule.conditions.reads for rule in attached)
        self.content = tuple(
            rule.content for rule in attached if rule.content is not None and rule.phase is not Phase.CALL
        )
        """All rules about what comes back: those that apply where nobody knows what it answers."""

        self._index = Index([rule for rule in attached if rule.phase is not Phase.LIST])
        self._of_lists = [rule for rule in attached if rule.phase is Phase.LIST]

    def is_of(self, agent: Agent, server: Server) -> bool:
        """Whether it was made for just these, as they were read from some configuration."""
        return (self.agent is agent or self.agent == agent) and (self.server is server or self.server == server)

    def question(self, mcp: McpFacts) -> Question:
        """Return a question of which agent, server and `mcp` are all that is known."""
        return Question(DecisionInput(agent=self.facts[0], server=self.facts[1], mcp=mcp))

    def case(self, method: str, subject: Subject | None, asked: Question) -> Case:
        """Return what can be said of every message of `method` about `subject`."""
        # Of a subscription, the whole is open and each part is asked for by itself.
        case = Case(method, subject, is_open=is_open_method(method) and subject is None)
        listing = methods.listing(method)
        of_lists = [rule for rule in self._of_lists if listing is not None and looks_into(rule, method, listing.kind)]
        for rule in (*self._index.about(method, subject), *of_lists):
            if not speaks_of(rule, method, is_open=case.is_open):
                continue
            if rule.conditions.reads.isdisjoint(OF_MOMENTS):
                case.settled.append((rule, rule.conditions.settle(asked, widens=rule.widens, unknown=OF_RESPONSES)))
            else:
                case.open.append(rule)
        return case


def is_default_allow(view: View, case: Case) -> bool:
    """Whether a message is allowed of which no rule speaks."""
    if case.is_open:
        return view.may_use
    return view.server.is_default_allow and not _must_be_named(case.method)


def _is_idle(rule: Rule, nothing: Question) -> bool:
    if rule.conditions.are_none:
        return False
    return rule.conditions.settle(nothing, widens=rule.widens, unknown=OF_MESSAGES).verdict is Verdict.NOT_MATCHED


def _may_use(server: Server, rules: Sequence[Rule], nothing: Question) -> bool:
    enforced = [rule for rule in rules if rule.effect is not None and not rule.is_shadow]
    for rule in enforced:
        if rule.effect is Effect.DENY and rule.match.is_everything and _is_certain(rule, nothing):
            return False
    return server.is_default_allow or any(rule.effect is not Effect.DENY for rule in enforced)


def _is_certain(rule: Rule, nothing: Question) -> bool:
    settled = rule.conditions.settle(nothing, widens=rule.widens, unknown=OF_MESSAGES)
    return settled.verdict in (Verdict.MATCHED, Verdict.BY_ERROR)


def is_open_method(method: str) -> bool:
    """Whether it is the protocol's own, open to whoever may use anything."""
    known = methods.lookup(method)
    return known is not None and (known.group in _OPEN_GROUPS or method == methods.SUBSCRIPTIONS_LISTEN)


def speaks_of(rule: Rule, method: str, *, is_open: bool) -> bool:
    """Whether a rule that covers a message speaks of it: the protocol's own, and what nobody knows, must be named."""
    if rule.content is not None:
        return True
    if is_open and not rule.match.names_methods_only:
        return False
    return rule.effect is Effect.DENY or rule.match.names_methods_only or not _must_be_named(method)


def looks_into(rule: Rule, method: str, kind: SubjectKind) -> bool:
    """Whether a rule about definitions is about lists of this kind."""
    match = rule.match
    return (match.methods is None or match.methods(method)) and (not match.subjects or kind in match.subjects)


def _must_be_named(method: str) -> bool:
    """Whether only a rule that names the method allows it.

    A method that nobody knows is a hole in every rule about known ones; and tasks are not bound to the agent that
    began them, so that whoever allows them has to mean it.
    """
    known = methods.lookup(method)
    return known is None or known.group is methods.Group.TASK


def knows_arguments(method: str, subject: Subject | None) -> bool:
    """Whether the arguments are all there when something is asked for: resources have none, completions not yet."""
    if subject is not None and subject.kind is SubjectKind.RESOURCE:
        return True
    return method != methods.COMPLETION_COMPLETE
