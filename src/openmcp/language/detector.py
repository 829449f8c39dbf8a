"""What is looked for: the protocol `Detector`, and how one is made of patterns and keywords.

Built-ins are in `detectors/`, named in `plugins`; resources and inline patterns become
detectors here. A detector says where in a text it sees something; it knows nothing of
messages, rules or what is done about it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from openmcp.language import checks, normal
from openmcp.language.regexes import escape

Span: TypeAlias = tuple[int, int]
"""Begin and end, in bytes of UTF-8."""

Confirm: TypeAlias = Callable[[bytes, int, int], Iterable[Span]]
"""`(text, start, end)` of a match → what of it counts; nothing if it is none after all."""


class Detector(Protocol):
    """Looks for one kind of thing.

    Must find the same in the same text, whoever asks and however often, and take time linear in the text.
    """

    @property
    def name(self) -> str:
        """Stands in `[REDACTED:name]`, records and metrics."""
        ...

    @property
    def description(self) -> str:
        """What it finds, in one sentence for the reference."""
        ...

    @property
    def patterns(self) -> Sequence[str]:
        """RE2 expressions; the first group of one, where it has any, is what counts, and the rest its context."""
        ...

    @property
    def sieve(self) -> Sequence[str]:
        """Simpler expressions, of which one matches wherever a pattern does; empty = the patterns themselves."""
        ...

    @property
    def is_secret(self) -> bool:
        """Whether what it finds gives access, so that no log may hold it."""
        ...

    @property
    def needs_key(self) -> bool:
        """Whether it looks at what stands before a value, so that it sees a member as `key: value`."""
        ...

    def confirm(self, text: bytes, start: int, end: int) -> Iterable[Span]:
        """Return what counts of a match of one of the patterns."""
        ...


@dataclass(frozen=True, slots=True)
class PatternDetector:
    """A detector of expressions, and perhaps a check."""

    name: str
    description: str
    patterns: tuple[str, ...]
    sieve: tuple[str, ...] = ()
    check: Confirm | None = None
    is_secret: bool = False
    needs_key: bool = False

    def confirm(self, text: bytes, start: int, end: int) -> Iterable[Span]:
        """Return what counts of a match."""
        return ((start, end),) if self.check is None else self.check(text, start, end)


_: type[Detector] = PatternDetector

VALIDATORS: Final[dict[str, Confirm | None]] = {"none": None, "luhn": checks.luhn, "iban": checks.iban}
"""What a `Detector` resource may name in `validator`."""


def described(
    name: str, regex: Iterable[str], *, keywords: Iterable[str] = (), validator: str = "none"
) -> PatternDetector:
    """Return the detector that a resource, or a rule itself, describes. Raises: ValueError for an empty keyword."""
    return PatternDetector(name, "", (*regex, *map(keyword, keywords)), check=VALIDATORS[validator])


def keyword(phrase: str) -> str:
    """Return the expression that finds a word or phrase, whatever its case and the spaces in it.

    It is found whole: no letter, digit or `_` stands beside it. Scripts that know no case often know no spaces between
    words either, so an edge in one of them needs no boundary.
    """
    words = normal.normalised(phrase).split()
    if not words:
        raise ValueError("a keyword has to hold more than spaces")
    inner = r"\s+".join(map(escape, words))
    before = r"(?:^|[^\pL\pN_])" if _has_boundary(words[0][0]) else ""
    after = r"(?:$|[^\pL\pN_])" if _has_boundary(words[-1][-1]) else ""
    return f"(?i){before}({inner}){after}"


def _has_boundary(char: str) -> bool:
    return char == "_" or char.isdecimal() or char.lower() != char.upper()
