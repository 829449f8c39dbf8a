"""Whether a value fits the schema that its tool declared. The one file that knows the library.

Schemas come from servers, so that nothing in them may cost much or reach out: references
lead nowhere but into the schema itself, patterns run on RE2, and the steps are counted.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import jsonschema
import msgspec
import referencing
import referencing.exceptions

from openmcp.language.regexes import Expression
from openmcp.mcp.message import Json

MAX_STEPS: Final = 20_000
"""Branches, references and items that one check may take."""

# The library has no types; what is used of it is declared here.
_library: Any = jsonschema
_referencing: Any = referencing
_Keyword: TypeAlias = Callable[[Any, Any, Json, Any], Iterator[Exception] | None]
_registry: object = _referencing.Registry()

_COUNTED: Final = ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "not", "items", "contains", "prefixItems")
_REFUSED: Final = frozenset({"patternProperties"})
"""Keywords that run the server's pattern on the library's own engine."""


class _Unclear(Exception):
    """The schema cannot be checked within bounds."""


def fits(schema: bytes, value: Json) -> bool:
    """Whether a value fits a schema (JSON; of draft 2020-12 unless it says else); `False` too where that is unclear."""
    try:
        decoded: Json = msgspec.json.decode(schema)
        if not isinstance(decoded, dict) or _holds(decoded, _REFUSED):
            return False
        base = _library.validators.validator_for(decoded, default=_library.Draft202012Validator)
        checker = _library.validators.extend(base, _bounded(base.VALIDATORS))
        return checker(decoded, registry=_registry).is_valid(value) is True
    except (_Unclear, RecursionError, ValueError, TypeError, AttributeError, KeyError, msgspec.DecodeError):
        return False
    except (referencing.exceptions.Unresolvable, _library.exceptions.UnknownType, _library.exceptions.SchemaError):
        return False


def _bounded(keywords: Mapping[str, _Keyword]) -> dict[str, _Keyword]:
    """Return the keywords that need a bound, with one; it holds for one check."""
    steps = [0]

    def counted(keyword: _Keyword) -> _Keyword:
        def check(validator: Any, value: Any, instance: Json, schema: Any) -> Iterator[Exception]:
            steps[0] += 1 + (len(instance) if isinstance(instance, list) else 0)
            if steps[0] > MAX_STEPS:
                raise _Unclear
            yield from keyword(validator, value, instance, schema) or ()

        return check

    bounded = {name: counted(keywords[name]) for name in _COUNTED if name in keywords}
    return {**bounded, "pattern": _pattern, "uniqueItems": _unique}


def _pattern(_: Any, source: Any, instance: Json, __: Any) -> Iterator[Exception]:
    if isinstance(instance, str) and not Expression(source).is_in(instance.encode("utf-8", "replace")):
        yield _library.ValidationError("the pattern does not match")


def _unique(_: Any, wanted: Any, instance: Json, __: Any) -> Iterator[Exception]:
    # The library compares each with each.
    if wanted and isinstance(instance, list) and len(set(map(msgspec.json.encode, instance))) < len(instance):
        yield _library.ValidationError("an item is there twice")


def _holds(value: Json, keywords: frozenset[str]) -> bool:
    if isinstance(value, dict):
        return not keywords.isdisjoint(value) or any(_holds(item, keywords) for item in value.values())
    return isinstance(value, list) and any(_holds(item, keywords) for item in value)
