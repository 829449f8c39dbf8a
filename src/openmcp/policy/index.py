"""Which rules can speak of a subject at all, without asking each of them.

Made once for an agent on a server. Literal names are looked up; a glob is asked only about
names that begin as it does. So the cost of a decision hardly grows with the number of rules.
"""

from collections.abc import Iterable, Sequence

from openmcp.language.globs import Names
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.policy.rules import Matcher, Rule


class Index:
    """Finds rules; `rules` keeps the order of the files."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._always: list[int] = []
        self._by_method: dict[str, list[int]] = {}
        self._by_name: dict[SubjectKind, _Table] = {}
        for place, rule in enumerate(rules):
            self._add(place, rule)

    def about(self, method: str, subject: Subject | None) -> list[Rule]:
        """Return the rules whose `match` covers a message of `method` about `subject`."""
        places = [*self._always, *self._by_method.get(method, ())]
        table = self._by_name.get(subject.kind) if subject is not None else None
        if table is not None and subject is not None:
            places += table.about(subject.name)
        # A rule can be found by several of its names.
        found = (self.rules[place] for place in sorted(set(places)))
        return [rule for rule in found if rule.match.covers(method, subject)]

    def _add(self, place: int, rule: Rule) -> None:
        if rule.match.subjects:
            for kind, names in rule.match.subjects.items():
                self._by_name.setdefault(kind, _Table()).add(place, names)
        elif isinstance(rule.match.methods, Names) and not rule.match.methods.begins:
            for method in rule.match.methods.literal:
                self._by_method.setdefault(method, []).append(place)
        else:
            self._always.append(place)


class _Table:
    """Names of one kind, and beginnings of names."""

    def __init__(self) -> None:
        self._literal: dict[str, list[int]] = {}
        self._begins: dict[str, list[int]] = {}
        self._lengths: tuple[int, ...] = ()

    def add(self, place: int, names: Matcher) -> None:
        if not isinstance(names, Names):
            self._keep(place, "")
            return
        for name in names.literal:
            self._literal.setdefault(name, []).append(place)
        for begin in names.begins:
            self._keep(place, begin)

    def about(self, name: str) -> Iterable[int]:
        yield from self._literal.get(name, ())
        for length in self._lengths:
            yield from self._begins.get(name[:length], ())

    def _keep(self, place: int, begin: str) -> None:
        self._begins.setdefault(begin, []).append(place)
        self._lengths = tuple(sorted({*self._lengths, len(begin)}))
