"""Two definitions side by side, for a person who has to see every difference, also those that a terminal would hide."""

import json
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

import click

from openmcp.cli.output import terminal_width

_LEAST = 30
_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u180b\u180c\u180d")
"""Letters and marks that show as nothing."""


def print_comparison(old: bytes | None, new: bytes | None, *, headings: tuple[str, str]) -> None:
    """Print the versions in two columns; `|` marks a changed line, `<` and `>` what only one side has."""
    half = max(_LEAST, (terminal_width() - 3) // 2)
    click.echo(click.style(f"{headings[0]:<{half}}   {headings[1]}", dim=True))
    for mark, left, right in rows(_lines(old), _lines(new)):
        for wrapped_left, wrapped_right in _wrapped(left, right, half):
            line = f"{wrapped_left:<{half}} {mark} {wrapped_right}".rstrip()
            click.echo(click.style(line, fg={"|": "yellow", "<": "red", ">": "green"}.get(mark)))


def rows(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (mark, left, right) for the lines of two texts."""
    for tag, a, b, c, d in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        left, right = old[a:b], new[c:d]
        for index in range(max(len(left), len(right))):
            has_left, has_right = index < len(left), index < len(right)
            mark = " " if tag == "equal" else "|" if has_left and has_right else "<" if has_left else ">"
            yield mark, left[index] if has_left else "", right[index] if has_right else ""


def visible(text: str) -> str:
    """Return the text with every character that shows as nothing, or changes how others show, by its number."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"⟦U+{ord(one):04X}⟧" if _is_hidden(one) else one for one in text)


def _is_hidden(one: str) -> bool:
    if one in _FILLERS or unicodedata.category(one) in _HIDDEN:
        return True
    # Other blanks than the space, and selectors of variants, which can carry bytes (U+FE00…, U+E0100…).
    return (one != " " and unicodedata.category(one) == "Zs") or "\ufe00" <= one <= "\ufe0f" or one >= "\U000e0000"


def _lines(text: bytes | None) -> list[str]:
    if text is None:
        return []
    try:
        shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        # Cut off where it was too long to keep.
        shown = text.decode(errors="replace")
    return [visible(line) for line in shown.split("\n")]


def _wrapped(left: str, right: str, width: int) -> Iterator[tuple[str, str]]:
    sides = [_folded(side, width) for side in (left, right)]
    for index in range(max(map(len, sides))):
        yield tuple(side[index] if index < len(side) else "" for side in sides)  # type: ignore[misc]


def _folded(text: str, width: int) -> list[str]:
    indent = " " * min(len(text) - len(text.lstrip()) + 2, width // 2)
    return textwrap.wrap(
        text, width, subsequent_indent=indent, drop_whitespace=False, replace_whitespace=False, break_on_hyphens=False
    ) or [""]
