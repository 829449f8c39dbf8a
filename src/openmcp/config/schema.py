"""The JSON Schema of all resources, generated from their models.

For editors (`openmcp schema`). It says what can be said without looking at other
documents; `openmcp validate` says the rest.
"""

from typing import Any, TypeGuard

from pydantic.json_schema import models_json_schema

from openmcp.config.resources import KINDS

Schema = dict[str, Any]


def json_schema() -> Schema:
    """Return one schema that any of our documents satisfies."""
    references, schema = models_json_schema([(model, "validation") for model in KINDS.values()], by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "OpenMCP resources",
        "oneOf": list(references.values()),
        # A definition of nothing is a value that may be any JSON, which nobody has to look up.
        "$defs": {name: _tidied(definition) for name, definition in schema["$defs"].items() if definition},
    }


def _tidied(node: Any) -> Any:
    """Without generated titles, and without null: an absent field is left out, never empty."""
    if _is_list(node):
        return [_tidied(item) for item in node]
    if not _is_mapping(node):
        return node
    tidy: Schema = {}
    for key, value in node.items():
        if key == "properties":
            tidy[key] = {name: _tidied(child) for name, child in value.items()}
        elif key == "default":
            if value is not None:
                tidy[key] = _without_null(value)
        elif key != "title":
            tidy[key] = _tidied(value)
    variants = [variant for variant in tidy.pop("anyOf", []) if variant != {"type": "null"}]
    if len(variants) == 1:
        return {**variants[0], **tidy}
    return {**tidy, "anyOf": variants} if variants else tidy


def _without_null(value: Any) -> Any:
    if _is_mapping(value):
        return {key: _without_null(child) for key, child in value.items() if child is not None}
    return [_without_null(child) for child in value] if _is_list(value) else value


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_mapping(value: Any) -> TypeGuard[Schema]:
    return isinstance(value, dict)
