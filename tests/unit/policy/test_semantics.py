"""What conditions and argument tests mean, what a decision tells, and worked examples, asked of the engine itself."""

from typing import Any

import msgspec
import pytest

from openmcp.config.snapshot import AgentSelectorSpec, ArgumentSpec, ServerSelectorSpec
from openmcp.language.expressions import compile_expression
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Trust
from openmcp.model.content import Action, ContentRule, Phase, ResponseFacts
from openmcp.model.decision import Effect, RuleRef, Verdict
from openmcp.model.facts import SessionFacts, ToolFacts
from openmcp.policy.compile import compile_policies
from openmcp.policy.conditions import Conditions
from openmcp.policy.engine import Given, PolicyEngine
from openmcp.policy.rules import Match, Rule, ServerSelector
from tests.unit.policy.made import NOW, asks, engine, policy, rule


def effect(by: PolicyEngine, *asked: Any, **more: Any) -> str:
    return by.decide_on(asks(*asked, **more)).effect.label


# ------------------------------------------------------------ worked examples


PAYMENTS = engine(
    policy(
        "payments-bands",
        rule(
            "allow",
            "small",
            tools=["refund"],
            when=['args.currency in ["EUR", "USD"]', "args.amount > 0", "args.amount <= 500"],
        ),
        rule("require-approval", "medium", tools=["refund"], when=["args.amount > 500", "args.amount <= 5000"]),
        rule("deny", "large", tools=["refund"], when=["args.amount > 5000"]),
        agents=AgentSelectorSpec(min_trust=Trust.CERTIFICATE),
    )
)


@pytest.mark.parametrize(
    ("arguments", "expected", "by"),
    [
        ({"currency": "EUR", "amount": 500}, "allow", "small"),
        ({"currency": "EUR", "amount": 500.5}, "require-approval", "medium"),
        ({"currency": "EUR", "amount": 5001}, "deny", "large"),
        ({"currency": "GBP", "amount": 5}, "deny", None),
        ({"currency": "EUR", "amount": -5}, "deny", None),
        ({"currency": "EUR", "amount": "9999"}, "deny", "large"),
        ({"currency": "EUR", "amount": 2**70}, "deny", "large"),
        ({"currency": "EUR", "amount": None}, "deny", "large"),
        ({"currency": "EUR"}, "deny", "large"),
        ({}, "deny", "large"),
    ],
)
def test_bands_of_payments(arguments: dict[str, Any], expected: str, by: str | None) -> None:
    decision = PAYMENTS.decide_on(asks("refund", arguments, trust=Trust.CERTIFICATE))
    assert (decision.effect.label, decision.rule and decision.rule.rule) == (expected, by)


def test_a_weaker_identity_is_not_in_the_bands() -> None:
    assert effect(PAYMENTS, "refund", {"currency": "EUR", "amount": 5}, trust=Trust.TOKEN) == "deny"


DEPLOY = engine(
    rule("allow", "staging-free", tools=["deploy"], arguments=[ArgumentSpec("$.env", ("dev", "staging"))]),
    rule(
        "require-approval",
        "prod-two-people",
        tools=["deploy", "rollback"],
        unless=['args.?env.orValue("prod") in ["dev", "staging"]'],
    ),
)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"env": "dev"}, "allow"),
        ({"env": "prod"}, "require-approval"),
        ({}, "require-approval"),
        ({"env": "Dev"}, "require-approval"),
        ({"env": ["dev"]}, "require-approval"),
        ({"env": {"dev": 1}}, "require-approval"),
        ({"env": None}, "require-approval"),
    ],
)
def test_production_waits_for_people(arguments: dict[str, Any], expected: str) -> None:
    assert effect(DEPLOY, "deploy", arguments) == expected


