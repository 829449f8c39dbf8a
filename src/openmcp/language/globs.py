"""Compiled names: globs (`*` stops at `/`, `**` does not), and regular expressions beside them.

Used for tools, prompts, resources, methods, agent names and principal ids. Names come
from strangers, so matching is linear in the name whatever the glob: one gap is a
prefix and a suffix, several are left to RE2.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from openmcp.language import patterns

MAX_WILDCARDS = 8
"""More gaps in one glob than this are refused at load: nobody can read them."""

_GAPS = re.compile(r"(\*+)")


@dataclass(frozen=True, slots=True)
class Names:
    """A test for "matches any of these": globs, and regular expressions that some part of the name matches."""

    literal: frozenset[str]
    tests: Mapping[str, tuple[Callable[[str], bool], ...]]
    """What has to be tried, by the text with which every name that it matches begins."""

    def __call__(self, name: str) -> bool:
        if name in self.literal:
            return True
        return any(name.startswith(begin) and _any(tests, name) for begin, tests in self.tests.items())

    @property
    def begins(self) -> frozenset[str]:
        """Texts with one of which every name begins that is not literal; the empty one stands for any."""
        return frozenset(self.tests)


def compile_names(globs: Iterable[str], regexes: Iterable[str] = ()) -> Names:
    """Return a test for "matches any of these".

    Raises: ValueError where a glob has too many wildcards, or RE2 refuses a regular expression.
    """
    listed = tuple(globs)
    tests: dict[str, tuple[Callable[[str], bool], ...]] = {}
    for glob in (glob for glob in listed if "*" in glob):
        begin = glob.partition("*")[0]
        tests[begin] = (*tests.get(begin, ()), _compile(glob))
    for regex in regexes:
        tests[""] = (*tests.get("", ()), patterns.search(regex))
    return Names(frozenset(glob for glob in listed if "*" not in glob), tests)


def compile_globs(globs: Iterable[str]) -> Callable[[str], bool]:
    """Return a test for "matches any of these".

    Raises: ValueError where a glob has too many wildcards.
    """
    names = compile_names(globs)
    tests = [test for some in names.tests.values() for test in some]
    if not tests:
        return names.literal.__contains__
    return tests[0] if len(tests) == 1 and not names.literal else names


def _any(tests: Iterable[Callable[[str], bool]], name: str) -> bool:
    return any(test(name) for test in tests)


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
