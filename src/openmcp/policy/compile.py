"""Turns the policies of a snapshot into rules. Called by the runtime once per snapshot."""

from collections.abc import Iterable

from openmcp.config.snapshot import AgentSelectorSpec, MatchSpec, PolicySpec, ServerSelectorSpec
from openmcp.language.globs import compile_globs
from openmcp.mcp.methods import SubjectKind
from openmcp.model.decision import RuleRef
from openmcp.policy.rules import AgentSelector, Match, Rule, ServerSelector


def compile_policies(policies: Iterable[PolicySpec]) -> tuple[Rule, ...]:
    """Return the rules of all policies, in the order in which they stand there."""
    return tuple(
        Rule(
            ref=RuleRef(policy.name, rule.id),
            effect=rule.effect,
            match=_match(rule.match),
            servers=_servers(policy.servers),
            agents=_agents(policy.agents) if policy.agents is not None else None,
            reason=rule.reason,
            is_shadow=rule.is_shadow,
        )
        for policy in policies
        for rule in policy.rules
    )


def _match(spec: MatchSpec) -> Match:
    given = {
        SubjectKind.TOOL: spec.tools,
        SubjectKind.PROMPT: spec.prompts,
        SubjectKind.RESOURCE: spec.resources,
    }
    return Match(
        subjects={kind: compile_globs(globs) for kind, globs in given.items() if globs is not None},
        methods=compile_globs(spec.methods) if spec.methods is not None else None,
    )


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