RELEASE = engine(
    rule(
        "allow",
        "merge-own-repos",
        tools=["merge_pull_request"],
        when=['args.owner == "acme"', 'args.repo.matches("^(web|api)-[a-z0-9-]+$")'],
    ),
    rule("deny", "never-force", when=["has(args.force)", "args.force != false"]),
)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "allow"),
        ({"force": False}, "allow"),
        ({"force": True}, "deny"),
        ({"force": "true"}, "deny"),
        ({"force": 1}, "deny"),
        ({"force": None}, "deny"),
        ({"repo": "web-x\nevil"}, "deny"),
        ({"repo": "kernel"}, "deny"),
        ({"owner": "ACME"}, "deny"),
    ],
)
def test_the_release_bot_merges_its_own_and_never_by_force(more: dict[str, Any], expected: str) -> None:
    assert effect(RELEASE, "merge_pull_request", {"owner": "acme", "repo": "web-app", **more}) == expected


CRM = engine(
    rule("allow", "crm-records", resources=["crm://accounts/**", "crm://tickets/*"], tools=["**"]),
    rule(
        "deny",
        "no-url-arguments",
        tools=["*"],
        when=["has(args.url)", '!args.url.startsWith("https://api.crm.example/")'],
    ),
    rule("deny", "no-bulk", tools=["record_query"], when=["args.?limit.orValue(1000) > 100"]),
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"name": "crm://tickets/1", "kind": "resource", "method": "resources/read"}, "allow"),
        ({"name": "crm://tickets/1/x", "kind": "resource", "method": "resources/read"}, "deny"),
        ({"name": "file:///etc/passwd", "kind": "resource", "method": "resources/read"}, "deny"),
        ({"name": "fetch", "arguments": {"url": "https://api.crm.example/a"}}, "allow"),
        ({"name": "fetch", "arguments": {"url": "http://169.254.169.254/"}}, "deny"),
        ({"name": "fetch", "arguments": {"url": ["https://api.crm.example/a"]}}, "deny"),
        ({"name": "record_query", "arguments": {"limit": 100}}, "allow"),
        ({"name": "record_query", "arguments": {"limit": "100"}}, "deny"),
        ({"name": "record_query"}, "deny"),
    ],
)
def test_only_crm_records_and_no_urls_into_the_network(asked: dict[str, Any], expected: str) -> None:
    assert effect(CRM, **asked) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://[::ffff:7f00:1]/",
        "http://0x7f.1/",
        "http://2130706433/",
        "https://api.crm.example@evil.example/",
        "https://api.crm.example\\@evil.example/",
        "https://api.crm.example%2eevil.example/",
        "//api.crm.example/",
        "https://api.crm.example.evil.example/",
    ],
)
def test_an_allow_list_of_hosts_holds_against_tricks(url: str) -> None:
    by = engine(rule("allow", tools=["fetch"], when=["host(args.url) in ['api.crm.example']"]))
    assert effect(by, "fetch", {"url": "https://API.crm.example/a"}) == "allow"
    assert effect(by, "fetch", {"url": url}) == "deny"


# ------------------------------------------------------------ argument tests


@pytest.mark.parametrize(
    ("arguments", "allow", "deny"),
    [
        # What passes, is missing, differs, and is of a kind that nobody can judge.
        ({"tags": ["a"]}, True, True),
        ({"tags": ["a", "b"]}, True, True),
        ({"tags": ["a", "z"]}, False, True),
        ({"tags": ["z"]}, False, False),
        ({"tags": []}, False, False),
        ({}, False, False),
        ({"tags": "a"}, False, False),
        ({"tags": [1]}, False, True),
        ({"tags": [["a"]]}, False, True),
        ({"tags": [None, "z"]}, False, True),
    ],
)
def test_an_allowing_rule_needs_every_value_and_others_any(arguments: dict[str, Any], allow: bool, deny: bool) -> None:
    test = [ArgumentSpec("$.tags[*]", ("a", "b"))]
    assert effect(engine(rule("allow", arguments=test)), "x", arguments) == ("allow" if allow else "deny")
    closing = engine(rule("allow", "open"), rule("deny", "closed", arguments=test))
    assert effect(closing, "x", arguments) == ("deny" if deny else "allow")


