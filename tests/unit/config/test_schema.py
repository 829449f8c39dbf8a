"""The JSON Schema for editors, held against the loader."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from openmcp.config import yaml_file
from openmcp.config.schema import json_schema

jsonschema: Any = import_module("jsonschema")

DOCUMENTS = [document.plain() for document in yaml_file.read(Path(__file__).with_name("full.yaml")).documents]


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_every_valid_document_satisfies_the_schema(validator: Any) -> None:
    assert [error.message for document in DOCUMENTS for error in validator.iter_errors(document)] == []


@pytest.mark.parametrize("index", range(len(DOCUMENTS)))
def test_an_unknown_field_does_not(validator: Any, index: int) -> None:
    document: Any = DOCUMENTS[index]
    assert not validator.is_valid({**document, "spec": {**document["spec"], "unknown": 1}})


@pytest.mark.parametrize(
    ("limits", "is_valid"),
    [({"requestBytes": "4MiB"}, True), ({"requestBytes": "4MB"}, False), ({"bodyTimeout": 30}, False), (None, False)],
)
def test_values_are_checked_as_far_as_a_schema_can(validator: Any, limits: object, is_valid: bool) -> None:
    document = {"apiVersion": "openmcp.dev/v1alpha1", "kind": "GatewayConfig", "spec": {"limits": limits}}
    assert validator.is_valid(document) is is_valid


def test_every_field_is_described() -> None:
    definitions = json_schema()["$defs"]
    bare = [
        f"{name}.{field}"
        for name, definition in definitions.items()
        for field, schema in definition.get("properties", {}).items()
        if "description" not in schema and "$ref" not in schema
    ]
    assert bare == []
    assert all(definition.get("description") for definition in definitions.values())
