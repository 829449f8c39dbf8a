"""`openmcp policy test`: cases go through the stages of the gateway, and say what is other than expected."""

import json
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import parse

import pytest

from openmcp.cli.main import main
from tests.unit.config.writing import HEAD, agent, key, policy, resource, server, source, write

Capture = pytest.CaptureFixture[str]
GATED = policy(
    "{id: free, match: {tools: [list]}, effect: allow}, "
    "{id: gated, match: {tools: ['read*'], resources: ['ticket://**']}, effect: require-approval, "
    "approval: {flow: leads, ttl: 30m, scope: SCOPE}}, "
    "{id: never, match: {tools: [wipe]}, effect: deny, reason: Ask the owner.}"
)
WHO = "{agent: {name: bot}, server: desk, now: '2026-11-23T10:00:00Z'}"
IN_TIME = "2026-11-23T09:31:00Z"


def case(call: str, expect: str, *, grants: str = "", more: str = "") -> str:
    return f"{{name: a case, call: {{{call}}}, expect: {{{expect}}}, grants: [{grants}]{more}}}"


def trial(*cases: str, given: str = WHO, name: str = "t") -> str:
    return resource("PolicyTest", name, f"{{given: {given}, cases: [{', '.join(cases)}]}}")


class Bench:
    """Runs tests, and has what came of them."""

    def __init__(self, folder: Path, capsys: Capture) -> None:
        self.folder = folder
        self.capsys = capsys

    def code(self, *documents: str) -> int:
        path = write(self.folder, *documents)
        code = main(["policy", "test", str(path), "--output", "json"])
        captured = self.capsys.readouterr()
        self.results: list[dict[str, Any]] = json.loads(captured.out) if captured.out else []
        self.errors = captured.err
        return code

    def passes(self, *documents: str) -> None:
        code = self.code(*documents)
        assert [one["differences"] for one in self.results] == [[] for _ in self.results], self.errors
        assert (code, bool(self.results)) == (0, True), self.errors

    def got(self, *documents: str) -> dict[str, Any]:
        """What came of the only case."""
        self.code(*documents)
        (result,) = self.results
        got: dict[str, Any] = result["got"]
        return got


@pytest.fixture
def bench(tmp_path: Path, capsys: Capture) -> Bench:
    return Bench(tmp_path, capsys)


@pytest.mark.parametrize(
    ("call", "expect"),
    [
        ("tool: list", "decision: allow, rule: free"),
        ("tool: list", "decision: allow, rule: p/free"),
        ("tool: wipe", "decision: deny, rule: never, reason: Ask the owner."),
        ("tool: other", "decision: deny"),
        ("resource: 'ticket://T-1/text'", "decision: require-approval, rule: gated, flow: leads"),
        ("prompt: greet", "decision: deny"),
        ("method: sampling/createMessage", "decision: deny"),
        ("method: tools/list", "decision: allow"),
        ("method: resources/subscribe, resource: 'ticket://T-1'", "decision: require-approval"),
        ("method: vendor/unknown, params: {a: 1}", "decision: deny"),
    ],
)
def test_each_kind_of_call_is_decided(bench: Bench, call: str, expect: str) -> None:
    bench.passes(GATED.replace("SCOPE", "agent+tool"), trial(case(call, expect)))


def test_a_case_that_fails_says_what_came_and_of_which_rules(bench: Bench) -> None:
    document = trial(case("tool: wipe", "decision: require-approval, rule: gated, flow: leads"))
    assert bench.code(GATED.replace("SCOPE", "agent+tool"), document) == 1
    (result,) = bench.results
    assert result["differences"] == [
        "decision: expected require-approval, got deny",
        "rule: expected gated, got p/never",
        "flow: expected leads, got none",
    ]
    verdicts = {line["rule"]: (line["verdict"], line["because"]) for line in result["explanation"]["rules"]}
    assert verdicts["p/never"] == ("matched", "")
    assert verdicts["p/gated"] == ("not-matched", "match.tools")
    assert result["place"].endswith("g.yaml:9:95")


