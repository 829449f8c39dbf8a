"""Policies as the policy stage takes them: selectors and globs, still uncompiled."""

from collections.abc import Mapping

from openmcp.config import values
from openmcp.config.compile.content import compile_content
from openmcp.config.resources import PolicyDocument
from openmcp.config.resources import policy as written
from openmcp.config.resources.base import MatchLabels
from openmcp.config.resources.policy import AgentSelector, Approval, Match, PolicySettings, Rule
from openmcp.config.snapshot import (
    AgentSelectorSpec,
    ApprovalSpec,
    ArgumentSpec,
    MatchSpec,
    Pattern,
    PolicySpec,
    Regex,
    RuleSpec,
    ServerSelectorSpec,
)
from openmcp.model.agent import Trust
from openmcp.model.content import Detect, Phase
from openmcp.model.decision import Effect

_EFFECTS = {effect.label: effect for effect in Effect}


def compile_policy(document: PolicyDocument, detectors: Mapping[str, Detect]) -> PolicySpec:
    """Return the policy with the mode of each rule settled; `detectors`: what each `Detector` looks for."""
    spec = document.spec
    return PolicySpec(
        name=document.metadata.name,
        rules=tuple(_rule(rule, document, detectors) for rule in spec.rules),
        servers=_servers(spec),
        agents=None if spec.agents is None else _agents(spec.agents),
    )


def _servers(spec: PolicySettings) -> ServerSelectorSpec:
    if isinstance(spec.servers, MatchLabels):
        return ServerSelectorSpec(labels=spec.servers.match_labels)
    return ServerSelectorSpec(names=spec.servers)


def _agents(agents: AgentSelector) -> AgentSelectorSpec:
    return AgentSelectorSpec(
        names=agents.names,
        ids=agents.ids,
        groups=None if agents.groups is None else frozenset(agents.groups),
        labels=agents.labels,
        sources=None if agents.sources is None else frozenset(agents.sources),
        min_trust=Trust.ANONYMOUS if agents.min_trust is None else Trust.of(agents.min_trust),
    )


def _rule(rule: Rule, document: PolicyDocument, detectors: Mapping[str, Detect]) -> RuleSpec:
    is_shadow = "shadow" in (document.spec.mode, rule.mode)
    content = None
    if rule.content is not None:
        content = compile_content(document.metadata.name, rule, detectors, is_shadow=is_shadow)
    return RuleSpec(
        id=rule.id,
        effect=_EFFECTS[rule.effect] if rule.effect is not None else None,
        match=_match(rule.match or Match.model_construct()),
        reason=rule.reason,
        description=rule.description,
        is_shadow=is_shadow,
        when=rule.when or (),
        unless=rule.unless or (),
        approval=None if rule.approval is None else _approval(rule.approval),
        content=content,
        phase=Phase(rule.phase),
    )


def _approval(approval: Approval) -> ApprovalSpec:
    return ApprovalSpec(approval.flow, values.duration_s(approval.ttl), approval.scope, approval.max_uses)


def _match(match: Match) -> MatchSpec:
    return MatchSpec(
        tools=_patterns(match.tools),
        prompts=_patterns(match.prompts),
        resources=_patterns(match.resources),
        methods=_patterns(match.methods),
        arguments=tuple(ArgumentSpec(test.path, test.in_, test.regex) for test in match.arguments or ()),
    )


def _patterns(patterns: tuple[str | written.Regex, ...] | None) -> tuple[Pattern, ...] | None:
    if patterns is None:
        return None
    return tuple(pattern if isinstance(pattern, str) else Regex(pattern.regex) for pattern in patterns)
