"""What was seen in one of the twins only is looked for in the other by its very value.

A detector may need the key beside a value to know it, and the twin has another form.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from openmcp.inspection.hits import Hit
from openmcp.inspection.twins import Side, side_of
from openmcp.mcp.content import Text

_LEAST: Final = 4
"""Bytes of a value that is looked for: shorter ones stand everywhere."""

_MOST: Final = 1_000
"""Values that are looked for: with more, the two say different things."""


def spread(hits: Sequence[Hit], texts: Iterable[Text]) -> list[Hit]:
    """Return more hits: those values in one twin that no detector saw there, and did see in the other."""
    values: dict[tuple[Side, int], dict[bytes, Hit]] = defaultdict(dict)
    for hit in hits:
        side = side_of(hit.text.path)
        if side is not None and hit.span is not None and hit.changes and not hit.text.is_key:
            values[side, id(hit.rule)][hit.text.value.encode("utf-8", "replace")[slice(*hit.span)]] = hit
    if not values:
        return []
    missing: dict[Side, dict[bytes, Hit]] = {Side.STRUCTURED: {}, Side.TEXT: {}}
    for (side, rule), seen in values.items():
        known = values.get((side.other, rule), {})
        missing[side.other] |= {value: hit for value, hit in seen.items() if value not in known}
    return list(_found(missing, texts)) if any(missing.values()) else []


def _found(missing: dict[Side, dict[bytes, Hit]], texts: Iterable[Text]) -> Iterator[Hit]:
    for text in texts:
        side = side_of(text.path)
        if side is None or text.is_key or not missing[side]:
            continue
        raw = text.value.encode("utf-8", "replace")
        for value, hit in list(missing[side].items())[:_MOST]:
            if len(value) < _LEAST:
                continue
            at = raw.find(value)
            while at >= 0:
                yield Hit(hit.rule, text, hit.detector, (at, at + len(value)))
                at = raw.find(value, at + len(value))
