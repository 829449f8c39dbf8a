"""Rules, inputs and engines for the tests of this folder, written as policies are."""

from collections.abc import Sequence
from typing import Any

from openmcp.config.snapshot import (
    AgentSelectorSpec,
    ApprovalSpec,
    ArgumentSpec,
    MatchSpec,
    PolicySpec,
    RuleSpec,
    ServerSelectorSpec,
)
from openmcp.model.agent import Trust
from openmcp.model.decision import Effect
from openmcp.model.facts import AgentFacts, DecisionInput, McpFacts, RequestFacts, ServerFacts, SessionFacts, ToolFacts
from openmcp.policy.compile import compile_policies
from openmcp.policy.engine import PolicyEngine

NOW = 1_795_428_000.0  # 2026-11-23T10:00:00Z
EFFECTS = {effect.label: effect for effect in Effect}


def rule(
    effect: str,
    id: str = "",
    *,
    when: Sequence[str] = (),
    unless: Sequence[str] = (),
    arguments: Sequence[ArgumentSpec] = (),
    reason: str = "",
    shadow: bool = False,
    **match: Any,
) -> RuleSpec:
    """A rule; `tools=`, `prompts=`, `resources=`, `methods=` as in `match`."""
    approval = ApprovalSpec("leads", 1800.0, "agent+tool") if effect == "require-approval" else None
    given: dict[str, Any] = {kind: tuple(names) for kind, names in match.items()}
    return RuleSpec(
        id or effect,
        EFFECTS[effect],
        MatchSpec(arguments=tuple(arguments), **given),
        reason=reason,
        is_shadow=shadow,
        when=tuple(when),
        unless=tuple(unless),
        approval=approval,
    )


def policy(
    name: str,
    *rules: RuleSpec,
    servers: ServerSelectorSpec | None = None,
    agents: AgentSelectorSpec | None = None,
) -> PolicySpec:
    return PolicySpec(name, rules, servers or ServerSelectorSpec(), agents)


def engine(*given: RuleSpec | PolicySpec) -> PolicyEngine:
    """An engine of these policies; single rules are one policy `p`."""
    alone = tuple(one for one in given if isinstance(one, RuleSpec))
    policies = [one for one in given if isinstance(one, PolicySpec)]
    return PolicyEngine(compile_policies([policy("p", *alone), *policies]), revision="1")


def asks(
    name: str = "read",
    arguments: Any = None,
    *,
    method: str = "tools/call",
    kind: str = "tool",
    groups: Sequence[str] = ("staff",),
    trust: Trust = Trust.TOKEN,
    tool: ToolFacts | None = None,
    default_allow: bool = False,
    headers: dict[str, str] | None = None,
    session: SessionFacts | None = None,
    now: float = NOW,
    server: str = "desk",
    attributes: dict[str, Any] | None = None,
) -> DecisionInput:
    """What an agent asks."""
    uri = name if kind == "resource" else ""
    return DecisionInput(
        agent=AgentFacts(
            "jwt:corp:bot", "bot", tuple(sorted(groups)), {"tier": "prod"}, attributes or {}, "corp", trust.label
        ),
        server=ServerFacts(server, {"stage": "prod"}, default_allow),
        mcp=McpFacts(method, kind, "" if uri else name if kind else "", uri, "2026-07-28"),
        tool=tool or ToolFacts(name),
        args={} if arguments is None else arguments,
        request=RequestFacts("10.1.2.3", headers or {}),
        session=session or SessionFacts(),
        now=now,
    )
