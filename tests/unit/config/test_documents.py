"""Each fault that one document can have, with its exact place."""

from pathlib import Path

import pytest

from tests.unit.config.writing import DIGEST, HEAD, agent, faults, key, policy, resource, server, source, write

GATEWAY = "GatewayConfig"


def one(folder: Path, *documents: str) -> tuple[str, str]:
    """The only fault of the documents."""
    (fault,) = faults(write(folder, *documents))
    return fault


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ("- a\n", "1:1", "mapping"),
        ("just text\n", "1:1", "mapping"),
        ("kind: Policy\n", "1:1", "apiVersion"),
        ("apiVersion: openmcp.dev/v2\nkind: Policy\n", "1:13", "openmcp.dev/v1alpha1"),
        (HEAD, "1:1", "`kind` is missing"),
        (f"{HEAD}kind: Polciy\n", "2:7", "did you mean `Policy`"),
        (f"{HEAD}kind: Elephant\n", "2:7", "known: GatewayConfig, MCPServer, IdentitySource, Agent, Policy"),
        (f"{HEAD}kind: [Policy]\n", "2:7", "one of"),
        (f"{HEAD}kind: Agent\nspec: {{}}\n", "1:1", "`metadata` is missing"),
        (f"{HEAD}kind: Agent\nmetadata: {{}}\nspec: {{}}\n", "3:11", "`name` is missing"),
        (f"{HEAD}kind: Agent\nmetadata: {{name: Bot}}\nspec: {{}}\n", "3:18", "metadata.name"),
        (f"{HEAD}kind: Agent\nmetadata: {{name: a..b}}\nspec: {{}}\n", "3:18", "metadata.name"),
        (f"{HEAD}kind: Agent\nmetadata: {{name: 7}}\nspec: {{}}\n", "3:18", "string, not a number"),
        (f"{HEAD}kind: Agent\nmetadata: {{name: a, labels: {{x: 1}}}}\nspec: {{}}\n", "3:33", "metadata.labels.x"),
        (f"{HEAD}kind: Agent\nmetadata: {{name: a, labels: {{'': x}}}}\nspec: {{}}\n", "3:30", "metadata.labels"),
        (f"{HEAD}kind: Agent\nmetadata: {{name: a}}\nspec: {{}}\nstatus: {{}}\n", "5:1", "unknown field `status`"),
    ],
)
def test_a_document_that_is_no_resource_is_a_fault(tmp_path: Path, text: str, place: str, word: str) -> None:
    where, what = one(tmp_path, text)
    assert where == f"g.yaml:{place}"
    assert word in what


