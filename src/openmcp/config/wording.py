"""Says in our words what pydantic found in a document, each fault with its line and column.

Called by `config.documents`. One mistake makes one fault: what only follows from
another fault is left out.
"""

import difflib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from openmcp.config import later
from openmcp.config.resources import Document
from openmcp.config.yaml_file import Loc, Node, locate
from openmcp.errors import Fault

_SHOWN_CHARS = 80

_OF_THE_WHOLE = frozenset({"too_short", "value_error"})
"""Errors of a list or mapping that may only follow from an error inside it."""


class Wording:
    """Says in our words what pydantic found in one document."""

    def __init__(self, model: type[Document], kind: str, *, node: Node, file: Path) -> None:
        self._model = model
        self._kind = kind
        self._node = node
        self._file = file

    def faults(self, error: ValidationError, *, ignored: Collection[Loc]) -> list[Fault]:
        """Return one fault per mistake; consequences of another one, and those at `ignored`, are left out."""
        details = error.errors(include_url=False)
        locs = [without_tags(detail["loc"]) for detail in details]
        explained = self._explained_missing(details)
        return [
            self._fault(detail)
            for detail, loc in zip(details, locs, strict=True)
            if loc not in ignored
            and not (detail["type"] == "missing" and loc in explained)
            and not (detail["type"] in _OF_THE_WHOLE and has_inner(loc, [*locs, *ignored]))
        ]

    def _explained_missing(self, details: Iterable[Any]) -> frozenset[Loc]:
        """Fields that are missing because they are misspelt, or because their alternative is not built yet."""
        explained: set[Loc] = set()
        for detail in details:
            if detail["type"] != "extra_forbidden":
                continue
            *container, name = detail["loc"]
            known = self._known_fields(tuple(container))
            if later.field(self._kind, _pattern(tuple(container)), str(name)):
                explained |= {(*without_tags(tuple(container)), other) for other in known}
            else:
                explained |= {(*without_tags(tuple(container)), other) for other in _close(str(name), known)}
        return frozenset(explained)

    def _fault(self, detail: Any) -> Fault:
        loc: Loc = detail["loc"]
        match detail["type"]:
            case "extra_forbidden":
                return self._at(loc, self._unknown_field(loc), about=loc[:-1], at_key=True)
            case "missing":
                return self._at(loc[:-1], f"`{loc[-1]}` is missing")
            case "literal_error":
                return self._at(loc, self._unknown_value(loc, detail))
            case "value_error":
                return self._at(loc, str(detail["ctx"]["error"]))
            case _:
                return self._at(loc, _type_text(detail))

    def _at(self, loc: Loc, text: str, *, about: Loc | None = None, at_key: bool = False) -> Fault:
        path = path_text(loc if about is None else about)
        place = locate(self._node, loc, at_key=at_key)
        return self._file_fault(place, f"{path}: {text}" if path else text)

    def _file_fault(self, place: tuple[int, int], text: str) -> Fault:
        return Fault(f"{self._file}:{place[0]}:{place[1]}", text)

    def _unknown_field(self, loc: Loc) -> str:
        name = str(loc[-1])
        not_yet = later.field(self._kind, _pattern(loc[:-1]), name)
        if not_yet is not None:
            return not_yet
        known = self._known_fields(loc[:-1])
        return f"unknown field `{name[:_SHOWN_CHARS]}`{or_rather(name, known)}; known here: {listed(known)}"

    def _unknown_value(self, loc: Loc, detail: Any) -> str:
        given = detail["input"]
        not_yet = later.value(self._kind, _pattern(loc), given)
        if not_yet is not None:
            return not_yet
        expected = str(detail["ctx"]["expected"]).replace("'", "`")
        words = expected.replace("`", "").replace(" or ", ", ").split(", ")
        return f"has to be {expected}, not {shown(given)}{or_rather(str(given), words)}"

    def _known_fields(self, loc: Loc) -> list[str]:
        models: list[type[BaseModel]] = [self._model]
        for part in without_tags(loc):
            if isinstance(part, str):
                fields = [field for model in models for field in model.model_fields.values() if field.alias == part]
                models = [model for field in fields for model in models_in(field.annotation)]
        return [field.alias or name for model in models for name, field in model.model_fields.items()]


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the models that a field's annotation names, however deep in unions and lists."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for argument in get_args(annotation) for model in models_in(argument)]


_TYPE_TEXTS = {
    "string_type": "has to be a string",
    "int_type": "has to be a whole number",
    "float_type": "has to be a number",
    "bool_type": "has to be true or false",
    "tuple_type": "has to be a list",
    "dict_type": "has to be a mapping",
    "model_type": "has to be a mapping",
    "model_attributes_type": "has to be a mapping",
    "too_short": "has to hold at least one entry",
}
_TYPE_NAMES: dict[object, str] = {
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    dict: "a mapping",
    list: "a list",
}


def _type_text(detail: Any) -> str:
    if detail["type"] == "too_short":
        return _TYPE_TEXTS["too_short"]
    if detail.get("ctx", {}).get("class_name") == "SecretRef":
        # The value is not repeated: it may be the secret.
        return "secrets are not written here but named: {env: NAME} or {file: PATH}"
    text = _TYPE_TEXTS.get(detail["type"])
    if text is None:
        message = str(detail["msg"])
        return message[:1].lower() + message[1:]
    return f"{text}, not {_TYPE_NAMES.get(type(cast('object', detail['input'])), 'this')}"


def has_inner(loc: Loc, locs: Iterable[Loc]) -> bool:
    """Whether one of `locs` is inside `loc`."""
    return any(len(other) > len(loc) and other[: len(loc)] == loc for other in locs)


def without_tags(loc: Loc) -> Loc:
    """Return the place without the names of alternatives, which are no level of the document."""
    return tuple(part for part in loc if not (isinstance(part, str) and part.startswith("@")))


def path_text(loc: Loc) -> str:
    """`spec.rules[2].match`."""
    text = ""
    for part in without_tags(loc):
        if part == "[key]":
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _pattern(loc: Loc) -> str:
    """`spec.rules[].match`: the path as `later` writes it."""
    return "".join("[]" if isinstance(part, int) else f".{part}" for part in without_tags(loc)).removeprefix(".")


def _close(name: str, known: Iterable[str]) -> list[str]:
    by_lower = {word.lower(): word for word in known}
    return [by_lower[word] for word in difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)]


def or_rather(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` where a known word is close, else nothing."""
    close = _close(name, known)
    return f"; did you mean `{close[0]}`?" if close else ""


def listed(words: Iterable[str]) -> str:
    """Return the words for a sentence."""
    return ", ".join(words)


def shown(value: object) -> str:
    """Return a value for a sentence, shortened."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text[:_SHOWN_CHARS]}`"
