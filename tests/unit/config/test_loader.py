"""Files, directories, and all faults of all of them."""

import time
from pathlib import Path

import pytest
import yaml

from openmcp.config import yaml_file
from openmcp.config.loader import load
from openmcp.errors import Misconfigured
from tests.unit.config.writing import HEAD, agent, faults, key, loaded, policy, resource, server, source, write

ROOT = Path(__file__).resolve().parents[3]

GATEWAY = resource("GatewayConfig", "g", "{config: {path: resources}}")


def test_the_bootstrap_file_and_the_directory_it_names_are_one_configuration(tmp_path: Path) -> None:
    write(tmp_path, server("a"), name="resources/a.yaml")
    write(tmp_path, server("b"), name="resources/deep/b.yml")
    write(tmp_path, "not: a resource", name="resources/notes.txt")
    write(tmp_path, "not: a resource", name="resources/.hidden/c.yaml")
    snapshot = loaded(write(tmp_path, GATEWAY, source())).snapshot
    assert [one.name for one in snapshot.servers] == ["a", "b"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path, resource("GatewayConfig", "g", "{config: {path: .}}"), server())
    assert len(loaded(path, path, tmp_path).snapshot.servers) == 1


def test_the_same_resource_in_two_files_is_a_fault(tmp_path: Path) -> None:
    write(tmp_path, server(), name="resources/a.yaml")
    assert [place for place, _ in faults(write(tmp_path, GATEWAY, server()))] == ["resources/a.yaml:3:18"]


def test_a_directory_that_does_not_exist_is_a_fault_where_it_is_named(tmp_path: Path) -> None:
    assert [place for place, _ in faults(write(tmp_path, GATEWAY))] == ["g.yaml:4:23"]


def test_an_empty_directory_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "resources").mkdir()
    (warning,) = loaded(write(tmp_path, GATEWAY)).warnings
    assert warning.place == str(tmp_path / "resources")


def test_relative_paths_count_from_the_file_that_holds_them(tmp_path: Path) -> None:
    (tmp_path / "resources" / "token").parent.mkdir()
    (tmp_path / "resources" / "token").write_text("x\n")
    document = server(upstream=", credentials: [{header: X-Key, value: {file: token}}]")
    write(tmp_path, document, name="resources/a.yaml")
    assert loaded(write(tmp_path, GATEWAY)).snapshot.servers[0].credentials[0].value == "x"


def test_faults_of_all_files_are_reported_together_in_order(tmp_path: Path) -> None:
    write(tmp_path, "a: [\n", name="resources/a.yaml")
    write(tmp_path, resource("Agent", "x", "{ownr: a}"), name="resources/b.yaml")
    path = write(tmp_path, GATEWAY, resource("Policy", "p", "{rules: [], mode: x, servers: [s]}"))
    places = [place for place, _ in faults(path)]
    assert places == ["g.yaml:9:15", "g.yaml:9:25", "g.yaml:9:38", "resources/a.yaml:2:1", "resources/b.yaml:4:8"]


def test_twelve_different_faults_are_twelve_lines_with_their_places(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        resource("GatewayConfig", "g", "{limits: {bodyTimeout: 30, requestByte: 1MiB}, listeners: [{hue: {}}]}"),
        resource("MCPServer", "a", "{path: /x/../y, upstream: {replicas: ['http://h/']}, pinning: {mode: wrn}}"),
        resource("MCPServer", "b", "{upstream: {replicas: ['http://h/'], host: , balance: fastest}}"),
        f"{HEAD}kind: Polic\n",
        policy("{id: r, effect: allow}, {id: r, effect: deny}", spec=", servers: [nowhere]"),
        agent("bot", key("bot")),
        f"{HEAD}kind: Agent\nmetadata: {{name: c}}\nspec: {{}}\nspec: {{}}\n",
    )
    assert [place for place, _ in faults(path)] == [
        "g.yaml:4:30",
        "g.yaml:4:34",
        "g.yaml:4:67",
        "g.yaml:9:14",
        "g.yaml:9:76",
        "g.yaml:14:50",
        "g.yaml:14:61",
        "g.yaml:17:7",
        "g.yaml:22:45",
        "g.yaml:22:74",
        "g.yaml:27:39",
        "g.yaml:33:1",
    ]