@pytest.mark.parametrize(
    ("values", "given", "is_in"),
    [
        ((1,), 1, True),
        ((1,), 1.0, True),
        ((1,), True, False),
        ((True,), 1, False),
        ((True,), True, True),
        (("1",), 1, False),
        ((0,), False, False),
    ],
)
def test_values_are_compared_as_json(values: tuple[Any, ...], given: Any, is_in: bool) -> None:
    by = engine(rule("allow", arguments=[ArgumentSpec("$.v", values)]))
    assert effect(by, "x", {"v": given}) == ("allow" if is_in else "deny")


def test_a_regular_expression_looks_anywhere_in_a_text() -> None:
    by = engine(rule("deny", arguments=[ArgumentSpec("$.sql", None, "(?i)\\bdrop\\b")]), rule("allow", "open"))
    assert effect(by, "x", {"sql": "select 1"}) == "allow"
    assert effect(by, "x", {"sql": "x; DROP table"}) == "deny"
    assert effect(by, "x", {"sql": ["drop"]}) == "deny"


# ------------------------------------------------------------ what a decision tells


def test_every_matching_approval_is_collected() -> None:
    by = engine(
        rule("require-approval", "one", tools=["read"]),
        policy("q", rule("require-approval", "two", when=["has(args.id)"], reason="It may hold personal data.")),
        rule("allow", "open"),
    )
    decision = by.decide_on(asks("read", {"id": 1}))
    assert [(str(need.rule), need.flow, need.ttl_s, need.scope) for need in decision.approvals] == [
        ("p/one", "leads", 1800.0, "agent+tool"),
        ("q/two", "leads", 1800.0, "agent+tool"),
    ]
    assert decision.reason == "It may hold personal data."
    assert by.decide_on(asks("read")).approvals[0].rule == RuleRef("p", "one")


def test_nobody_is_asked_about_what_is_denied() -> None:
    decision = engine(rule("require-approval"), rule("deny")).decide_on(asks())
    assert (decision.effect, decision.approvals) == (Effect.DENY, ())


def test_a_decision_that_looked_at_more_carries_what_it_looked_at() -> None:
    by = engine(
        rule("allow", "named", tools=["read"]), rule("deny", "late", when=["now.getHours() >= 18"], tools=["write"])
    )
    assert by.decide_on(asks("read", {"id": 1})).input is None
    looked = by.decide_on(asks("write", {"id": 1}))
    assert looked.input == asks("write", {"id": 1})
    assert looked.considered[0].because == "when[0]"
    assert looked.considered[0].verdict is Verdict.NOT_MATCHED


def test_a_recorded_input_is_decided_as_it_was() -> None:
    asked = asks("refund", {"currency": "EUR", "amount": 700}, trust=Trust.CERTIFICATE)
    again = msgspec.json.decode(msgspec.json.encode(asked), type=type(asked))
    assert PAYMENTS.decide_on(again) == PAYMENTS.decide_on(asked)


@pytest.mark.parametrize(
    ("more", "because", "verdict"),
    [
        ({"server": "other"}, "servers", Verdict.NOT_ATTACHED),
        ({"groups": ()}, "agents.groups", Verdict.NOT_ATTACHED),
        ({"trust": Trust.HEADER}, "agents.minTrust", Verdict.NOT_ATTACHED),
        ({"method": "tools/list", "kind": "", "name": ""}, "match.tools", Verdict.NOT_MATCHED),
        ({"name": "write"}, "match.tools", Verdict.NOT_MATCHED),
        ({"kind": "prompt", "method": "prompts/get"}, "match.tools", Verdict.NOT_MATCHED),
        ({"arguments": {"env": "prod"}}, "match.arguments[0]", Verdict.NOT_MATCHED),
        ({"arguments": {"env": "dev"}}, "when[1]", Verdict.NOT_MATCHED),
        ({"arguments": {"env": "dev", "n": 2, "x": True}}, "unless[0]", Verdict.NOT_MATCHED),
        ({"arguments": {"env": "dev", "n": 2}}, "", Verdict.MATCHED),
    ],
)
def test_an_explanation_names_the_part_that_settled_it(more: dict[str, Any], because: str, verdict: Verdict) -> None:
    by = engine(
        policy(
            "q",
            rule(
                "allow",
                tools=["read"],
                arguments=[ArgumentSpec("$.env", ("dev",))],
                when=["has(args.env)", "args.?n.orValue(0) > 1"],
                unless=["has(args.x)"],
            ),
            servers=ServerSelectorSpec(names=("desk",)),
            agents=AgentSelectorSpec(groups=frozenset({"staff"}), min_trust=Trust.TOKEN),
        )
    )
    (line,) = by.explain(asks(**more)).rules
    assert (line.because, line.verdict, line.level) == (because, verdict, "agent")


