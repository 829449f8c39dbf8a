"""Which rules apply together, compiled: one scanner for all they look for, and what each sight means to which rule.

Made once for each set of rules that decisions carry, and kept as long as their snapshot.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from openmcp.inspection.looking import Look
from openmcp.inspection.places import Covers, compile_places
from openmcp.inspection.registry import resolved
from openmcp.inspection.scanner import Candidates, Scanner
from openmcp.inspection.twins import Side, side_of
from openmcp.language.detector import Detector, Span
from openmcp.mcp.content import Text
from openmcp.mcp.message import Message
from openmcp.model.content import Action, ContentRule, ResponseFacts

STRICTNESS: Final = {action: rank for rank, action in enumerate(Action)}
"""Lower is stricter."""


class Hit(NamedTuple):
    """What a detector saw in one text, and a rule that wants to know."""

    rule: ContentRule
    text: Text
    detector: str
    span: Span | None
    """In bytes of UTF-8; `None` = the whole text."""

    @property
    def changes(self) -> bool:
        """Whether something has to be done about it."""
        return self.rule.action is not Action.LOG and not self.rule.is_shadow


class _Wanted(NamedTuple):
    number: int
    """Of the rule among those that apply together."""

    covers: Covers | None


class Plan:
    """What a set of rules looks for, and where."""

    def __init__(self, rules: Sequence[ContentRule]) -> None:
        """Raises: ValueError for a pattern or a path that cannot be, LookupError for an unknown detector."""
        wanted: dict[Detector, list[_Wanted]] = defaultdict(list)
        for number, rule in enumerate(rules):
            place = _Wanted(number, compile_places(rule.places))
            for detector in dict.fromkeys(map(resolved, rule.detectors)):
                wanted[detector].append(place)
        self._wanted = dict(wanted)
        self.scanner = Scanner(self._wanted)

    def hits(self, texts: Iterable[Text], candidates: Candidates, rules: Sequence[ContentRule]) -> list[Hit]:
        """Return what is seen, for each rule whose places it is in.

        `rules`: those of the plan, perhaps with other conditions. Raises: Exceeded; Unavailable.
        """
        found: dict[int, list[tuple[Hit, bool]]] = defaultdict(list)
        for text, sights in Look(self.scanner, candidates).through(texts):
            for detector, span in sights:
                for number, covers in self._wanted[detector]:
                    is_covered = covers is None or covers(text.path[1:])
                    found[number].append((Hit(rules[number], text, detector.name, span), is_covered))
        return [hit for hits in found.values() for hit in _in_places(hits)]


def strictest(rules: Iterable[ContentRule]) -> ContentRule:
    """Return the rule to which what cannot be inspected is put down: of those in force the strictest."""
    return min(rules, key=lambda rule: (rule.is_shadow, STRICTNESS[rule.action]))


def _in_places(hits: Sequence[tuple[Hit, bool]]) -> Iterator[Hit]:
    """Yield the hits in the places of their rule; if one is in a twin, those in the other twin count too."""
    is_twin = any(is_covered and side_of(hit.text.path) is not None for hit, is_covered in hits)
    for hit, is_covered in hits:
        if is_covered or (is_twin and side_of(hit.text.path) is not None):
            yield hit


LISTS: Final = frozenset({"tools", "prompts", "resources", "resourceTemplates"})
"""Members of a result that hold definitions."""


def enough(hits: Iterable[Hit], message: Message) -> list[Hit]:
    """Return the hits of rules that have as many as they want, and whose conditions hold."""
    by_rule: dict[int, list[Hit]] = defaultdict(list)
    for hit in hits:
        by_rule[id(hit.rule)].append(hit)
    return [hit for own in by_rule.values() if _is_enough(own) and _applies(own, message) for hit in own]


def _is_enough(hits: Sequence[Hit]) -> bool:
    """Whether as many things were found as the rule wants: what stands in both twins is one thing."""
    sides = Counter(side_of(hit.text.path) for hit in hits)
    return sides[None] + max(sides[Side.STRUCTURED], sides[Side.TEXT]) >= hits[0].rule.min_count


def _applies(hits: Sequence[Hit], message: Message) -> bool:
    when = hits[0].rule.when
    if when is None:
        return True
    is_error = message.error is not None or (message.result or {}).get("isError") is True
    return when(ResponseFacts(message.result, is_error, Counter(hit.detector for hit in hits)))