def test_load_raises_with_every_fault(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load([write(tmp_path, resource("Agent", "x", "{a: 1, b: 2}"))], env={})
    assert len(caught.value.faults) == 2


def test_a_revision_depends_on_what_is_said_and_not_on_how_it_is_written(tmp_path: Path) -> None:
    first = loaded(write(tmp_path, server("a"), server("b"))).snapshot.revision
    second = loaded(write(tmp_path, "# comment\n" + server("b"), server("a").replace(", ", ",  "))).snapshot.revision
    third = loaded(write(tmp_path, server("a"), server("c"))).snapshot.revision
    assert first == second != third
    assert len(first) == 12


def test_secrets_have_no_part_in_the_revision(tmp_path: Path) -> None:
    path = write(tmp_path, server(upstream=", credentials: [{header: X-Key, value: {env: TOKEN}}]"))
    one, other = (loaded(path, env={"TOKEN": token}).snapshot for token in ("a", "b"))
    assert one.revision == other.revision
    assert one != other


def _examples() -> list[Path]:
    places = ("docs/**/*.yaml", "deploy/examples/**/*.yaml", "src/openmcp/**/*.yaml", "tests/unit/config/full.yaml")
    return sorted(path for place in places for path in ROOT.glob(place))


@pytest.mark.parametrize("path", _examples(), ids=lambda path: path.name)
def test_examples_mean_the_same_to_a_reader_of_yaml_1_1(path: Path) -> None:
    # `kubectl` is one.
    ours = [document.plain() for document in yaml_file.read(path).documents]
    theirs = [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document is not None]
    assert ours == theirs


def test_no_field_is_called_like_a_boolean_of_yaml_1_1() -> None:
    from tools.gen_reference import page

    fields = {part for line in page().splitlines() if line.startswith("| `") for part in line.split("`")[1].split(".")}
    assert "listeners[]" in fields
    assert not fields & {"y", "n", "yes", "no", "on", "off", "true", "false"}


def test_a_thousand_servers_and_five_thousand_rules_load_in_two_seconds(tmp_path: Path) -> None:
    rules = ", ".join(
        f"{{id: r{n}, match: {{tools: [tool_{n}, 'read_*'], resources: ['x://**']}}, effect: allow}}" for n in range(10)
    )
    servers = [server(f"s{n}") for n in range(1000)]
    policies = [policy(rules, f"p{n}", spec=f", servers: [s{n}, s{n + 500}]") for n in range(500)]
    path = write(tmp_path, source(), *servers, *policies)
    # Processor time: what else the machine does is not our doing.
    before = time.process_time()
    result = loaded(path)
    took_s = time.process_time() - before
    assert len(result.snapshot.servers) == 1000
    assert sum(len(one.rules) for one in result.snapshot.policies) == 5000
    assert took_s < 2.0


def test_a_path_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, server())
    assert [place for place, _ in faults(path / "below.yaml")] == ["below.yaml"]


def test_a_file_that_cannot_even_be_looked_at_is_a_fault_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "itself.yaml").symlink_to("itself.yaml")
    found = faults(write(tmp_path, GATEWAY))
    assert len(found) == 1
    assert "cannot be read" in found[0][1]


@pytest.mark.parametrize("name", ["itself", '"nul\\0"'])
def test_a_path_that_leads_nowhere_is_a_fault(tmp_path: Path, name: str) -> None:
    (tmp_path / "itself").symlink_to("itself")
    found = faults(write(tmp_path, resource("GatewayConfig", "g", f"{{config: {{path: {name}}}}}")))
    assert [place for place, _ in found] == ["g.yaml:4:23"]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_a_file_without_a_resource_is_a_fault_as_it_may_have_been_cut_short(tmp_path: Path, text: str) -> None:
    write(tmp_path, text, name="resources/policies.yaml")
    assert [place for place, _ in faults(write(tmp_path, GATEWAY))] == ["resources/policies.yaml"]
