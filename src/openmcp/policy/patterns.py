"""Regular expressions over what strangers send: RE2, which is linear for every pattern and every text.

The one file that knows the binding. The standard library's `re` backtracks, and a name
of a thousand letters can keep it busy for minutes.
"""

from collections.abc import Callable
from typing import Protocol, cast

import re2


class _Pattern(Protocol):
    def fullmatch(self, text: str) -> object | None: ...


_compile = cast("Callable[[str], _Pattern]", re2.compile)
escape = cast("Callable[[str], str]", re2.escape)
"""Return the text as a pattern that matches just it."""


def full_match(pattern: str) -> Callable[[str], bool]:
    """Return a test for "the whole text matches".

    Raises: ValueError with RE2's own words if it refuses the pattern.
    """
    try:
        compiled = _compile(pattern)
    except re2.error as error:
        raise ValueError(str(error)) from None
    return lambda text: compiled.fullmatch(text) is not None
