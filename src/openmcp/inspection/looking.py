"""Looks at every text of a value, each with the key that says what it is. Used for messages and for the log alike."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from openmcp.inspection.scanner import Candidates, Scanner, Sight
from openmcp.mcp.content import Text

BUDGET: Final = "inspection-budget"
"""Stands where the name of a detector would, if there was more to inspect than may be."""

_BEHIND_KEY: Final = b": "


class Seen(NamedTuple):
    """What was seen in one text."""

    text: Text
    sights: list[Sight]


class Look:
    """An exact look at texts, for what a sieve let through."""

    def __init__(self, scanner: Scanner, candidates: Candidates) -> None:
        self._scanner = scanner
        self._alone = _split(candidates, needs_key=False)
        self._with_key = _split(candidates, needs_key=True)
        self._has_alone = bool(self._alone.plain or self._alone.hidden)
        self._has_with_key = bool(self._with_key.plain or self._with_key.hidden)

    def at(self, text: Text) -> list[Sight]:
        """Return what is seen in a text; spans count from its first byte. Raises: Exceeded; Unavailable."""
        raw = text.value.encode("utf-8", "replace")
        sights = self._scanner.look(raw, self._alone) if self._has_alone else []
        if self._has_with_key:
            before = b"" if text.is_key else text.key.encode("utf-8", "replace") + _BEHIND_KEY
            found = self._scanner.look(before + raw, self._with_key, shown_from=len(before))
            sights += _shifted(found, len(before))
        return sights

    def through(self, texts: Iterable[Text]) -> Iterator[Seen]:
        """Yield what is seen, text by text. Raises: Exceeded; Unavailable."""
        for text in texts:
            sights = self.at(text)
            if sights:
                yield Seen(text, sights)


def _split(candidates: Candidates, *, needs_key: bool) -> Candidates:
    plain = tuple(detector for detector in candidates.plain if detector.needs_key is needs_key)
    hidden = tuple(detector for detector in candidates.hidden if detector.needs_key is needs_key)
    return Candidates(plain, hidden)


def _shifted(sights: list[Sight], by: int) -> list[Sight]:
    return [
        Sight(sight.detector, (sight.span[0] - by, sight.span[1] - by) if sight.span is not None else None)
        for sight in sights
    ]
