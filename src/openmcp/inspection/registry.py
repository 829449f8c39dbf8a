"""The detectors there are, by name: built-in ones, those of installed packages, and those that rules describe."""

from collections.abc import Sequence
from functools import cache
from typing import cast

from openmcp import plugins
from openmcp.language.detector import Detector, described
from openmcp.model.content import Detect, Pattern

_KIND = "detector"


@cache
def named(name: str) -> Detector:
    """Return an installed detector. Raises: plugins.UnknownPlugin."""
    return cast("Detector", plugins.load(_KIND, name))


@cache
def resolved(wanted: Detect) -> Detector:
    """Return what a rule looks for, the same object for the same description.

    Raises: plugins.UnknownPlugin; ValueError for a keyword without letters.
    """
    return _described(wanted) if isinstance(wanted, Pattern) else named(wanted)


def installed() -> Sequence[Detector]:
    """Return every detector that has a name of its own."""
    return [named(name) for name in plugins.names(_KIND)]


def _described(pattern: Pattern) -> Detector:
    return described(pattern.name, pattern.regex, keywords=pattern.keywords, validator=pattern.validator)
