"""The decision: strictest effect wins, levels never change precedence, lists and calls agree."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmcp.language.globs import compile_globs
from openmcp.mcp import methods
from openmcp.mcp.message import result
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent, Principal, Trust
from openmcp.model.decision import Effect, RuleRef
from openmcp.model.server import Authentication, Server
from openmcp.policy.engine import PolicyEngine
from openmcp.policy.listing import filter_list
from openmcp.policy.rules import AgentSelector, Match, Rule, ServerSelector

EVERYWHERE = ServerSelector()
READ = Subject(SubjectKind.TOOL, "ticket_read")


def agent(name: str = "bot", **attributes: object) -> Agent:
    principal = Principal(id=f"key:keys:{name}", source="keys", method="apiKey", trust=Trust.SHARED_SECRET)
    return Agent(name=name, principal=principal, **attributes)  # type: ignore[arg-type]


def server(name: str = "desk", *, default_allow: bool = False) -> Server:
    return Server(name, f"/{name}", (), Authentication(()), is_default_allow=default_allow)


def rule(
    effect: Effect,
    *,
    tools: Sequence[str] | None = None,
    methods_: Sequence[str] | None = None,
    agents: AgentSelector | None = None,
    servers: ServerSelector = EVERYWHERE,
    shadow: bool = False,
    reason: str = "",
    id: str = "r",
) -> Rule:
    subjects = {SubjectKind.TOOL: compile_globs(tools)} if tools is not None else {}
    match = Match(subjects, compile_globs(methods_) if methods_ is not None else None)
    return Rule(RuleRef("p", id), effect, match, servers, agents, reason, shadow)


def decide(rules: Sequence[Rule], method: str = methods.TOOLS_CALL, subject: Subject | None = READ, **kwargs: object):  # type: ignore[no-untyped-def]
    who = kwargs.get("agent", agent())
    where = kwargs.get("server", server())
    return PolicyEngine(rules, revision="1").decide(who, where, method=method, subject=subject)  # type: ignore[arg-type]


def test_nothing_is_allowed_where_no_rule_matches() -> None:
    decision = decide([])
    assert (decision.effect, decision.rule) == (Effect.DENY, None)


def test_the_server_default_decides_where_no_rule_matches() -> None:
    assert decide([], server=server(default_allow=True)).effect is Effect.ALLOW


@pytest.mark.parametrize("order", [1, -1])
def test_the_strictest_effect_wins_in_any_order(order: int) -> None:
    rules = [
        rule(Effect.ALLOW, tools=["**"], id="wide"),
        rule(Effect.REQUIRE_APPROVAL, tools=["ticket_*"], id="ask"),
        rule(Effect.DENY, tools=["ticket_read"], id="no"),
    ]
    decision = decide(rules[::order])
    assert (decision.effect, str(decision.rule)) == (Effect.DENY, "p/no")
    assert {str(ref) for ref in decision.matched} == {"p/wide", "p/ask", "p/no"}


def test_a_narrow_allow_does_not_beat_a_wide_deny() -> None:
    only_bot = AgentSelector(names=compile_globs(["bot"]))
    rules = [rule(Effect.DENY, tools=["**"]), rule(Effect.ALLOW, tools=["ticket_read"], agents=only_bot)]
    assert decide(rules).effect is Effect.DENY


def test_of_equal_rules_the_one_with_a_reason_decides() -> None:
    rules = [rule(Effect.DENY, id="mute"), rule(Effect.DENY, reason="Ask your lead.", id="kind")]
    assert decide(rules).reason == "Ask your lead."


def test_a_rule_about_tools_does_not_speak_of_other_subjects() -> None:
    rules = [rule(Effect.ALLOW, tools=["**"])]
    prompt = Subject(SubjectKind.PROMPT, "ticket_read")
    assert decide(rules, methods.PROMPTS_GET, prompt).effect is Effect.DENY


def test_a_shadow_rule_is_recorded_and_changes_nothing() -> None:
    decision = decide([rule(Effect.ALLOW, tools=["**"]), rule(Effect.DENY, tools=["**"], shadow=True, id="s")])
    assert decision.effect is Effect.ALLOW
    assert decision.would == ((RuleRef("p", "s"), Effect.DENY),)


@pytest.mark.parametrize("method", [methods.INITIALIZE, methods.PING, methods.TOOLS_LIST, methods.SERVER_DISCOVER])
def test_the_protocol_is_open_to_whoever_may_use_anything(method: str) -> None:
    assert decide([rule(Effect.ALLOW, tools=["x"])], method, None).effect is Effect.ALLOW
    assert decide([], method, None).effect is Effect.DENY


def test_a_rule_that_names_a_protocol_method_decides_it() -> None:
    rules = [rule(Effect.ALLOW, tools=["x"]), rule(Effect.DENY, methods_=["logging/setLevel"])]
    assert decide(rules, methods.LOGGING_SET_LEVEL, None).effect is Effect.DENY


def test_an_unconditional_deny_closes_the_whole_server() -> None:
    engine = PolicyEngine([rule(Effect.ALLOW, tools=["x"]), rule(Effect.DENY)], revision="1")
    assert not engine.may_use(agent(), server())


@pytest.mark.parametrize("method", ["x/unknown", "tools/call2"])
def test_an_unknown_method_needs_a_rule_that_names_it(method: str) -> None:
    assert decide([rule(Effect.ALLOW)], method, None).effect is Effect.DENY
    assert decide([], method, None, server=server(default_allow=True)).effect is Effect.DENY
    assert decide([rule(Effect.ALLOW, methods_=[method])], method, None).effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (AgentSelector(names=compile_globs(["b*"])), True),
        (AgentSelector(names=compile_globs(["c*"])), False),
        (AgentSelector(ids=compile_globs(["key:keys:*"])), True),
        (AgentSelector(groups=frozenset({"support"})), True),
        (AgentSelector(groups=frozenset({"sales"})), False),
        (AgentSelector(labels={"tier": "prod"}), True),
        (AgentSelector(labels={"tier": "dev"}), False),
        (AgentSelector(sources=frozenset({"oidc"})), False),
        (AgentSelector(min_trust=Trust.SHARED_SECRET), True),
        (AgentSelector(min_trust=Trust.TOKEN), False),
        (AgentSelector(names=compile_globs(["b*"]), groups=frozenset({"sales"})), False),
    ],
)
def test_all_keys_of_a_selector_must_hold(selector: AgentSelector, selected: bool) -> None:
    bot = agent("bot", groups=frozenset({"support"}), labels={"tier": "prod"})
    expected = Effect.ALLOW if selected else Effect.DENY
    assert decide([rule(Effect.ALLOW, tools=["**"], agents=selector)], agent=bot).effect is expected


def test_a_policy_reaches_only_the_servers_it_is_attached_to() -> None:
    attached = rule(Effect.ALLOW, tools=["**"], servers=ServerSelector(names=frozenset({"notes"})))
    assert decide([attached]).effect is Effect.DENY
    assert decide([attached], server=server("notes")).effect is Effect.ALLOW


def test_new_attributes_of_a_principal_are_seen_at_once() -> None:
    support = AgentSelector(groups=frozenset({"support"}))
    engine = PolicyEngine([rule(Effect.ALLOW, tools=["**"], agents=support)], revision="1")
    effects = [
        engine.decide(agent("bot", groups=frozenset(groups)), server(), method=methods.TOOLS_CALL, subject=READ).effect
        for groups in (["support"], [], ["support"])
    ]
    assert effects == [Effect.ALLOW, Effect.DENY, Effect.ALLOW]


NAMES = st.sampled_from(["a", "b", "ab", "a/b", "abc"])
GLOBS = st.lists(st.sampled_from(["a", "b", "a*", "*b", "**", "a/**", "a*c"]), min_size=1, max_size=3)
RULES = st.lists(
    st.builds(
        lambda effect, globs, shadow: rule(effect, tools=globs, shadow=shadow),
        st.sampled_from(list(Effect)),
        GLOBS,
        st.booleans(),
    ),
    max_size=5,
)


@given(rules=RULES, names=st.lists(NAMES, max_size=6), default=st.booleans())
@settings(max_examples=300)
def test_a_list_shows_exactly_what_a_call_would_not_deny(rules: list[Rule], names: list[str], default: bool) -> None:
    engine = PolicyEngine(rules, revision="1")
    where = server(default_allow=default)

    def allows(method: str, subject: Subject, entry: object) -> bool:
        return engine.decide(agent(), where, method=method, subject=subject).is_allowed

    page = result(1, {"tools": [{"name": name} for name in names], "nextCursor": "n"})
    listing = methods.listing(methods.TOOLS_LIST)
    assert listing is not None
    filtered, removed = filter_list(page, listing, allows)
    assert filtered.result is not None
    shown = filtered.result["tools"]
    expected = [{"name": name} for name in names if allows(methods.TOOLS_CALL, Subject(SubjectKind.TOOL, name), {})]
    assert (shown, removed, filtered.result["nextCursor"]) == (expected, len(names) - len(expected), "n")


@given(rules=RULES, extra=RULES, name=NAMES)
@settings(max_examples=300)
def test_one_more_deny_never_widens_access(rules: list[Rule], extra: list[Rule], name: str) -> None:
    denies = [rule(Effect.DENY, tools=["a*"]) for _ in extra]
    subject = Subject(SubjectKind.TOOL, name)
    before = decide(rules, subject=subject).effect
    after = decide([*rules, *denies], subject=subject).effect
    assert after >= before


@pytest.mark.parametrize("entry", [{}, {"name": 1}, "text", None, {"title": "x"}])
def test_an_entry_without_a_name_is_not_shown(entry: object) -> None:
    listing = methods.listing(methods.TOOLS_LIST)
    assert listing is not None
    page = result(1, {"tools": [entry]})  # type: ignore[list-item]
    filtered, removed = filter_list(page, listing, lambda method, subject, entry: True)
    assert (filtered.result, removed) == ({"tools": []}, 1)
