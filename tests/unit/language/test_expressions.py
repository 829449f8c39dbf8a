"""Conditions: what is refused when they are loaded, and that no value can hurt the engine or be taken for a yes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmcp.language import expressions
from openmcp.language.expressions import Answer, Scope, compile_expression, unreadable


def values(**more: Any) -> dict[str, Any]:
    return {
        "agent.id": "key:keys:bot",
        "agent.name": "bot",
        "agent.groups": ["staff"],
        "agent.labels": {"tier": "prod"},
        "agent.attributes": {},
        "agent.source": "keys",
        "agent.trust": "token",
        "server.name": "desk",
        "server.labels": {},
        "mcp.method": "tools/call",
        "mcp.kind": "tool",
        "mcp.name": "read",
        "mcp.uri": "",
        "mcp.version": "2026-07-28",
        "tool.name": "read",
        "tool.digest": "ab",
        "tool.pinned": False,
        "tool.declared": {},
        "args": {},
        "request.ip": "10.1.2.3",
        "request.headers": {},
        "session.id": "",
        "session.age": timedelta(seconds=90),
        "session.calls": 3,
        "now": datetime(2026, 11, 23, 10, tzinfo=UTC),
        **more,
    }


def ask(source: str, **more: Any) -> Answer:
    return compile_expression(source).ask(Scope(values(**more)))


# ------------------------------------------------------------ a conformance suite, for each upgrade of the engine


@pytest.mark.parametrize(
    "source",
    [
        "true",
        "agent.id == 'key:keys:bot'",
        "agent.name.startsWith('b')",
        "'staff' in agent.groups",
        "agent.groups.exists(g, g.startsWith('st'))",
        "agent.labels.tier == 'prod'",
        "agent.labels['tier'] == 'prod'",
        "has(agent.labels.tier)",
        "!has(agent.labels.other)",
        "agent.labels.?other.orValue('x') == 'x'",
        "agent.attributes.?department.orValue('') == ''",
        "agent.trust in ['token', 'certificate']",
        "server.name == 'desk' && mcp.kind == 'tool'",
        "mcp.method == 'tools/call' || mcp.method == 'prompts/get'",
        "tool.pinned == false",
        "size(tool.digest) == 2",
        "!has(args.force)",
        "args.?limit.orValue(1000) > 100",
        "args.?a.?b.orValue(1) == 1",
        "request.ip.startsWith('10.')",
        "cidrContains('10.0.0.0/8', request.ip)",
        "!cidrContains('192.168.0.0/16', request.ip)",
        "session.age < duration('5m')",
        "session.calls <= 3",
        "now >= timestamp('2026-01-01T00:00:00Z')",
        "now.getHours() >= 8 && now.getHours() < 18",
        "now.getHours('Europe/Berlin') == 11",
        "now.getDayOfWeek() == 1",
        "'a-b'.split('-')[0] == 'a'",
        "'ABC'.lowerAscii() == 'abc'",
        "['a', 'b'].join('-') == 'a-b'",
        "'abc'.replace('b', 'x') == 'axc'",
        "'abc'.substring(1) == 'bc'",
        "'x'.matches('^[a-z]$')",
        "math.greatest(1, 2) == 2",
        "cel.bind(n, 2, n * n == 4)",
        "base64.decode('YQ==') == b'a'",
        "[1, 2, 3].all(n, n > 0)",
        "[1, 2, 3].map(n, n * 2) == [2, 4, 6]",
        "[1, 2, 3].filter(n, n > 1).size() == 2",
        "[1, 2].exists_one(n, n == 1)",
        "glob('ticket_*', 'ticket_read') && !glob('ticket_*', 'ticket_a/b')",
        "host('https://API.crm.example:8443/x') == 'api.crm.example'",
        "type(args) == map",
        "int('5') == 5 && string(5) == '5' && double(5) == 5.0",
        "1 < 2 ? true : false",
        "'🙂'.size() == 1",
    ],
)
def test_the_engine_still_says_what_it_said(source: str) -> None:
    assert ask(source) is True


# ------------------------------------------------------------ load


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("agnt.id == 'x'", "line 1, column 5"),
        ("agent.id ==\n  'a' ++", "line 2, column"),
        ("agent.idd == 'x'", "agent.id"),
        ("agent.groups.exists(g, g == 1)", "no matching overload"),
        ("agent.labels.startsWith('x')", "no matching overload"),
        ("agent.id", "gives string"),
        ("1 + 1", "gives int"),
        ("args.a", "gives dyn"),
        ("has(agent.id)", "has()"),
        ("args.x.matches('(')", "RE2 refuses"),
        ('matches(agent.id, "[z-a]")', "RE2 refuses"),
        (r"args.x.matches(r'(a)\1')", "RE2 refuses"),
        ("1 / 0 == 1", "never gives an answer"),
        ("result.rows > 1", "phase: response"),
        ("findings['us-ssn'] > 1", "phase: response"),
        ("x" * 5000, "4096 characters"),
        ("'\ud800' == agent.id", "surrogate"),
        ("import_os()", "undeclared"),
        ("(" * 200 + "true" + ")" * 200, ""),
    ],
)
def test_a_faulty_condition_is_refused_with_its_place(source: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        compile_expression(source)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_conditions_on_responses_may_look_at_them() -> None:
    condition = compile_expression("isError || findings.?email.orValue(0) > 2 || result.rows > 10", is_of_response=True)
    assert condition.reads == {"isError", "findings", "result"}
    scope = Scope(values(result={"rows": 11}, isError=False, findings={"email": 1}), is_of_response=True)
    assert condition.ask(scope) is True


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("agent.id == 'args'", {"agent"}),
        ("args.now == 1", {"args"}),
        ("args.exists(args, args == 1)", {"args"}),
        ("['now'].all(now, now == agent.id)", {"agent"}),
        ("session.calls > 1", {"session", "session.calls"}),
        ("session . id == mcp . name", {"session", "session.id", "mcp"}),
        ("now > timestamp(0) && request.ip == ''", {"now", "request"}),
        ("true", set[str]()),
    ],
)
def test_what_a_condition_reads_is_known_exactly(source: str, reads: set[str]) -> None:
    assert compile_expression(source).reads == reads


# ------------------------------------------------------------ three values


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("args.amount > 500", {}),
        ("args.amount > 500", {"amount": "9999"}),
        ("args.amount > 500", {"amount": None}),
        ("args.amount > 500", {"amount": [600]}),
        ("args.items[7] == 1", {"items": [1]}),
        ("args.a / args.b == 1", {"a": 1, "b": 0}),
        ("args.a.matches(args.b)", {"a": "x", "b": "("}),
        ("args.list.all(a, args.list.all(b, args.list.all(c, true)))", {"list": list(range(40))}),
        ("cidrContains('10.0.0.0/8', args.ip)", {"ip": "ten"}),
        ("host(args.url) == 'a'", {"url": "http://a@b/"}),
        ("host(args.url) == 'a'", {"url": "http://a\\@b/"}),
        ("glob(args.p, 'x')", {"p": "*a" * 20}),
        ("args.flag", {"flag": "yes"}),
        ("int(args.a) == 1", {"a": "canary"}),
    ],
)
def test_what_cannot_be_told_is_neither_yes_nor_no(source: str, arguments: dict[str, Any]) -> None:
    if source == "args.flag":
        source = "args.flag == true || args.flag > 1"
    answer = ask(source, args=arguments)
    assert isinstance(answer, str)
    assert answer
    assert "canary" not in answer


def test_an_error_beside_a_truth_is_absorbed() -> None:
    assert ask("args.missing == 1 || true") is True
    assert ask("args.missing == 1 && false") is False


# ------------------------------------------------------------ hostile values


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> Any:
    value: dict[str, Any] = {}
    value["a"] = value
    return value


HOSTILE = [
    nested(65),
    nested(500),
    nested(100_000),
    cyclic(),
    {"a": "\ud800"},
    {"\udfff": 1},
    {"a": 2**63},
    {"a": -(2**63) - 1},
    {"a": 10**400},
    {"a": b"x"},
    {"a": (1, 2)},
    {"a": object()},
    {"a": ["x"] * 5000},
    {str(number): 1 for number in range(5000)},
    {"a": "x" * 300_000},
    [nested(3)] * 5000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("name", ["args", "agent.attributes", "tool.declared", "result"])
def test_a_value_that_could_hurt_never_reaches_the_engine(name: str, value: Any) -> None:
    is_of_response = name == "result"
    if name not in ("args", "result"):
        value = {"held": value}
    source = f"has({name}.a) || true" if name in ("args", "result") else f"size({name}) > 0"
    condition = compile_expression(source, is_of_response=is_of_response)
    more = {"isError": False, "findings": {}} if is_of_response else {}
    assert isinstance(condition.ask(Scope(values(**{name: value}, **more), is_of_response=is_of_response)), str)
    other = compile_expression("agent.name == 'bot'", is_of_response=is_of_response)
    assert other.ask(Scope(values(**{name: value}, **more), is_of_response=is_of_response)) is True


@pytest.mark.parametrize("value", [nested(60), {"a": 2**63 - 1}, {"a": ["x"] * 4000}, "text", 1.5, None, [], True])
def test_honest_values_are_read(value: Any) -> None:
    assert unreadable(value) == ""


def test_a_hostile_pattern_is_matched_in_linear_time() -> None:
    assert ask("args.t.matches('(a+)+$')", args={"t": "a" * 100_000 + "b"}) is False


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "L"])),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=20,
)
CONDITIONS = [
    compile_expression(source)
    for source in (
        "args.a > 1",
        "args.exists(a, a == 1)",
        "size(args) > 2",
        "args.?a.orValue(1) == 1",
        "args == 1 || args == 'x'",
        "string(args.a).matches('^x')",
    )
]


@given(JSON)
@settings(max_examples=500, deadline=None)
def test_whatever_the_arguments_there_is_an_answer(arguments: Any) -> None:
    scope = Scope(values(args=arguments))
    for condition in CONDITIONS:
        answer = condition.ask(scope)
        assert answer in (True, False) or isinstance(answer, str)


def test_the_reference_knows_every_variable() -> None:
    assert set(values()) | expressions.RESPONSE == set(expressions.variables())
