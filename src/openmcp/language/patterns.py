"""Regular expressions over what strangers send: RE2, which is linear for every pattern and every text.

The one file that knows the binding. The standard library's `re` backtracks, and a name
of a thousand letters can keep it busy for minutes.
"""

from collections.abc import Callable
from typing import Any, Protocol

import re2


class _Pattern(Protocol):
    def fullmatch(self, text: str) -> object | None: ...
    def search(self, text: str) -> object | None: ...


# The binding has no types; what is used of it is declared here.
_re2: Any = re2
_compile: Callable[[str], _Pattern] = _re2.compile
_RefusedPattern: type[Exception] = _re2.error
escape: Callable[[str], str] = _re2.escape
"""Return the text as a pattern that matches just it."""


def full_match(pattern: str) -> Callable[[str], bool]:
    """Return a test for "the whole text matches".

    Raises: ValueError with RE2's own words if it refuses the pattern.
    """
    try:
        compiled = _compile(pattern)
    except _RefusedPattern as error:
        raise ValueError(str(error)) from None
    return lambda text: compiled.fullmatch(text) is not None


def search(pattern: str) -> Callable[[str], bool]:
    """Return a test for "some part of the text matches"; `^` and `$` are the ends of the whole text.

    Raises: ValueError with RE2's own words if it refuses the pattern.
    """
    try:
        compiled = _compile(pattern)
    except _RefusedPattern as error:
        raise ValueError(str(error)) from None
    return lambda text: compiled.search(text) is not None
