"""Faults between resources, with the place of the one that has to give way."""

from pathlib import Path

import pytest

from openmcp.config.identities import ApiKeyIdentity
from tests.unit.config.writing import DIGEST, agent, faults, key, loaded, policy, resource, server, source, write

DENY = "{id: a, effect: deny}"


@pytest.mark.parametrize(
    ("documents", "place", "word"),
    [
        ([source(), source()], "g.yaml:8:18", "two IdentitySource named `keys`; the first is at"),
        ([server("a"), server("b", ", path: /a")], "g.yaml:9:64", "belongs to server `a`"),
        ([server("a", ", path: /a/"), server("b", ", path: /a")], "g.yaml:9:64", "belongs to server `a`"),
        ([server("b", ", path: /a"), server("a")], "g.yaml:8:18", "belongs to server `b`"),
        ([server("a", ", path: /x, hosts: [h, i]"), server("b", ", path: /x, hosts: [I]")], "g.yaml:9:64", "host `I`"),
        ([server(spec=", path: /.well-known/x")], "g.yaml:4:64", "gateway's own"),
        ([server(spec=", path: /console")], "g.yaml:4:64", "gateway's own"),
        ([server("console")], "g.yaml:3:18", "gateway's own"),
        ([server(spec=", authentication: {sources: []}")], "g.yaml:4:84", "nobody could ever use"),
        ([source(), server(spec=", authentication: {sources: [keyz]}")], "g.yaml:9:85", "did you mean `keys`"),
        ([source(), server(spec=", authentication: {sources: [keys, keys]}")], "g.yaml:9:91", "named twice"),
        ([agent("a", key("bot"))], "g.yaml:4:39", "no IdentitySource `keys`"),
        ([source(), agent("a", key("bot")), agent("b", key("bot", digest="0" * 64))], "g.yaml:14:49", "agent `a`"),
        ([source(), agent("a", f"{key('bot')}, {key('bot')}")], "g.yaml:9:141", "twice"),
        ([server("github"), policy(DENY, spec=", servers: [githb]")], "g.yaml:9:50", "did you mean `github`"),
        ([policy(DENY, spec=", agents: {sources: [keys]}")], "g.yaml:4:59", "no IdentitySource `keys`"),
        ([policy(f"{DENY}, {DENY}")], "g.yaml:4:44", "two rules `a`"),
        ([resource("GatewayConfig", "a", "{}"), resource("GatewayConfig", "b", "{}")], "g.yaml:7:7", "more than one"),
        ([resource("GatewayConfig", "a", "{}"), resource("GatewayConfig", "a", "{}")], "g.yaml:7:7", "more than one"),
    ],
)
def test_resources_that_contradict_each_other_are_a_fault(
    tmp_path: Path, documents: list[str], place: str, word: str
) -> None:
    (fault,) = faults(write(tmp_path, *documents))
    assert fault[0] == place
    assert word in fault[1]


@pytest.mark.parametrize(
    ("listeners", "rest", "column", "word"),
    [
        ("[{}, {address: 127.0.0.1:1}]", "", 7, "two listeners named `public`"),
        ("[{name: a}, {name: b}]", "", 7, "taken by listener `a`"),
        ("[{address: 127.0.0.1:9090}]", "", 30, "taken by the admin listener"),
        ("[{address: '[::1]:1'}]", ", admin: {address: '[0::1]:1'}", 30, "taken by the admin listener"),
    ],
)
def test_listeners_cannot_share_a_name_or_an_address(
    tmp_path: Path, listeners: str, rest: str, column: int, word: str
) -> None:
    path = write(tmp_path, resource("GatewayConfig", "g", f"{{listeners: {listeners}{rest}}}"))
    (fault,) = faults(path)
    assert fault[0].startswith("g.yaml:4:")
    assert word in fault[1]


def test_free_ports_are_not_the_same_address(tmp_path: Path) -> None:
    spec = (
        "{listeners: [{name: a, address: 127.0.0.1:0}, {name: b, address: 127.0.0.1:0}], admin: {address: 127.0.0.1:0}}"
    )
    assert len(loaded(write(tmp_path, resource("GatewayConfig", "g", spec))).snapshot.gateway.listeners) == 2


def test_the_same_path_on_other_hosts_is_no_fault(tmp_path: Path) -> None:
    documents = [
        server("a", ", path: /x"),
        server("b", ", path: /x, hosts: [b]"),
        server("c", ", path: /x, hosts: [c]"),
    ]
    assert len(loaded(write(tmp_path, *documents)).snapshot.servers) == 3


def test_two_digests_of_one_key_id_let_an_agent_change_its_key(tmp_path: Path) -> None:
    identities = f"{key('bot')}, {key('bot', digest='0' * 64)}"
    snapshot = loaded(write(tmp_path, source(), agent("a", identities))).snapshot
    digests = [one.digest for one in snapshot.agents[0].identities if isinstance(one, ApiKeyIdentity)]
    assert digests == [bytes.fromhex(DIGEST), bytes(32)]


def test_the_same_name_in_two_kinds_is_no_fault(tmp_path: Path) -> None:
    snapshot = loaded(write(tmp_path, server("keys"), source("keys"))).snapshot
    assert [snapshot.servers[0].name, snapshot.sources[0].name] == ["keys", "keys"]


def test_a_reference_to_a_faulty_resource_is_no_second_fault(tmp_path: Path) -> None:
    documents = [resource("MCPServer", "x", "{upstream: {}}"), policy(DENY, spec=", servers: [x]")]
    assert [place for place, _ in faults(write(tmp_path, *documents))] == ["g.yaml:4:18"]


def test_a_faulty_resource_is_still_checked_against_the_others(tmp_path: Path) -> None:
    rules = "{id: a, effect: permit}"
    assert [place for place, _ in faults(write(tmp_path, policy(rules, spec=", servers: [x]")))] == [
        "g.yaml:4:32",
        "g.yaml:4:52",
    ]


def test_defaults_in_place_of_faulty_parts_make_no_faults_of_their_own(tmp_path: Path) -> None:
    documents = [server("a", ", path: nonsense"), server("b", ", path: /a")]
    assert [place for place, _ in faults(write(tmp_path, *documents))] == ["g.yaml:4:64"]
