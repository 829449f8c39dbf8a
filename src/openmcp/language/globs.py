"""Compiled globs over names: `*` stops at `/`, `**` does not.

Used for tools, prompts, resources, methods, agent names and principal ids. Names come
from strangers, so matching is linear in the name whatever the glob: one gap is a
prefix and a suffix, several are left to RE2.
"""

import re
from collections.abc import Callable, Iterable

from openmcp.language import patterns

MAX_WILDCARDS = 8
"""More gaps in one glob than this are refused at load: nobody can read them."""

_GAPS = re.compile(r"(\*+)")


def compile_globs(globs: Iterable[str]) -> Callable[[str], bool]:
    """Return a test for "matches any of these".

    Raises: ValueError where a glob has too many wildcards.
    """
    listed = tuple(globs)
    literal = frozenset(glob for glob in listed if "*" not in glob)
    tests = tuple(_compile(glob) for glob in listed if "*" in glob)
    if not tests:
        return literal.__contains__
    if len(tests) == 1 and not literal:
        return tests[0]
    return lambda name: name in literal or any(test(name) for test in tests)


def _compile(glob: str) -> Callable[[str], bool]:
    pieces = _GAPS.split(glob)
    gaps = len(pieces) // 2
    if gaps > MAX_WILDCARDS:
        raise ValueError(f"more than {MAX_WILDCARDS} wildcards in {glob!r}")
    if gaps == 1:
        return _one_gap(pieces[0], pieces[2], stops_at_slash=pieces[1] == "*")
    return patterns.full_match("(?s)" + "".join(_pattern(piece) for piece in pieces))


def _one_gap(prefix: str, suffix: str, *, stops_at_slash: bool) -> Callable[[str], bool]:
    begin, least = len(prefix), len(prefix) + len(suffix)

    def matches(name: str) -> bool:
        if len(name) < least or not name.startswith(prefix) or not name.endswith(suffix):
            return False
        return not stops_at_slash or "/" not in name[begin : len(name) - len(suffix)]

    return matches


def _pattern(piece: str) -> str:
    if not piece.startswith("*"):
        return patterns.escape(piece)
    return "[^/]*" if piece == "*" else ".*"