@pytest.mark.parametrize(
    ("kind", "spec", "column", "word"),
    [
        (GATEWAY, "{listners: []}", 8, "did you mean `listeners`"),
        (GATEWAY, "{listeners: []}", 19, "at least one"),
        (GATEWAY, "{listeners: {name: x}}", 19, "list, not a mapping"),
        (GATEWAY, "{listeners: [{address: 8080}]}", 30, "string, not a number"),
        (GATEWAY, '{listeners: [{address: "8080"}]}', 30, "not an address"),
        (GATEWAY, "{listeners: [{publicUrl: mcp.example}]}", 32, "not a URL"),
        (GATEWAY, '{listeners: [{allowedHosts: ["*"]}]}', 36, "not a host name"),
        (GATEWAY, "{listeners: [{allowedOrigins: [x]}]}", 38, "not a URL"),
        (GATEWAY, "{listeners: [{trustedPeers: [10.0.0.1/8]}]}", 36, "not a network"),
        (GATEWAY, "{admin: x}", 15, "mapping, not a string"),
        (GATEWAY, "{workers: 2}", 17, "not available in this version"),
        (GATEWAY, "{workers: 0}", 17, "1 or auto"),
        (GATEWAY, "{workers: true}", 17, "1 or auto"),
        (GATEWAY, "{config: {}}", 16, "`path` is missing"),
        (GATEWAY, "{config: {source: consul, path: .}}", 25, "not `consul`"),
        (GATEWAY, '{state: {url: "redis://x"}}', 21, "not available in this version"),
        (GATEWAY, "{state: {url: oracle}}", 21, "not a state store"),
        (GATEWAY, "{keys: {sealing: []}}", 24, "at least one"),
        (GATEWAY, "{keys: {hashing: geheim}}", 24, "{env: NAME}"),
        (GATEWAY, "{keys: {hashing: {}}}", 24, "either `env` or `file`"),
        (GATEWAY, "{keys: {hashing: {env: A, file: b}}}", 24, "either `env` or `file`"),
        (GATEWAY, "{audit: {sinks: []}}", 23, "at least one"),
        (GATEWAY, "{audit: {sinks: [{}]}}", 24, "one of `file`, `stdout`"),
        (GATEWAY, "{audit: {sinks: [{file: {}, stdout: {}}]}}", 24, "one of `file`, `stdout`"),
        (GATEWAY, "{audit: {sinks: [{file: {rotate: 1GB}}]}}", 40, "not a size"),
        (GATEWAY, "{audit: {bodies: some}}", 24, "`redacted` or `full`"),
        (GATEWAY, "{audit: {onFailure: failclosed}}", 27, "did you mean `failClosed`"),
        (GATEWAY, "{audit: {durability: fast}}", 28, "not `fast`"),
        (GATEWAY, "{policy: {default: Deny}}", 26, "did you mean `deny`"),
        (GATEWAY, "{limits: {requestBytes: 4194304}}", 31, "string, not a number"),
        (GATEWAY, "{limits: {bodyTimeout: 30}}", 30, "string, not a number"),
        (GATEWAY, "{limits: {bodyTimeout: '30'}}", 30, "not a duration"),
        (GATEWAY, "{limits: {jsonDepth: '64'}}", 28, "whole number, not a string"),
        (GATEWAY, "{limits: {jsonDepth: 64.5}}", 28, "whole number, not a number"),
        (GATEWAY, "{limits: {concurrentExchanges: 0}}", 38, "greater than or equal to 1"),
        ("MCPServer", "{}", 7, "`upstream` is missing"),
        ("MCPServer", "{upstream: {}}", 18, "give either `replicas` or `dns`"),
        ("MCPServer", "{upstream: {replicas: []}}", 29, "at least one"),
        ("MCPServer", "{upstream: {replicas: [ftp://a/mcp]}}", 30, "is not a URL"),
        ("MCPServer", "{upstream: {replicas: [a/mcp]}}", 30, "not a URL"),
        ("IdentitySource", "{}", 7, "give exactly one of"),
        ("IdentitySource", "{apiKey: {header: 'a b'}}", 25, "not a header name"),
        ("IdentitySource", "{apiKey: {}, order: first}", 27, "whole number, not a string"),
        ("Agent", "{identities: [{}]}", 21, "give exactly one of"),
        ("Agent", "{owner: [a]}", 15, "string, not a list"),
        ("Agent", "{groups: support}", 16, "list, not a string"),
        ("Policy", "{}", 7, "`rules` is missing"),
        ("Policy", "{rules: []}", 15, "at least one"),
    ],
)
def test_a_faulty_field_names_its_place_and_what_to_write(
    tmp_path: Path, kind: str, spec: str, column: int, word: str
) -> None:
    where, what = one(tmp_path, resource(kind, "x", spec))
    assert where == f"g.yaml:4:{column}"
    assert word in what


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (", path: github", "has to start with `/`"),
        (", path: /a//b", "normal path"),
        (", hosts: [a:80]", "spec.hosts[0]"),
        (", affinity: {idleTimeout: 30}", "spec.affinity.idleTimeout"),
        (", authentication: {sources: keys}", "list, not a string"),
        (", authentication: {anonymous: 'yes'}", "true or false, not a string"),
        (", authentication: {anonymous: yes}", "true or false, not a string"),
        (", policy: {default: block}", "spec.policy.default"),
        (", limits: {jsonDepth: 4}", "unknown field `jsonDepth`"),
    ],
)
def test_a_faulty_field_of_a_server_is_named(tmp_path: Path, spec: str, word: str) -> None:
    assert word in one(tmp_path, server(spec=spec))[1]


@pytest.mark.parametrize(
    ("upstream", "word"),
    [
        (", host: 'a b'", "spec.upstream.host"),
        (", credentials: [{header: X-Key}]", "`value` is missing"),
        (", credentials: [{header: 'X Key', value: {env: TOKEN}}]", "not a header name"),
        (", credentials: [{header: Mcp-Session-Id, value: {env: TOKEN}}]", "written by the gateway itself"),
        (", credentials: [{header: Host, value: {env: TOKEN}}]", "written by the gateway itself"),
        (", timeouts: {conect: 1s}", "did you mean `connect`"),
        (", retries: {attempts: 0}", "greater than or equal to 1"),
        (", health: {probe: tcp}", "`discover` or `none`"),
        (", balance: roundrobin", "did you mean `roundRobin`"),
    ],
)
def test_a_faulty_field_of_an_upstream_is_named(tmp_path: Path, upstream: str, word: str) -> None:
    assert word in one(tmp_path, server(upstream=upstream))[1]


