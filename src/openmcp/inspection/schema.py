"""Whether a value fits the schema that its tool declared. The one file that knows the library.

Schemas come from servers, so that nothing in them may cost much or reach out: references
lead nowhere but into the schema itself, patterns run on RE2, and the steps are counted.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import jsonschema
import msgspec
import referencing
import referencing.exceptions
from jsonschema import validators

from openmcp.language.regexes import Expression
from openmcp.mcp.message import Json

MAX_STEPS: Final = 20_000
"""Branches and references that one check may take."""

_COUNTED: Final = (
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "not",
    "items",
    "contains",
    "dependentSchemas",
)
_REFUSED: Final = ("patternProperties",)
"""Keywords that run the server's pattern on the library's own engine."""


class _Unclear(Exception):
    """The schema cannot be checked within bounds."""


def fits(schema: bytes, value: Json) -> bool:
    """Whether a value fits a schema, `False` too where that is unclear. `schema`: JSON, of 2020-12 unless it says else."""
    try:
        decoded: Any = msgspec.json.decode(schema)
        if not isinstance(decoded, dict) or any(_holds(decoded, keyword) for keyword in _REFUSED):
            return False
        base: Any = validators.validator_for(decoded, default=jsonschema.Draft202012Validator)
        checker = validators.extend(base, _bounded(base.VALIDATORS))
        return bool(checker(decoded, registry=referencing.Registry()).is_valid(value))
    except (_Unclear, RecursionError, ValueError, TypeError, AttributeError, msgspec.DecodeError):
        return False
    except (referencing.exceptions.Unresolvable, jsonschema.exceptions.ValidationError):
        return False


def _bounded(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that need a bound, with one; it holds for one check."""
    steps = [0]

    def counted(keyword: Any) -> Any:
        def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
            steps[0] += 1 + (len(instance) if isinstance(instance, list) else 0)
            if steps[0] > MAX_STEPS:
                raise _Unclear
            yield from keyword(validator, value, instance, schema) or ()

        return check

    bounded = {name: counted(keywords[name]) for name in _COUNTED if name in keywords}
    return {**bounded, "pattern": _pattern, "uniqueItems": _unique}


def _pattern(_: Any, source: Any, instance: Any, __: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not Expression(source).is_in(instance.encode("utf-8", "replace")):
        yield jsonschema.ValidationError("the pattern does not match")


def _unique(_: Any, wanted: Any, instance: Any, __: Any) -> Iterator[Any]:
    # The library compares each with each.
    if wanted and isinstance(instance, list) and len(set(map(msgspec.json.encode, instance))) < len(instance):
        yield jsonschema.ValidationError("an item is there twice")


def _holds(value: Any, keyword: str) -> bool:
    if isinstance(value, dict):
        return keyword in value or any(_holds(item, keyword) for item in value.values())
    return isinstance(value, list) and any(_holds(item, keyword) for item in value)