@pytest.mark.parametrize(
    ("scope", "grant", "is_covered"),
    [
        ("agent+tool", f"tool: read, approvedAt: '{IN_TIME}'", True),
        ("agent+tool", "tool: read, approvedAt: '2026-11-23T09:30:00Z'", False),
        ("agent+tool", "tool: read, approvedAt: '2026-11-23T10:00:01Z'", False),
        ("agent+tool", f"tool: read_all, approvedAt: '{IN_TIME}'", False),
        ("agent+rule", f"tool: read_all, approvedAt: '{IN_TIME}'", True),
        ("agent", f"approvedAt: '{IN_TIME}'", True),
        ("agent+tool+args", f"tool: read, args: {{id: T-1}}, approvedAt: '{IN_TIME}'", True),
        ("agent+tool+args", f"tool: read, args: {{id: T-2}}, approvedAt: '{IN_TIME}'", False),
        ("call", f"tool: read, args: {{id: T-1}}, approvedAt: '{IN_TIME}'", True),
        ("call", f"tool: read, args: {{id: T-1}}, uses: 1, approvedAt: '{IN_TIME}'", False),
        ("session", f"approvedAt: '{IN_TIME}'", False),
    ],
)
def test_a_grant_covers_what_its_scope_says_while_it_lasts(
    bench: Bench, scope: str, grant: str, is_covered: bool
) -> None:
    expected = "decision: allow" if is_covered else "decision: require-approval"
    gated = case("tool: read, args: {id: T-1}", expected, grants=f"{{rule: gated, {grant}}}")
    bench.passes(GATED.replace("SCOPE", scope), trial(gated))


def test_a_grant_for_a_session_needs_one(bench: Bench) -> None:
    grants = f"{{rule: gated, approvedAt: '{IN_TIME}'}}"
    in_session = case("tool: read", "decision: allow", grants=grants, more=", given: {session: {id: s}}")
    bench.passes(GATED.replace("SCOPE", "session"), trial(in_session))


def test_every_rule_that_asks_needs_a_grant_of_its_own(bench: Bench) -> None:
    second = policy(
        "{id: second, match: {tools: [read]}, effect: require-approval, "
        "approval: {flow: others, ttl: 1h, scope: agent+tool}}",
        name="q",
    )
    one = f"{{rule: p/gated, tool: read, approvedAt: '{IN_TIME}'}}"
    both = f"{one}, {{rule: second, tool: read, approvedAt: '{IN_TIME}'}}"
    bench.passes(
        GATED.replace("SCOPE", "agent+tool"),
        second,
        trial(
            case("tool: read", "decision: require-approval, flow: others, rule: q/second", grants=one),
            case("tool: read", "decision: allow", grants=both),
        ),
    )


def test_a_deny_beats_a_grant(bench: Bench) -> None:
    grant = f"{{rule: gated, tool: read, approvedAt: '{IN_TIME}'}}"
    closed = policy("{id: closed, match: {tools: [read]}, effect: deny}", name="q")
    bench.passes(
        GATED.replace("SCOPE", "agent+tool"),
        closed,
        trial(case("tool: read", "decision: deny, rule: closed", grants=grant)),
    )


def test_an_agent_of_the_files_brings_its_groups_and_its_trust(bench: Bench) -> None:
    staff = policy(
        "{id: r, match: {tools: [x]}, effect: allow}", spec=", agents: {groups: [staff], minTrust: sharedSecret}"
    )
    known = agent("bot", key("bot")).replace("{identities", "{groups: [staff], identities")
    bench.passes(source(), known, staff, trial(case("tool: x", "decision: allow")))
    assert bench.got(staff, trial(case("tool: x", "decision: allow")))["decision"] == "deny"
    weak = "{agent: {name: bot, trust: header}, server: desk}"
    assert bench.got(source(), known, staff, trial(case("tool: x", "decision: deny"), given=weak))["decision"] == "deny"