@pytest.mark.parametrize(
    ("rule", "column", "word"),
    [
        ("{effect: allow}", 16, "`id` is missing"),
        ("{id: 'a b', effect: allow}", 21, "rule id"),
        ("{id: a}", 16, "give either `effect` or `content`"),
        ("{id: a, effect: permit}", 32, "`require-approval`"),
        ("{id: a, effect: allow, match: {}}", 46, "empty match"),
        ("{id: a, effect: allow, match: {tools: []}}", 54, "at least one"),
        ("{id: a, effect: allow, match: {tools: x}}", 54, "list, not a string"),
        ("{id: a, effect: allow, match: {tools: ['']}}", 55, "pattern"),
        ("{id: a, effect: allow, match: {tool: [x]}}", 47, "did you mean `tools`"),
        ("{id: a, effect: allow, mode: off}", 45, "`enforce` or `shadow`"),
    ],
)
def test_a_faulty_rule_is_named(tmp_path: Path, rule: str, column: int, word: str) -> None:
    where, what = one(tmp_path, policy(rule))
    assert where == f"g.yaml:4:{column}"
    assert word in what


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (", agents: {}", "empty selector"),
        (", agents: {names: []}", "at least one"),
        (", agents: {labels: {}}", "at least"),
        (", agents: {minTrust: token2}", "did you mean `token`"),
        (", servers: []", "at least one"),
        (", servers: {}", "`matchLabels` is missing"),
        (", servers: github", "list, not a string"),
        (", servers: {matchLabels: {}}", "at least"),
    ],
)
def test_a_selector_that_would_select_by_accident_is_a_fault(tmp_path: Path, spec: str, word: str) -> None:
    assert word in one(tmp_path, policy("{id: a, effect: deny}", spec=spec))[1]


@pytest.mark.parametrize(
    ("identity", "word"),
    [
        (key("Bot"), "key id"),
        (key("a" * 64), "key id"),
        (key("bot", digest="abc"), "64"),
        (key("bot", digest=DIGEST.upper()), "64"),
        (key("bot", digest="omcp_bot_geheim"), "make a new key"),
    ],
)
def test_a_faulty_key_of_an_agent_is_named_but_not_repeated(tmp_path: Path, identity: str, word: str) -> None:
    what = one(tmp_path, source(), agent("a", identity))[1]
    assert word in what
    assert "geheim" not in what


def test_a_secret_that_is_written_down_is_refused_and_not_repeated(tmp_path: Path) -> None:
    what = one(tmp_path, server(upstream=", credentials: [{header: X-Key, value: geheim}]"))[1]
    assert "{env: NAME}" in what
    assert "geheim" not in what


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (policy("{id: a, effect: allow, match: {tools: }}"), "g.yaml:4:54"),
        (policy("{id: a, effect: allow, match: ~}"), "g.yaml:4:46"),
        (policy("{id: a, effect: allow, match: {tools: [null]}}"), "g.yaml:4:55"),
        (f"{HEAD}kind: Agent\nmetadata: {{name: a}}\nspec:\n", "g.yaml:4:6"),
        (f"{HEAD}kind: Agent\nmetadata:\nspec: {{}}\n", "g.yaml:3:10"),
    ],
)
def test_a_field_without_a_value_is_never_read_as_absent(tmp_path: Path, text: str, place: str) -> None:
    where, what = one(tmp_path, text)
    assert where == place
    assert "no value" in what


def test_only_the_spec_of_the_gateway_may_be_empty(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}kind: GatewayConfig\nspec:\n", "kind: x\n")
    assert [place for place, _ in faults(path)] == ["g.yaml:5:1", "g.yaml:5:7"]


def test_a_misspelt_field_is_one_fault_and_not_also_a_missing_one(tmp_path: Path) -> None:
    what = one(tmp_path, resource("MCPServer", "x", "{upstream: {replica: ['http://a/mcp']}}"))[1]
    assert "did you mean `replicas`" in what


def test_a_field_that_is_not_built_yet_hides_no_other_fault(tmp_path: Path) -> None:
    documents = resource("MCPServer", "x", "{path: a, upstream: {replicas: ['http://a'], service: {}, host: 'b c'}}")
    assert len(faults(write(tmp_path, documents))) == 3


def test_an_unknown_field_is_named_even_if_something_in_it_is_empty(tmp_path: Path) -> None:
    assert len(faults(write(tmp_path, resource("Agent", "x", "{foo: {bar: }}")))) == 2


def test_every_fault_of_one_document_is_reported_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        resource("MCPServer", "x", "{path: a, upstream: {replicas: [b, 'http://c'], host: 'd e'}, audit: {bodies: f}}"),
    )
    assert [place for place, _ in faults(path)] == ["g.yaml:4:14", "g.yaml:4:39", "g.yaml:4:61", "g.yaml:4:85"]
