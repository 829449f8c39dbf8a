"""What this version has not is refused with a reason: every line of the table, at its place."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from openmcp.config import later
from tests.unit.config.writing import HEAD, faults, write

BASES: dict[str, dict[str, Any]] = {
    "GatewayConfig": {
        "listeners": [{"name": "public"}],
        "admin": {},
        "keys": {"hashing": {"env": "HASHING"}},
        "audit": {"sinks": [{"stdout": {}}]},
        "policy": {},
        "config": {"source": "file", "path": "."},
    },
    "MCPServer": {
        "upstream": {
            "replicas": ["http://127.0.0.1:1/mcp"],
            "credentials": [{"header": "X-Key", "value": {"env": "TOKEN"}}],
        },
        "affinity": {},
        "authentication": {"anonymous": True},
        "audit": {},
    },
    "IdentitySource": {},
    "Agent": {"identities": [{}]},
    "Policy": {"rules": [{"id": "a", "effect": "deny", "match": {"tools": ["x"]}}]},
}


def refused(folder: Path, kind: str, path: str, value: Any) -> tuple[str, str]:
    """The only fault of a document of `kind` with `value` at `path`."""
    head = {"apiVersion": "openmcp.dev/v1alpha1", "kind": kind}
    document: dict[str, Any] = {**head, "metadata": {"name": "x"}, "spec": copy.deepcopy(BASES[kind])}
    node: Any = document
    *parents, last = path.replace("[]", ".0").split(".")
    for parent in parents:
        node = node[int(parent)] if parent.isdigit() else node[parent]
    node[last] = value
    # JSON is YAML.
    (fault,) = faults(write(folder, json.dumps(document)))
    return fault


def _fields() -> list[tuple[str, str]]:
    spelt = [place.split(" ") for place in later.FIELDS]
    places = [(kind if kind != "*" else "Policy", path) for kind, *_, path in spelt]
    return [(kind, path if "." in path else f"spec.keys.hashing.{path}") for kind, path in places]


@pytest.mark.parametrize(("kind", "path"), _fields())
def test_a_field_that_is_not_built_yet_is_refused_with_a_reason(tmp_path: Path, kind: str, path: str) -> None:
    _, what = refused(tmp_path, kind, path, {})
    assert f"`{path.rpartition('.')[2]}` is not available in this version: " in what


@pytest.mark.parametrize(("place", "word"), later.VALUES)
def test_a_value_that_is_not_built_yet_is_refused_with_a_reason(tmp_path: Path, place: str, word: str) -> None:
    kind, path = place.split(" ")
    _, what = refused(tmp_path, kind, path, word)
    assert f"`{word}` is not available in this version: " in what


def test_a_kind_that_is_not_built_yet_is_refused_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Every kind of the resource model is built; the next one begins like this.
    monkeypatch.setitem(later.KINDS, "Weather", "it comes with the seasons")
    path = write(tmp_path, f"{HEAD}kind: Weather\nmetadata: {{name: x}}\nspec: {{a: }}\n")
    (fault,) = faults(path)
    assert fault[0] == "g.yaml:2:7"
    assert "`Weather` is not available in this version: " in fault[1]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("ApproverGroup", "{members: [carol@example.com]}"),
        ("ApprovalFlow", "{approvers: {anyOf: [{group: leads}]}}"),
        ("ReviewChannel", "{email: {smtp: {host: mail.example.com}, from: a@example.com, to: [b@example.com]}}"),
    ],
)
def test_a_gateway_does_not_read_past_what_it_would_ask_people_with(tmp_path: Path, kind: str, spec: str) -> None:
    path = write(tmp_path, f"{HEAD}kind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n")
    assert any(f"`{kind}` is not available in this version: " in text for _, text in faults(path))
