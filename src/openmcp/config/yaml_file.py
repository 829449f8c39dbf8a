"""YAML 1.2 documents as trees of `Node`s that know their line and column.

Read from the parser's events instead of its ready-made values, because those are
YAML 1.1 (`on` would be true, `1:30` ninety) and have lost their places. Plain scalars
follow the core schema of YAML 1.2.2 §10.3.2. Knows nothing of resources.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from openmcp.errors import Fault

MAX_DEPTH = 64
"""Deepest nesting. No resource has more than a tenth of it."""

MAX_VALUES = 1_000_000
"""Values of one document with its aliases written out: enough for 50,000 rules, too little for a bomb."""

Scalar: TypeAlias = str | int | float | bool | None
Loc: TypeAlias = tuple[int | str, ...]
"""Keys and indices from the root of a document to a value."""

Place: TypeAlias = tuple[int, int]
"""Line and column, both from 1."""

_TAG_TEXT = "tag:yaml.org,2002:str"
_TAG_MAP = "tag:yaml.org,2002:map"
_TAG_SEQUENCE = "tag:yaml.org,2002:seq"

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_INTEGER_OF_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMBER_CHARS = 300

# The binding to libyaml is ten times faster; wheels bring it, some distributions do not.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True, eq=False)
class Node:
    """One value with its place."""

    value: "dict[str, Node] | list[Node] | Scalar"
    place: Place
    keys: dict[str, Place] = field(default_factory=dict[str, Place])
    """Places of the keys of a mapping."""

    depth: int = 1
    size: int = 1
    """Values in it with aliases written out."""

    def plain(self) -> object:
        """Return the value alone, as dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class YamlFile:
    """What a file holds: its documents, and what is wrong with it as YAML."""

    path: Path
    documents: tuple[Node, ...]
    """Those before the first syntax error; empty ones are left out."""

    faults: tuple[Fault, ...] = ()