# ------------------------------------------------------------ what conditions see


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        ("now.getHours() == 11", {"now": NOW + 3600}),
        ("session.age > duration('50s') && session.calls == 2", {"session": SessionFacts("s", 59.0, 2)}),
        ("request.headers['x-team'] == 'a'", {"headers": {"x-team": "a"}}),
        ("tool.pinned && tool.digest == 'ab'", {"tool": ToolFacts("read", "ab", True)}),
        ("tool.declared.readOnlyHint == true", {"tool": ToolFacts("read", "", False, {"readOnlyHint": True})}),
        ("agent.attributes.department == 'legal'", {"attributes": {"department": "legal"}}),
    ],
)
def test_a_condition_sees_what_the_message_brought(condition: str, asked: dict[str, Any]) -> None:
    by = engine(rule("allow", when=[condition]))
    assert effect(by) == "deny"
    assert effect(by, **asked) == "allow"
    assert effect(by) == "deny"


def test_a_definition_that_changed_is_another_decision() -> None:
    by = engine(rule("allow", tools=["read"], when=["tool.pinned"]))
    pinned, changed = ToolFacts("read", "ab", True), ToolFacts("read", "cd", False)
    assert [effect(by, tool=tool) for tool in (pinned, changed, pinned)] == ["allow", "deny", "allow"]


@pytest.mark.parametrize(
    "when", [["'admins' in agent.groups"], ["'admins' in agent.groups", "args.n > 1"], ["agent.labels.no == 'x'"]]
)
def test_who_could_be_allowed_nothing_may_not_even_connect(when: list[str]) -> None:
    by = engine(rule("allow", when=when))
    asked = asks()
    assert not by.may_use(asked.agent.agent(), asked.server.server())
    admin = asks(groups=("admins",))
    assert by.may_use(admin.agent.agent(), admin.server.server()) is (when[0] != "agent.labels.no == 'x'")


def test_a_deny_for_some_hours_does_not_close_the_server() -> None:
    by = engine(rule("allow", tools=["read"]), rule("deny", "night", when=["now.getHours() > 18"]))
    asked = asks()
    assert by.may_use(asked.agent.agent(), asked.server.server())
    late = asks(now=NOW + 10 * 3600)
    assert by.decide_on(late).effect is Effect.DENY


def test_completion_is_open_where_some_arguments_would_be() -> None:
    asked: dict[str, Any] = {"name": "brief", "kind": "prompt", "method": "completion/complete"}
    assert effect(engine(rule("allow", prompts=["brief"], when=["args.project == 'A'"])), **asked) == "allow"
    assert (
        effect(engine(rule("allow", "o"), rule("deny", prompts=["brief"], when=["args.project == 'A'"])), **asked)
        == "allow"
    )
    assert effect(engine(rule("allow", "o"), rule("deny", prompts=["brief"])), **asked) == "deny"


def test_parameters_of_a_servers_question_are_its_arguments() -> None:
    by = engine(rule("allow", methods=["elicitation/create"], when=["args.mode == 'form'"]))
    asked: dict[str, Any] = {"name": "", "kind": "", "method": "elicitation/create"}
    assert effect(by, arguments={"mode": "form"}, **asked) == "allow"
    assert effect(by, arguments={"mode": "url"}, **asked) == "deny"


# ------------------------------------------------------------ rules about content


