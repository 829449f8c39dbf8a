"""Lists and calls agree, and no error, no deny and no shadow ever widens access: over generated policies and calls."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmcp.config.snapshot import AgentSelectorSpec, ArgumentSpec, PolicySpec, Regex, RuleSpec, ServerSelectorSpec
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.decision import Effect, Verdict
from openmcp.model.facts import DecisionInput, ToolFacts
from openmcp.policy.engine import Given, PolicyEngine
from tests.unit.policy.made import asks, engine, policy, rule

NAMES = ["read", "read_all", "write", "a/b", "ticket://T-1", "ticket://T-1/x"]
PATTERNS = st.sampled_from(
    ["read", "read*", "*", "**", "write", "a/*", "ticket://**", "ticket://*", Regex("^read"), Regex("e$")]
)
USES = {"tool": "tools/call", "prompt": "prompts/get", "resource": "resources/read"}
FIXED = [
    "'staff' in agent.groups",
    "agent.trust == 'token'",
    "mcp.name == 'read' || mcp.uri == 'ticket://T-1'",
    "agent.labels.missing == 'x'",
    "server.name == 'desk'",
    "tool.pinned",
    "tool.declared.?readOnlyHint.orValue(false) == true",
]
MOMENTS = ["now.getHours() < 12", "request.ip == '10.1.2.3'", "session.calls < 3", "request.headers.team == 'a'"]
LOOKING = [
    "args.n > 1",
    "has(args.n)",
    "args.?n.orValue(0) == 0",
    "args.s.startsWith('x')",
    "args.n > 1 || agent.name == 'bot'",
]
TESTS = st.builds(
    ArgumentSpec,
    st.sampled_from(["$.n", "$.s", "$.l[*]", "$"]),
    st.sampled_from([(1,), (0, 2), ("x",), (True,), ("x", 1)]),
) | st.builds(lambda path: ArgumentSpec(path, None, "^x"), st.sampled_from(["$.s", "$.l[*]"]))
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "n": st.sampled_from([0, 1, 2, "2", None, 2**70, 1.5, True]),
        "s": st.sampled_from(["x", "xy", "y", "", 1, None, ["x"], "\ud800"]),
        "l": st.lists(st.sampled_from([1, "x", "y", None]), max_size=3),
    },
)


def rules(conditions: list[str], *, with_arguments: bool) -> st.SearchStrategy[RuleSpec]:
    kinds = st.sampled_from(["tools", "prompts", "resources"])
    match = st.dictionaries(kinds, st.lists(PATTERNS, min_size=1, max_size=2), max_size=2)
    terms = st.lists(st.sampled_from(conditions), max_size=2)
    return st.builds(
        lambda effect, match, when, unless, arguments, shadow: rule(
            effect, when=when, unless=unless, arguments=arguments, shadow=shadow, **match
        ),
        st.sampled_from(["allow", "deny", "require-approval"]),
        match,
        terms,
        terms,
        st.lists(TESTS, max_size=1) if with_arguments else st.just([]),
        st.sampled_from([False, False, False, True]),
    )


def policies(conditions: list[str], *, with_arguments: bool) -> st.SearchStrategy[PolicySpec]:
    return st.builds(
        lambda listed, servers, agents: policy("g", *listed, servers=servers, agents=agents),
        st.lists(rules(conditions, with_arguments=with_arguments), min_size=1, max_size=4),
        st.sampled_from(
            [
                ServerSelectorSpec(),
                ServerSelectorSpec(names=("desk",)),
                ServerSelectorSpec(labels={"stage": "prod"}),
                ServerSelectorSpec(names=("other",)),
            ]
        ),
        st.sampled_from(
            [
                None,
                AgentSelectorSpec(groups=frozenset({"staff"})),
                AgentSelectorSpec(names=("b*",)),
                AgentSelectorSpec(groups=frozenset({"nobody"})),
            ]
        ),
    )


EVERYTHING = st.lists(policies([*FIXED, *MOMENTS, *LOOKING], with_arguments=True), max_size=3)
INPUTS = st.builds(
    lambda kind, name, arguments, tool, default: asks(
        name, arguments, kind=kind, method=USES[kind], tool=tool, default_allow=default
    ),
    st.sampled_from(["tool", "prompt", "resource"]),
    st.sampled_from(NAMES),
    ARGUMENTS,
    st.builds(
        ToolFacts,
        st.just("t"),
        st.sampled_from(["a", "b"]),
        st.booleans(),
        st.sampled_from([{}, {"readOnlyHint": True}]),
    ),
    st.booleans(),
)


def shown(by: PolicyEngine, asked: DecisionInput) -> bool:
    subject = asked.mcp.subject
    assert subject is not None
    agent, server = asked.agent.agent(), asked.server.server()
    return by.shows(agent, server, method=asked.mcp.method, subject=subject, asked=Given(asked))


@given(EVERYTHING, INPUTS, ARGUMENTS)
@settings(max_examples=200, deadline=None)
def test_what_any_call_could_use_is_in_the_list(given_: list[PolicySpec], asked: DecisionInput, other: Any) -> None:
    by = engine(*given_)
    listed = shown(by, msgspec.structs.replace(asked, args={}))
    is_resource = asked.mcp.kind == "resource"
    for arguments in [{}] if is_resource else [asked.args, other]:
        if by.decide_on(msgspec.structs.replace(asked, args=arguments)).is_allowed:
            assert listed


@given(st.lists(policies([*FIXED, *MOMENTS], with_arguments=False), max_size=3), INPUTS)
@settings(max_examples=150, deadline=None)
def test_where_no_rule_looks_at_arguments_list_and_call_are_the_same(
    given_: list[PolicySpec], asked: DecisionInput
) -> None:
    by = engine(*given_)
    assert by.decide_on(asked).is_allowed is shown(by, asked)


@given(EVERYTHING, INPUTS)
@settings(max_examples=80, deadline=None)
def test_a_resource_has_no_arguments_so_its_list_is_exact(given_: list[PolicySpec], asked: DecisionInput) -> None:
    by = engine(*given_)
    asked = msgspec.structs.replace(
        asked, args={}, mcp=asks("ticket://T-1", kind="resource", method="resources/read").mcp
    )
    assert by.decide_on(asked).is_allowed is shown(by, asked)


@given(EVERYTHING, INPUTS, INPUTS)
@settings(max_examples=80, deadline=None)
def test_what_was_asked_before_changes_nothing(
    given_: list[PolicySpec], first: DecisionInput, asked: DecisionInput
) -> None:
    used = engine(*given_)
    for before in (first, asked, first):
        used.decide_on(before)
        shown(used, before)
    fresh = engine(*given_)
    left, right = used.decide_on(asked), fresh.decide_on(asked)
    assert (left.effect, left.matched, left.would) == (right.effect, right.matched, right.would)
    assert shown(used, asked) is shown(fresh, asked)


@given(EVERYTHING, INPUTS, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_neither_order_nor_level_changes_a_decision(
    given_: list[PolicySpec], asked: DecisionInput, chance: Any
) -> None:
    before = engine(*given_).decide_on(asked)
    mixed = [
        policy(one.name, *chance.sample(one.rules, len(one.rules)), servers=one.servers, agents=one.agents)
        for one in given_
    ]
    chance.shuffle(mixed)
    after = engine(*mixed).decide_on(asked)
    assert (before.effect, sorted(map(str, before.matched))) == (after.effect, sorted(map(str, after.matched)))


@given(EVERYTHING, policies([*FIXED, *MOMENTS, *LOOKING], with_arguments=True), INPUTS)
@settings(max_examples=80, deadline=None)
def test_a_rule_in_shadow_changes_nothing(given_: list[PolicySpec], more: PolicySpec, asked: DecisionInput) -> None:
    shadow = policy(
        "s", *(replace(one, is_shadow=True) for one in more.rules), servers=more.servers, agents=more.agents
    )
    before, after = engine(*given_).decide_on(asked), engine(*given_, shadow).decide_on(asked)
    assert (before.effect, before.rule, before.matched) == (after.effect, after.rule, after.matched)
    assert shown(engine(*given_), asked) is shown(engine(*given_, shadow), asked)


@given(EVERYTHING, INPUTS)
@settings(max_examples=80, deadline=None)
def test_the_explanation_says_what_the_decision_says(given_: list[PolicySpec], asked: DecisionInput) -> None:
    by = engine(*given_)
    explained = by.explain(asked)
    holding = {
        (line.rule, line.is_shadow) for line in explained.rules if line.verdict in (Verdict.MATCHED, Verdict.BY_ERROR)
    }
    decision = by.decide_on(asked)
    assert {rule for rule, is_shadow in holding if not is_shadow} == set(decision.matched)
    assert {rule for rule, is_shadow in holding if is_shadow} == {rule for rule, _ in decision.would}
    assert len(explained.rules) == sum(len(one.rules) for one in given_)


@pytest.mark.parametrize("kind", list(SubjectKind))
def test_an_error_never_widens_access(kind: SubjectKind) -> None:
    """Each condition that cannot be evaluated is taken against the agent, wherever it stands."""
    for field in ("when", "unless"):
        broken: dict[str, Any] = {
            field: ["args.amount > 5" if kind is not SubjectKind.RESOURCE else "agent.labels.no == 'x'"]
        }
        asked = asks("x", {"amount": "9"}, kind=kind.value, method=USES[kind.value])
        assert engine(rule("allow", **broken)).decide_on(asked).effect is Effect.DENY
        for strict in ("deny", "require-approval"):
            decision = engine(rule("allow", "open"), rule(strict, "strict", **broken)).decide_on(asked)
            assert decision.effect.label == strict
            (line,) = decision.considered
            assert line.verdict is Verdict.BY_ERROR
            assert line.because == f"{field}[0]"


def test_a_subject_is_shown_only_by_its_own_kind() -> None:
    by = engine(rule("allow", tools=["read"]))
    asked = asks("read", kind="prompt", method="prompts/get")
    assert not shown(by, asked)
    assert asked.mcp.subject == Subject(SubjectKind.PROMPT, "read")
