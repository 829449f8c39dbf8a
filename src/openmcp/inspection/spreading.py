"""What was seen in one of the twins only is looked for in the other by its very value.

A detector may need the key beside a value to know it, and the twin has another form.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from openmcp.inspection.hits import Hit
from openmcp.inspection.twins import Side, side_of
from openmcp.language.detector import Span
from openmcp.mcp.content import Path, Text

_LEAST: Final = 4
"""Bytes of a value that is looked for: shorter ones stand everywhere."""

_MOST: Final = 1_000
"""Values that are looked for: with more, the two say different things."""


def spread(hits: Sequence[Hit], texts: Iterable[Text]) -> list[Hit]:
    """Return more hits: the values seen in one twin, wherever they stand in the other and nothing saw them."""
    wanted: dict[Side, dict[tuple[int, bytes], Hit]] = {Side.STRUCTURED: {}, Side.TEXT: {}}
    seen: set[tuple[int, Path, Span]] = set()
    for hit in hits:
        side = side_of(hit.text.path)
        if side is None or hit.span is None or not hit.changes or hit.text.is_key:
            continue
        seen.add((id(hit.rule), hit.text.path, hit.span))
        value = hit.text.value.encode("utf-8", "replace")[slice(*hit.span)]
        if len(value) >= _LEAST and len(wanted[side.other]) < _MOST:
            wanted[side.other][id(hit.rule), value] = hit
    if not any(wanted.values()):
        return []
    return [hit for hit in _found(wanted, texts) if hit.span and (id(hit.rule), hit.text.path, hit.span) not in seen]


def _found(wanted: dict[Side, dict[tuple[int, bytes], Hit]], texts: Iterable[Text]) -> Iterator[Hit]:
    for text in texts:
        side = side_of(text.path)
        if side is None or text.is_key or not wanted[side]:
            continue
        raw = text.value.encode("utf-8", "replace")
        for (_, value), hit in wanted[side].items():
            at = raw.find(value)
            while at >= 0:
                yield Hit(hit.rule, text, hit.detector, (at, at + len(value)))
                at = raw.find(value, at + len(value))
