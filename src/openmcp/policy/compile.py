"""Turns the policies of a snapshot into rules. Called by the runtime once per snapshot."""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from openmcp.config.snapshot import (
    AgentSelectorSpec,
    ArgumentSpec,
    MatchSpec,
    Pattern,
    PolicySpec,
    RuleSpec,
    ServerSelectorSpec,
)
from openmcp.language import patterns
from openmcp.language.expressions import Answer, compile_expression
from openmcp.language.globs import Names, compile_globs, compile_names
from openmcp.language.paths import compile_path
from openmcp.mcp.message import Json
from openmcp.mcp.methods import SubjectKind
from openmcp.model.decision import ApprovalNeeded, RuleRef
from openmcp.policy.conditions import NO_CONDITIONS, ArgumentTest, Conditions
from openmcp.policy.rules import AgentSelector, Match, Rule, ServerSelector


def compile_policies(policies: Iterable[PolicySpec]) -> tuple[Rule, ...]:
    """Return the rules of all policies, in the order in which they stand there.

    Raises: ValueError for what no snapshot that was loaded holds: it was tried then.
    """
    return tuple(rule for policy in policies for rule in _rules(policy))


def _rules(policy: PolicySpec) -> Iterable[Rule]:
    servers = _servers(policy.servers)
    agents = _agents(policy.agents) if policy.agents is not None else None
    for spec in policy.rules:
        ref = RuleRef(policy.name, spec.id)
        yield Rule(
            ref=ref,
            effect=spec.effect,
            match=_match(spec.match),
            servers=servers,
            agents=agents,
            reason=spec.reason,
            is_shadow=spec.is_shadow,
            conditions=_conditions(spec),
            approval=_approval(ref, spec),
            content=spec.content,
            phase=spec.phase,
        )


def _conditions(spec: RuleSpec) -> Conditions:
    if not (spec.match.arguments or spec.when or spec.unless):
        return NO_CONDITIONS
    return Conditions(
        arguments=tuple(map(_argument, spec.match.arguments)),
        when=tuple(map(compile_expression, spec.when)),
        unless=tuple(map(compile_expression, spec.unless)),
    )


def _approval(ref: RuleRef, spec: RuleSpec) -> ApprovalNeeded | None:
    asked = spec.approval
    if asked is None:
        return None
    return ApprovalNeeded(ref, asked.flow, asked.ttl_s, asked.scope, asked.max_uses, spec.reason, _digest(spec))


def _digest(spec: RuleSpec) -> str:
    """Return a digest of all that the rule says. Specs are plain values, so that equal ones look equal."""
    return hashlib.sha256(repr(spec).encode()).hexdigest()[:32]


def _argument(spec: ArgumentSpec) -> ArgumentTest:
    holds = _matches(spec.regex) if spec.regex is not None else _is_among(spec.values or ())
    return ArgumentTest(compile_path(spec.path), holds)


def _matches(regex: str) -> Callable[[Json], Answer]:
    is_found = patterns.search(regex)

    def holds(value: Json) -> Answer:
        if not isinstance(value, str):
            return "the value is no text"
        try:
            return is_found(value)
        except UnicodeEncodeError:
            return "the value holds half of a surrogate pair"

    return holds


def _is_among(values: Sequence[Json]) -> Callable[[Json], Answer]:
    kinds = frozenset(map(_kind, values))

    def holds(value: Json) -> Answer:
        if _kind(value) not in kinds:
            # A lenient server may read "9" as 9, and ["a"] as "a": nobody knows which this one is.
            return "the value is of another kind than those listed"
        return any(value == listed and _kind(listed) == _kind(value) for listed in values)

    return holds


def _kind(value: Json) -> str:
    """Return what a value is in JSON; `True` is no number here."""
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _match(spec: MatchSpec) -> Match:
    given = {
        SubjectKind.TOOL: spec.tools,
        SubjectKind.PROMPT: spec.prompts,
        SubjectKind.RESOURCE: spec.resources,
    }
    return Match(
        subjects={kind: _names(listed) for kind, listed in given.items() if listed is not None},
        methods=_names(spec.methods) if spec.methods is not None else None,
    )


def _names(listed: Sequence[Pattern]) -> Names:
    globs = [pattern for pattern in listed if isinstance(pattern, str)]
    return compile_names(globs, [pattern.text for pattern in listed if not isinstance(pattern, str)])


def _servers(spec: ServerSelectorSpec) -> ServerSelector:
    return ServerSelector(names=frozenset(spec.names) if spec.names is not None else None, labels=spec.labels)


def _agents(spec: AgentSelectorSpec) -> AgentSelector:
    return AgentSelector(
        names=compile_globs(spec.names) if spec.names is not None else None,
        ids=compile_globs(spec.ids) if spec.ids is not None else None,
        groups=spec.groups,
        labels=spec.labels,
        sources=spec.sources,
        min_trust=spec.min_trust,
    )
