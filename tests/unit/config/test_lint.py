"""Warnings: allowed, and probably not meant."""

from pathlib import Path

import pytest

from tests.unit.config.writing import agent, key, policy, resource, server, source, warnings, write

ALLOW_ALL = policy("{id: all, effect: allow, match: {tools: ['**']}}", "allow")


@pytest.mark.parametrize(
    ("documents", "place", "word"),
    [
        ([source(), server("a")], "g.yaml:8:18", "no rule allows anything"),
        ([server("a"), ALLOW_ALL], "g.yaml:4:7", "no IdentitySource"),
        ([agent("a", "")], "g.yaml:3:18", "no identities"),
        ([policy("{id: a, effect: deny}", spec=", agents: {names: [nobody]}")], "g.yaml:4:57", "no Agent `nobody`"),
        ([policy("{id: a, effect: allow}")], "g.yaml:4:21", "allows everything"),
        (
            [policy("{id: a, effect: allow, match: {tools: [x]}}, {id: b, effect: deny}")],
            "g.yaml:4:21",
            "rule `b` denies all",
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path, documents: list[str], place: str, word: str) -> None:
    (warning,) = warnings(write(tmp_path, *documents))
    assert warning[0] == place
    assert word in warning[1]


@pytest.mark.parametrize(
    "documents",
    [
        [source(), server("a"), ALLOW_ALL],
        [source(), server("a", ", policy: {default: allow}")],
        [source(), server("a"), resource("GatewayConfig", "g", "{policy: {default: allow}}")],
        [server("a", ", authentication: {anonymous: true}"), ALLOW_ALL],
        [source(), server("a"), policy("{id: a, effect: allow, match: {tools: [x]}}", spec=", servers: [a]")],
        [
            source(),
            agent("a", key("a")),
            policy("{id: a, effect: deny}", spec=", agents: {names: [a, 'b*', 'key:keys:c']}"),
        ],
    ],
)
def test_what_is_well_meant_makes_no_warning(tmp_path: Path, documents: list[str]) -> None:
    assert warnings(write(tmp_path, *documents)) == []


@pytest.mark.parametrize(
    "allowing",
    [
        policy("{id: a, effect: allow, match: {tools: [x]}}", spec=", servers: [b]"),
        policy("{id: a, effect: allow, match: {tools: [x]}}", spec=", servers: {matchLabels: {team: dev}}"),
        policy("{id: a, effect: allow, match: {tools: [x]}}", spec=", mode: shadow"),
        policy("{id: a, effect: allow, match: {tools: [x]}, mode: shadow}"),
        policy("{id: a, effect: deny, match: {tools: [x]}}"),
    ],
)
def test_rules_for_others_or_in_shadow_open_no_server(tmp_path: Path, allowing: str) -> None:
    open_server = server("b", ", policy: {default: allow}")
    found = warnings(write(tmp_path, source(), server("a"), open_server, allowing))
    assert [place for place, _ in found] == ["g.yaml:8:18"]


@pytest.mark.parametrize(
    ("allow", "deny", "is_covered"),
    [
        ("{tools: [a]}", "{tools: [a, b]}", True),
        ("{tools: [a]}", "{tools: ['*']}", True),
        ("{tools: [a/b]}", "{tools: ['*']}", False),
        ("{tools: [a/b]}", "{tools: ['**']}", True),
        ("{tools: ['a*']}", "{tools: ['*']}", True),
        ("{tools: ['a**']}", "{tools: ['*']}", False),
        ("{tools: ['a*']}", "{tools: ['a**']}", True),
        ("{tools: ['*']}", "{tools: ['a*']}", False),
        ("{tools: [a, c]}", "{tools: [a]}", False),
        ("{tools: [a]}", "{prompts: ['**']}", False),
        ("{tools: [a], prompts: [b]}", "{tools: ['**']}", False),
        ("{tools: [a]}", "{tools: ['**'], prompts: [b]}", True),
        ("{tools: [a]}", "{methods: ['**']}", False),
        ("{tools: [a], methods: [tools/call]}", "{methods: ['tools/*']}", True),
        ("{methods: ['tools/*']}", "{tools: ['**']}", False),
        ("{resources: ['x://a/b']}", "{resources: ['x://**']}", True),
        ("{resources: ['x://a/b']}", "{resources: ['x://*']}", False),
    ],
)
def test_a_rule_under_a_wider_denial_is_found_and_in_doubt_left_alone(
    tmp_path: Path, allow: str, deny: str, is_covered: bool
) -> None:
    rules = f"{{id: a, effect: allow, match: {allow}}}, {{id: b, effect: deny, match: {deny}}}"
    assert bool(warnings(write(tmp_path, policy(rules)))) is is_covered


def test_a_denial_in_shadow_covers_nothing(tmp_path: Path) -> None:
    rules = "{id: a, effect: allow, match: {tools: [x]}}, {id: b, effect: deny, mode: shadow}"
    assert warnings(write(tmp_path, policy(rules))) == []


def test_pins_that_a_restart_forgets_are_a_warning(tmp_path: Path) -> None:
    pinned = server("desk", ", pinning: {mode: block}, policy: {default: allow}")
    assert warnings(write(tmp_path, pinned, source())) == []
    in_memory = resource("GatewayConfig", "g", "{state: {url: 'memory:'}}")
    (warning,) = warnings(write(tmp_path, in_memory, pinned, source()))
    assert "at each restart" in warning[1]
