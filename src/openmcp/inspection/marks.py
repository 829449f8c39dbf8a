"""What stands where something was taken out."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from openmcp.language.detector import Span

KEEPS: Final = 4
"""Characters that a mask leaves: enough to tell two cards of one person apart."""

_MASK: Final = "*"


class Cut(NamedTuple):
    """A part of a text that must not stand there."""

    span: Span
    """In bytes of UTF-8."""

    detector: str
    is_masked: bool = False
    """Whether the last characters may stay."""


def redacted(detector: str) -> str:
    """Return what stands for a whole value."""
    return f"[REDACTED:{detector}]"


def without(text: str, cuts: Iterable[Cut]) -> str:
    """Return the text with its cuts marked; of those that overlap the stricter one counts, for all of it."""
    raw = text.encode("utf-8", "replace")
    pieces: list[str] = []
    at = 0
    for cut in joined(cuts):
        start, end = cut.span
        value = raw[start:end].decode("utf-8", "replace")
        pieces += [raw[at:start].decode("utf-8", "replace"), masked(value) if cut.is_masked else redacted(cut.detector)]
        at = end
    return "".join([*pieces, raw[at:].decode("utf-8", "replace")])


def joined(cuts: Iterable[Cut]) -> list[Cut]:
    """Return the cuts from left to right, those that overlap as one: redacted if one of them is."""
    found: list[Cut] = []
    # Of two that begin together the redaction comes first, so that its detector is named.
    for cut in sorted(cuts, key=lambda cut: (cut.span[0], cut.is_masked, -cut.span[1])):
        if found and cut.span[0] < found[-1].span[1]:
            found[-1] = _union(found[-1], cut)
        else:
            found.append(cut)
    return found


def masked(value: str) -> str:
    """Return a value of which only the last four letters or digits can be read; of a short one, nothing."""
    readable = [at for at, char in enumerate(value) if char.isalnum()]
    shown = frozenset(readable[-KEEPS:] if len(readable) >= 2 * KEEPS else ())
    return "".join(char if at in shown or not char.isalnum() else _MASK for at, char in enumerate(value))


def _union(first: Cut, second: Cut) -> Cut:
    span = (first.span[0], max(first.span[1], second.span[1]))
    named = second if first.is_masked and not second.is_masked else first
    return Cut(span, named.detector, first.is_masked and second.is_masked)