def test_a_case_changes_the_scene_field_by_field(bench: Bench) -> None:
    office = policy("{id: r, match: {tools: [x]}, when: ['now.getHours() < 18'], effect: allow}")
    late = case("tool: x", "decision: deny", more=", given: {now: '2026-11-23T20:00:00Z'}")
    bench.passes(office, trial(case("tool: x", "decision: allow"), late))


def test_conditions_see_the_whole_scene(bench: Bench) -> None:
    terms = [
        'agent.labels.tier == "prod"',
        'agent.attributes.team == "blue"',
        'request.ip == "10.0.0.1"',
        "session.calls < 3",
        'session.age == duration("90s")',
        "tool.pinned",
        'mcp.version == "2025-11-25"',
        'server.name == "desk"',
    ]
    rule = policy(f"{{id: r, match: {{tools: [x]}}, when: [{', '.join(repr(term) for term in terms)}], effect: allow}}")
    scene = (
        "{agent: {name: bot, labels: {tier: prod}, attributes: {team: blue}}, server: desk, version: '2025-11-25', "
        "request: {ip: 10.0.0.1}, session: {calls: 2, age: 90s}, tool: {pinned: true}}"
    )
    bench.passes(rule, trial(case("tool: x", "decision: allow, rule: r"), given=scene))


def test_neither_secrets_nor_other_peoples_documents_are_needed(bench: Bench) -> None:
    secret = server("desk", upstream=", credentials: [{header: X-Key, value: {env: NOT_SET_ANYWHERE}}]")
    flow = (
        f"{HEAD}kind: ApprovalFlow\nmetadata: {{name: leads}}\nspec: {{approvers: {{anyOf: [{{group: elsewhere}}]}}}}\n"
    )
    bench.passes(secret, flow, GATED.replace("SCOPE", "agent"), trial(case("tool: list", "decision: allow")))
    elsewhere = policy("{id: r, match: {tools: [x]}, effect: allow}", spec=", servers: [desk]")
    bench.passes(elsewhere, trial(case("tool: x", "decision: allow")))


def test_a_name_that_is_misspelt_beside_others_is_a_fault(bench: Bench) -> None:
    misspelt = policy("{id: r, match: {tools: [x]}, effect: allow}", spec=", servers: [dsek]")
    assert bench.code(server("desk"), misspelt, trial(case("tool: x", "decision: allow"))) == 2
    assert "did you mean `desk`" in bench.errors


@pytest.mark.parametrize(
    "wrong",
    [
        trial(case("tool: x, prompt: y", "decision: allow")),
        trial(case("args: {a: 1}", "decision: allow")),
        trial(case("resource: 'a://b', args: {a: 1}", "decision: allow")),
        trial(case("tool: x", "decision: perhaps")),
        trial(case("tool: x", "decision: allow"), given="{agent: {name: bot}}"),
        trial(case("tool: x", "decision: allow"), given="{agent: {name: bot}, server: desk, now: '2026-11-23'}"),
        resource("PolicyTest", "t", "{cases: []}"),
    ],
)
def test_what_makes_no_sense_is_a_fault_with_its_place(bench: Bench, wrong: str) -> None:
    assert bench.code(GATED.replace("SCOPE", "agent"), wrong) == 2
    assert "g.yaml:9:" in bench.errors


def test_without_tests_there_is_nothing_to_pass(bench: Bench) -> None:
    assert bench.code(policy("{id: r, match: {tools: [x]}, effect: allow}")) == 2


def test_results_can_be_written_for_a_ci_system(tmp_path: Path, capsys: Capture) -> None:
    bad = case("tool: list", "decision: deny")
    path = write(tmp_path, GATED.replace("SCOPE", "agent"), trial(case("tool: list", "decision: allow"), bad))
    report = tmp_path / "junit.xml"
    assert main(["policy", "test", str(path), "--junit", str(report)]) == 1
    (suite,) = parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert "1 passed, 1 failed" in capsys.readouterr().out
