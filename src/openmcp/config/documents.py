"""Documents checked one by one: a tree of nodes in, a typed resource or all its faults out.

Turns what pydantic reports into sentences about the file, each with line and column.
What concerns several resources at once is `config.check`.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from openmcp.config import later
from openmcp.config.resources import API_VERSION, KINDS, Document
from openmcp.config.resources.base import REMAINS
from openmcp.config.wording import Wording, has_inner, listed, or_rather, path_text, shown, without_tags
from openmcp.config.yaml_file import Loc, Node, YamlFile, child_at, locate, pruned
from openmcp.errors import Fault

D_co = TypeVar("D_co", bound=Document, covariant=True)

_PRUNINGS = 8
"""Each takes out one level of what is wrong; no document is deeper."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed(Generic[D_co]):
    """A document and where it stands."""

    document: D_co
    node: Node
    file: Path
    is_whole: bool = True
    """Whether all of it was valid; if not, the faulty parts are left out here, and defaults stand in their place."""

    @property
    def name(self) -> str:
        """The resource's name."""
        return self.document.metadata.name

    def fault(self, text: str, *loc: int | str) -> Fault:
        """Return a fault at the value at `loc`, or at what is around it if it is not written."""
        return _fault(self.file, locate(self.node, loc), text)


@dataclass(frozen=True, slots=True)
class Documents:
    """The outcome for several files."""

    usable: tuple[Placed[Document], ...]
    """The valid ones; where there are faults also what remains of the others, to be checked but never used."""

    declared: frozenset[tuple[str, str]]
    """(kind, name) of all documents, valid or not: a reference to a faulty one is no second fault."""

    faults: tuple[Fault, ...]


def validate(files: Iterable[YamlFile], *, passing_over: Collection[str] = ()) -> Documents:
    """Return every document of the files and every fault in them.

    `passing_over`: kinds that are not built yet, of whose documents only the names are looked at.
    """
    usable: list[Placed[Document]] = []
    declared: set[tuple[str, str]] = set()
    faults: list[Fault] = []
    for file in files:
        faults += file.faults
        for node in file.documents:
            declared |= _declared(node)
            kind = child_at(node, "kind")
            if kind is not None and kind.value in passing_over:
                continue
            found, document_faults = _validate_one(node, file.path)
            faults += document_faults
            if found is not None:
                usable.append(found)
    return Documents(tuple(usable), frozenset(declared), tuple(faults))


def _declared(node: Node) -> set[tuple[str, str]]:
    """The (kind, name) that a document claims, as far as it can be read."""
    kind = child_at(node, "kind")
    name = child_at(node, "metadata", "name")
    if kind is None or name is None or not isinstance(name.value, str):
        return set()
    return {(str(kind.value), name.value)}


def _validate_one(node: Node, file: Path) -> tuple[Placed[Document] | None, list[Fault]]:
    model, faults = _model(node, file)
    if model is None:
        return None, faults
    kind = model.__name__.removesuffix("Document")
    # A field without a value is never read as "absent": `tools:` with nothing behind it
    # would turn a narrow rule into one that matches everything. Only where all has
    # defaults, nothing is as clear as {}.
    empty = frozenset(_nulls(node, ()))
    for loc in empty - ({("spec",)} if kind == "GatewayConfig" else set()):
        text = f"{path_text(loc)}: has no value; give one, or leave the field out"
        faults.append(_fault(file, locate(node, loc), text))
    node = pruned(node, empty)
    try:
        return Placed(model.model_validate(node.plain()), node, file, is_whole=not faults), faults
    except ValidationError as error:
        wording = Wording(model, kind, node=node, file=file)
        faults += wording.faults(error, ignored=empty)
        return _remains(model, node, file), faults


def _remains(model: type[Document], node: Node, file: Path) -> Placed[Document] | None:
    """The document without what is wrong in it, so that the rest can be checked against the other documents."""
    for _ in range(_PRUNINGS):
        try:
            document = model.model_validate(node.plain(), context=REMAINS)
            return Placed(document, node, file, is_whole=False)
        except ValidationError as error:
            locs = [_culprit(detail) for detail in error.errors(include_url=False)]
            inner = frozenset(loc for loc in locs if not has_inner(loc, locs))
            if any(len(loc) < 2 for loc in inner):
                return None
            node = pruned(node, inner)
    return None


def _culprit(detail: Any) -> Loc:
    """What has to go so that this error goes."""
    loc = without_tags(detail["loc"])
    return loc[:-1] if detail["type"] == "missing" or loc[-1:] == ("[key]",) else loc


def _model(node: Node, file: Path) -> tuple[type[Document] | None, list[Fault]]:
    """The model of the document's kind, or why there is none."""
    if not isinstance(node.value, dict):
        return None, [_fault(file, node.place, "a resource is a mapping with apiVersion, kind, metadata and spec")]
    faults: list[Fault] = []
    version = node.value.get("apiVersion")
    if version is None:
        faults.append(_fault(file, node.place, f"`apiVersion` is missing: write apiVersion: {API_VERSION}"))
    elif version.value != API_VERSION:
        faults.append(
            _fault(file, version.place, f"apiVersion: {shown(version.value)} is not known here; write {API_VERSION}")
        )
    kind = node.value.get("kind")
    if kind is None:
        faults.append(_fault(file, node.place, f"`kind` is missing: one of {listed(KINDS)}"))
    elif not isinstance(kind.value, str):
        faults.append(_fault(file, kind.place, f"kind: has to be one of {listed(KINDS)}"))
    elif kind.value not in KINDS:
        name = kind.value
        text = (
            later.kind(name) or f"kind: {shown(name)} is not known here{or_rather(name, KINDS)}; known: {listed(KINDS)}"
        )
        faults.append(_fault(file, kind.place, text))
    return (None, faults) if faults or kind is None else (KINDS[str(kind.value)], [])


def _nulls(node: Node, loc: Loc) -> Iterator[Loc]:
    """Where a field or entry has no value."""
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from _nulls(child, (*loc, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from _nulls(child, (*loc, index))
    elif node.value is None:
        yield loc


def _fault(file: Path, place: tuple[int, int], text: str) -> Fault:
    return Fault(f"{file}:{place[0]}:{place[1]}", text)