def content(phase: Phase, *, when: str = "", tools: tuple[str, ...] = (), shadow: bool = False) -> Rule:
    made = compile_policies([policy("c", rule("deny", tools=list(tools) or ["**"]))])[0]
    conditions = (
        Conditions(when=(compile_expression(when, is_of_response=phase is not Phase.CALL),)) if when else Conditions()
    )
    return Rule(
        RuleRef("c", "r"),
        None,
        made.match if tools else Match(),
        ServerSelector(),
        None,
        conditions=conditions,
        content=ContentRule("c", "r", ("us-ssn",), Action.BLOCK, phase=phase, is_shadow=shadow),
        phase=phase,
    )


def with_content(*rules: Rule) -> PolicyEngine:
    return PolicyEngine([*compile_policies([policy("p", rule("allow"))]), *rules], revision="1")


def test_rules_about_content_never_decide_access() -> None:
    for phase in Phase:
        assert effect(with_content(content(phase))) == "allow"
        assert effect(PolicyEngine([content(phase)], revision="1")) == "deny"


def test_a_rule_about_content_goes_with_what_it_matches() -> None:
    by = with_content(content(Phase.CALL, tools=("read",)), content(Phase.RESPONSE, tools=("read",)))
    decision = by.decide_on(asks("read"))
    assert [len(decision.request_rules), len(decision.response_rules)] == [1, 1]
    other = by.decide_on(asks("write"))
    assert (other.request_rules, other.response_rules) == ((), ())


def test_rules_about_definitions_look_into_lists_of_their_kind() -> None:
    by = with_content(content(Phase.LIST, tools=("read",)))
    listing: dict[str, Any] = {"name": "", "kind": ""}
    assert len(by.decide_on(asks(method="tools/list", **listing)).response_rules) == 1
    assert by.decide_on(asks(method="prompts/list", **listing)).response_rules == ()
    assert by.decide_on(asks("read")).response_rules == ()


def test_a_stream_of_no_call_is_under_all_rules_about_what_comes_back() -> None:
    by = with_content(content(Phase.RESPONSE, tools=("read",)), content(Phase.LIST), content(Phase.CALL))
    asked = asks()
    assert len(by.access(asked.agent.agent(), asked.server.server()).response_rules) == 2


def test_a_condition_on_the_call_settles_a_rule_about_its_answer() -> None:
    by = with_content(content(Phase.RESPONSE, when="args.n > 1"))
    assert by.decide_on(asks(arguments={"n": 1})).response_rules == ()
    for arguments in ({"n": 2}, {"n": "2"}, {}):
        (found,) = by.decide_on(asks(arguments=arguments)).response_rules
        assert found.when is None


def test_a_condition_on_the_answer_is_asked_when_it_has_come() -> None:
    by = with_content(content(Phase.RESPONSE, when="result.rows > args.most || isError"))
    (few,) = by.decide_on(asks(arguments={"most": 5})).response_rules
    (many,) = by.decide_on(asks(arguments={"most": 50})).response_rules
    answer = ResponseFacts({"rows": 10}, False, {})
    assert few.when is not None
    assert many.when is not None
    assert (few.when(answer), many.when(answer)) == (True, False)
    assert many.when(ResponseFacts({"rows": 10}, True, {}))
    # An error never widens access.
    assert many.when(ResponseFacts({"rows": "ten"}, False, {}))
    assert many.when(ResponseFacts(None, False, {}))


def test_a_subject_of_lists_is_decided_with_its_own_definition() -> None:
    by = engine(rule("allow", tools=["**"], when=["tool.declared.?readOnlyHint.orValue(false) == true"]))
    asked = asks("read", tool=ToolFacts("read", "", False, {"readOnlyHint": True}))
    agent, server, subject = asked.agent.agent(), asked.server.server(), Subject(SubjectKind.TOOL, "read")
    assert by.shows(agent, server, method="tools/call", subject=subject, asked=Given(asked))
    assert not by.shows(agent, server, method="tools/call", subject=subject, asked=Given(asks("read")))
