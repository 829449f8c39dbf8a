"""What each agent last saw of a server's lists, kept within bounds.

Servers choose what their lists hold, and agents how many pages they ask for, so a view,
and all of them together, take only so much. Of a definition its digest and its header
map stay, never its text. Used by the catalogues only.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from openmcp.mcp.definitions import DECLARED_BYTES
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.catalogue import Definition

MAX_ENTRIES = 10_000
"""Definitions in one view; what a server lists beyond is not remembered."""

_MAX_BYTES = 32 << 20
"""Weight of one view."""

_MAX_TOTAL_BYTES = 256 << 20
"""Weight of all views; the one that was not added to for longest is forgotten first."""

_MAX_VIEWS = 10_000
_ENTRY_BYTES = 512
"""About what a definition takes beside its texts."""

Key = tuple[str, str]
"""Server, and the binding of the agent."""


class _View:
    __slots__ = ("definitions", "weight")

    def __init__(self) -> None:
        self.definitions: dict[Subject, Definition] = {}
        self.weight = 0


class Views:
    """The views of all agents on all servers."""

    def __init__(self, *, max_total_bytes: int = _MAX_TOTAL_BYTES) -> None:
        self._views: OrderedDict[Key, _View] = OrderedDict()
        self._weight = 0
        self._max_total = max_total_bytes

    def find(self, key: Key, subject: Subject) -> Definition | None:
        """Return the definition in the view; `None` if it is not there."""
        view = self._views.get(key)
        return view.definitions.get(subject) if view is not None else None

    def begin(self, key: Key, kind: SubjectKind) -> None:
        """Forget what the view holds of a kind: its first page has come again."""
        view = self._views.get(key)
        if view is not None:
            kept = {subject: found for subject, found in view.definitions.items() if subject.kind is not kind}
            view.definitions = {}
            self._weigh(view, -view.weight)
            self._add(view, kept.values(), {})

    def add(self, key: Key, page: Iterable[Definition], *, known: Mapping[Subject, Definition]) -> None:
        """Add a page, as far as there is room; what is `known` elsewhere just so is kept only once."""
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = _View()
        self._views.move_to_end(key)
        self._add(view, page, known)
        while len(self._views) > _MAX_VIEWS or (self._weight > self._max_total and len(self._views) > 1):
            _, forgotten = self._views.popitem(last=False)
            self._weight -= forgotten.weight

    def _add(self, view: _View, page: Iterable[Definition], known: Mapping[Subject, Definition]) -> None:
        held = view.definitions
        for definition in page:
            former = held.get(definition.subject)
            more = _weight(definition) - (_weight(former) if former is not None else 0)
            if (former is None and len(held) >= MAX_ENTRIES) or view.weight + more > _MAX_BYTES:
                continue
            same = known.get(definition.subject)
            held[definition.subject] = same if same is not None and same == definition else definition
            self._weigh(view, more)

    def _weigh(self, view: _View, more: int) -> None:
        view.weight += more
        self._weight += more


def _weight(definition: Definition) -> int:
    declared = sum(len(name) + sum(map(len, path)) for name, path in definition.param_headers.items())
    hints = (DECLARED_BYTES if definition.declared else 0) + len(definition.output_schema)
    return _ENTRY_BYTES + len(definition.subject.name) + declared + hints