def read(path: Path) -> YamlFile:
    """Return the documents of the file; a file that cannot be read is a fault, not an exception."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return YamlFile(path, (), (Fault(str(path), f"cannot be read: {reason}"),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = (before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        return YamlFile(path, (), (_fault(path, place, "is not UTF-8 from here on"),))
    return parse(text, path)


def parse(text: str, path: Path) -> YamlFile:
    """Return the documents of `text`, with faults that name `path`."""
    reader = _Reader(path)
    documents: list[Node] = []
    try:
        documents.extend(document for document in reader.documents(text) if document.value is not None)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = ", ".join(str(part) for part in (error.context, error.problem) if part)
        reader.faults.append(_fault(path, place, f"is not YAML: {problem}"))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = (before.count("\n") + 1, error.position - before.rfind("\n"))
        reader.faults.append(_fault(path, place, "holds a character that YAML does not allow"))
    except _Unreadable as error:
        reader.faults.append(_fault(path, error.place, error.text))
    return YamlFile(path, tuple(documents), tuple(reader.faults))


def pruned(root: Node, dropped: Collection[Loc]) -> Node:
    """Return the document without the values at these places; everything else keeps its own."""

    def visit(node: Node, loc: Loc) -> Node:
        value = node.value
        if isinstance(value, dict):
            children = {key: visit(child, (*loc, key)) for key, child in value.items() if (*loc, key) not in dropped}
            return Node(children, node.place, node.keys)
        if isinstance(value, list):
            return Node([visit(v, (*loc, i)) for i, v in enumerate(value) if (*loc, i) not in dropped], node.place)
        return node

    return visit(root, ()) if dropped else root


def locate(root: Node, loc: Loc, *, at_key: bool = False) -> Place:
    """Return the place of the value at `loc`, or of the innermost value around it that exists.

    Parts that begin with `@` name no level of the document. `at_key` asks for the key of the last part.
    """
    node = root
    for index, part in enumerate(loc):
        if isinstance(part, str) and part.startswith("@"):
            continue
        children = node.value
        if isinstance(children, dict) and isinstance(part, str) and part in children:
            if (at_key and index == len(loc) - 1) or loc[index + 1 :] == ("[key]",):
                return node.keys[part]
            node = children[part]
        elif isinstance(children, list) and isinstance(part, int) and part < len(children):
            node = children[part]
        else:
            break
    return node.place


def child_at(root: Node, *keys: str) -> Node | None:
    """Return the node at a path of keys, `None` where there is none."""
    node: Node | None = root
    for key in keys:
        node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
    return node


class _Unreadable(Exception):
    """The rest of the file cannot be understood."""

    def __init__(self, place: Place, text: str) -> None:
        self.place = place
        self.text = text
        super().__init__(text)


class _Reader:
    """Builds nodes from the parser's events."""

    def __init__(self, path: Path) -> None:
        self.faults: list[Fault] = []
        self._path = path
        self._anchors: dict[str, Node | None] = {}
        """`None`: begun and not yet ended."""
        self._level = 0

    def documents(self, text: str) -> Iterator[Node]:
        """Yield the root of each document."""
        events = yaml.parse(text, Loader=_Loader)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
            elif isinstance(event, yaml.NodeEvent):
                yield self._node(event, events)

    def _node(self, event: Any, events: Iterator[Any]) -> Node:
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), place)
        if event.anchor:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = Node(self._scalar(event, place), place)
        else:
            node = self._collection(event, events, place)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, anchor: str, place: Place) -> Node:
        if anchor not in self._anchors:
            raise _Unreadable(place, f"the alias `*{anchor}` has no anchor before it")
        node = self._anchors[anchor]
        if node is None:
            raise _Unreadable(place, f"the alias `*{anchor}` is part of what it stands for")
        # The alias has a place of its own; what is in it keeps the place where it is written.
        return Node(node.value, place, node.keys, node.depth, node.size)

    def _collection(self, event: Any, events: Iterator[Any], place: Place) -> Node:
        self._level += 1
        if self._level > MAX_DEPTH:
            raise _Unreadable(place, f"nests deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.MappingStartEvent):
            self._check_tag(event.tag, _TAG_MAP, place)
            node = self._mapping(events, place)
        else:
            self._check_tag(event.tag, _TAG_SEQUENCE, place)
            node = self._sequence(events, place)
        self._level -= 1
        return node

    def _mapping(self, events: Iterator[Any], place: Place) -> Node:
        children: dict[str, Node] = {}
        node = Node(children, place)
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._node(event, events)
            child = self._node(next(events), events)
            _grow(node, child)
            name = self._key(key)
            if name in children:
                line = node.keys[name][0]
                self._report(key.place, f"`{name[:80]}` is given twice; the first is in line {line}")
            elif name is not None:
                node.keys[name] = key.place
                children[name] = child
        return node

    def _key(self, key: Node) -> str | None:
        if isinstance(key.value, str) and key.value != "<<":
            return key.value
        if key.value == "<<":
            self._report(key.place, "merge keys (`<<`) are not part of YAML 1.2: write the fields out")
        elif isinstance(key.value, dict | list):
            self._report(key.place, "a key has to be a string")
        else:
            self._report(key.place, "a key has to be a string: put it in quotes")
        return None

    def _sequence(self, events: Iterator[Any], place: Place) -> Node:
        children: list[Node] = []
        node = Node(children, place)
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            child = self._node(event, events)
            _grow(node, child)
            children.append(child)
        return node

    def _scalar(self, event: Any, place: Place) -> Scalar:
        text: str = event.value
        if event.implicit[0] and event.tag is None:
            return _plain_value(text)
        if not event.implicit[1]:
            self._check_tag(event.tag, _TAG_TEXT, place)
        return text

    def _check_tag(self, tag: str | None, expected: str, place: Place) -> None:
        if tag not in (None, "!", expected):
            self._report(place, f"the tag `{tag}` is not supported here")

    def _report(self, place: Place, text: str) -> None:
        self.faults.append(_fault(self._path, place, text))


def _grow(node: Node, child: Node) -> None:
    """Count the child in; aliases count as often as they are used."""
    node.size += child.size
    node.depth = max(node.depth, child.depth + 1)
    if node.size > MAX_VALUES:
        raise _Unreadable(child.place, f"stands for more than {MAX_VALUES:,} values")
    if node.depth > MAX_DEPTH:
        raise _Unreadable(child.place, f"nests deeper than {MAX_DEPTH} levels")


def _plain_value(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    # A very long row of digits is no number that anybody meant, and costly to convert.
    if len(text) > _NUMBER_CHARS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _INTEGER_OF_BASE.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _fault(path: Path, place: Place, text: str) -> Fault:
    return Fault(f"{path}:{place[0]}:{place[1]}", text)
