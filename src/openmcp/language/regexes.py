"""RE2 over bytes: `Expression` finds places, `Sieve` tells which of many expressions could find one.

RE2 is linear for every text, which
the standard library's `re` is not: it never touches traffic. Texts are UTF-8; places
are offsets in bytes, because counting characters costs more than searching.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import re2

from openmcp.errors import Unavailable

MAX_PROGRAM: Final = 4_000
"""Instructions of one compiled expression: what is larger is slow, and nobody can read it."""

_MEMORY: Final = 64 << 20
"""For a sieve's automaton: the default is too small for some hundred expressions."""

# The binding has no types; what is used of it is declared here.
_re2: Any = re2
_RefusedPattern: Final[type[Exception]] = _re2.error
_UNANCHORED: Final = _re2._Anchor.UNANCHORED
_Search = Callable[[object, bytes, int, int], list[tuple[int, int]]]


class Expression:
    """One compiled expression. Its first group, where it has one, is what counts; else the whole match."""

    __slots__ = ("_group", "_search", "is_anchored", "program_size", "source")

    def __init__(self, source: str) -> None:
        """Raises: ValueError with a sentence for the operator if RE2 refuses it, or it is too large."""
        try:
            compiled = _re2.compile(source, _options())
        except _RefusedPattern as error:
            raise ValueError(f"RE2 refuses the pattern: {_words(error)}") from None
        self.source = source
        self.program_size: int = compiled.programsize
        if self.program_size > MAX_PROGRAM:
            size = f"{self.program_size} instructions, the limit is {MAX_PROGRAM}"
            raise ValueError(f"the pattern is too large ({size}): use smaller repeats, or several patterns")
        self._search: _Search = compiled._regexp.Match
        if self._search(_UNANCHORED, b"", 0, 0)[0] != (-1, -1):
            raise ValueError("the pattern matches the empty text, so it would be found everywhere")
        self._group = 1 if compiled.groups else 0
        self.is_anchored = _is_anchored(source)

    def finds(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Yield the spans of what counts, from left to right, without overlaps."""
        search, group, at, end = self._search, self._group, 0, len(text)
        while at < end:
            spans = search(_UNANCHORED, text, at, end)
            start, stop = spans[0]
            if start < 0:
                return
            if group and spans[1][0] >= 0:
                start, stop = spans[1]
            if stop > start:
                yield start, stop
            # What follows a group is context only, and may be the context of the next match too.
            at = max(stop, at + 1)

    def is_in(self, text: bytes) -> bool:
        """Whether it finds anything."""
        return self._search(_UNANCHORED, text, 0, len(text))[0][0] >= 0


class Sieve:
    """Many expressions in one pass: tells which of them are worth asking."""

    __slots__ = ("_match",)

    def __init__(self, sources: Sequence[str]) -> None:
        """Raises: ValueError if they do not fit into one automaton."""
        made = _re2.Set.SearchSet(_options())
        # The empty expression matches everything. If even that is not reported, the search itself has failed, which
        # the binding tells from "nothing found" in no other way.
        for source in ("", *sources):
            made.Add(source)
        try:
            made.Compile()
        except _RefusedPattern:
            raise ValueError("the patterns are too many or too large together") from None
        self._match: Callable[[bytes], list[int] | None] = made.Match

    def sift(self, text: bytes) -> list[int]:
        """Return the numbers of the expressions that could find something, from 1. Raises: Unavailable."""
        found = self._match(text)
        if not found:
            raise Unavailable(detail="the sieve of content inspection ran out of memory")
        found.remove(0)
        return found


def escape(text: str) -> str:
    """Return an expression that matches just this text."""
    escaped: str = _re2.escape(text)
    return escaped


def _words(error: Exception) -> str:
    said: object = error.args[0] if error.args else error
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _options() -> Any:
    options = _re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    return options


def _is_anchored(source: str) -> bool:
    r"""Whether it may ask for the beginning or the end of the text: `^`, `$`, `\A` or `\z` outside a class."""
    is_class, at = False, 0
    while at < len(source):
        char = source[at]
        if char == "\\":
            if not is_class and source[at + 1 : at + 2] in ("A", "z"):
                return True
            at += 1
        elif is_class:
            # A bracket that comes first stands for itself.
            is_class = char != "]" or source[at - 1] == "[" or source[at - 2 : at] == "[^"
        elif char == "[":
            is_class = True
        elif char in "^$":
            return True
        at += 1
    return False
