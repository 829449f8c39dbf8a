"""Why a decision came out as it did: every rule of the snapshot, and what came of it. Not in the path of exchanges."""

from collections.abc import Iterable

from openmcp.mcp import methods
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent
from openmcp.model.content import Phase
from openmcp.model.decision import Decision, Explanation, Verdict
from openmcp.model.facts import DecisionInput
from openmcp.model.server import Server
from openmcp.policy.conditions import OF_RESPONSES, Settled
from openmcp.policy.question import Question
from openmcp.policy.rules import Match, Rule
from openmcp.policy.verdicts import considered
from openmcp.policy.view import is_open_method, looks_into, speaks_of

_LISTS = {SubjectKind.TOOL: "tools", SubjectKind.PROMPT: "prompts", SubjectKind.RESOURCE: "resources"}


def explain(rules: Iterable[Rule], given: DecisionInput, decision: Decision, *, unknown: frozenset[str]) -> Explanation:
    """Return the decision on an input with every rule, in the order of the files."""
    question = Question(given)
    agent, server = given.agent.agent(), given.server.server()
    lines = tuple(
        considered(rule, _found(rule, question, agent=agent, server=server, unknown=unknown)) for rule in rules
    )
    return Explanation(input=given, decision=decision, rules=lines)


def _found(rule: Rule, question: Question, *, agent: Agent, server: Server, unknown: frozenset[str]) -> Settled:
    if not rule.servers.selects(server):
        return Settled(Verdict.NOT_ATTACHED, "servers")
    missing = rule.agents.missing(agent) if rule.agents is not None else ""
    if missing:
        return Settled(Verdict.NOT_ATTACHED, f"agents.{missing}")
    method, subject = question.asked.mcp.method, question.asked.mcp.subject
    uncovered = _uncovered(rule, method, subject)
    if uncovered:
        return Settled(Verdict.NOT_MATCHED, uncovered)
    return rule.conditions.settle(question, widens=rule.widens, unknown=unknown | OF_RESPONSES)


def _uncovered(rule: Rule, method: str, subject: Subject | None) -> str:
    """Return the part of a rule that says that it does not speak of a message; empty if it does."""
    if rule.phase is Phase.LIST:
        listing = methods.listing(method)
        return "" if listing is not None and looks_into(rule, method, listing.kind) else "phase"
    if rule.match.methods is not None and not rule.match.methods(method):
        return "match.methods"
    if not rule.match.names_subject(subject):
        return f"match.{_of_kind(rule.match, subject)}"
    if not speaks_of(rule, method, is_open=is_open_method(method) and subject is None):
        # What the protocol needs, and what nobody knows, is the matter of rules that name methods and nothing else.
        return "match.methods"
    return ""


def _of_kind(match: Match, subject: Subject | None) -> str:
    if subject is not None and subject.kind in match.subjects:
        return _LISTS[subject.kind]
    return "/".join(name for kind, name in _LISTS.items() if kind in match.subjects)
