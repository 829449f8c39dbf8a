"""One form for what looks alike: the text that rules mean, whatever characters spell it.

Compatibility forms are folded (NFKC), invisible characters are removed, and every dash,
digit and space becomes the one of ASCII. The order matters: a soft hyphen is removed
before dashes are folded. See docs/adr for what is left as it is, and why.
"""

import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Final

_HYPHEN: Final = "-"

_INVISIBLE: Final = frozenset(
    {
        0x034F,  # combining grapheme joiner
        *(0x115F, 0x1160, 0x3164, 0xFFA0),  # Hangul fillers
        *(0x17B4, 0x17B5),  # Khmer inherent vowels
        *range(0x180B, 0x1810),  # Mongolian selectors
        *range(0xFE00, 0xFE10),  # variation selectors
        *range(0xE0000, 0xE1000),  # tags, selectors, and what is reserved for more of them
    }
)
"""Characters that show nothing and are not in the category Cf (Unicode, Default_Ignorable_Code_Point)."""

_DASHES: Final = frozenset({0x2212, 0x2043, 0x02D7, 0x23AF, 0x2500})
"""Look like a dash and are not in the category Pd."""


def normalised(text: str) -> str:
    """Return the text in the one form; the same object where it has that form already."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    changed = _folds()
    # Most characters that are not ASCII are letters: looking for the others is cheaper than translating all.
    if not changed.keys().isdisjoint(map(ord, set(folded))):
        folded = folded.translate(changed)
        # What was removed may have kept two characters apart that belong together.
        folded = unicodedata.normalize("NFKC", folded)
    return text if folded == text else folded


@cache
def _folds() -> dict[int, str]:
    return dict(_all_folds())


def _all_folds() -> Iterator[tuple[int, str]]:
    for code in range(0x80, sys.maxunicode + 1):
        char = chr(code)
        category = unicodedata.category(char)
        if category == "Cf" or code in _INVISIBLE:
            yield code, ""
        elif category == "Pd" or code in _DASHES:
            yield code, _HYPHEN
        elif category == "Nd":
            yield code, str(unicodedata.decimal(char))
        elif category == "Zs":
            yield code, " "
        elif category in ("Zl", "Zp"):
            yield code, "\n"
