"""Compiled globs over names: `*` stops at `/`, `**` does not.

Used for tools, prompts, resources, methods, agent names and principal ids. A glob
becomes one anchored pattern of literals and two kinds of gap, which cannot backtrack
exponentially; a name without a wildcard is compared as it is.
"""

import re
from collections.abc import Callable, Iterable

MAX_WILDCARDS = 8
"""More gaps in one glob than this are refused at load: matching cost grows with each."""


def compile_globs(globs: Iterable[str]) -> Callable[[str], bool]:
    """Return a test for "matches any of these".

    Raises: ValueError where a glob has too many wildcards.
    """
    listed = tuple(globs)
    literal = frozenset(glob for glob in listed if "*" not in glob)
    patterns = tuple(re.compile(_pattern(glob), re.DOTALL) for glob in listed if "*" in glob)
    if any(_is_everything(glob) for glob in listed):
        return lambda _: True
    if not patterns:
        return literal.__contains__
    return lambda name: name in literal or any(pattern.fullmatch(name) for pattern in patterns)


def _is_everything(glob: str) -> bool:
    return glob == "**"


def _pattern(glob: str) -> str:
    pieces = re.split(r"(\*+)", glob)
    if sum(piece.startswith("*") for piece in pieces) > MAX_WILDCARDS:
        raise ValueError(f"more than {MAX_WILDCARDS} wildcards in {glob!r}")
    return "".join(_piece(piece) for piece in pieces)


def _piece(piece: str) -> str:
    if not piece.startswith("*"):
        return re.escape(piece)
    return "[^/]*" if piece == "*" else ".*"
