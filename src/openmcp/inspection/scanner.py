"""Finds what a set of detectors looks for: a quick sieve over a whole message, an exact look at one text.

Made once for each set of detectors that rules need together. The sieve reads the
message as JSON text, so that no string has to be visited where nothing is found; it
only ever sees too much. The exact look says where.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from openmcp.inspection import views
from openmcp.inspection.views import Budget, Exceeded
from openmcp.language.detector import Detector, Span
from openmcp.language.regexes import Expression, Sieve

MAX_FINDINGS: Final = 10_000
"""Of one detector in one text; with more the whole text counts as one finding."""

_BLANK: Final = b"\0"


class Sight(NamedTuple):
    """A detector saw something in a text."""

    detector: Detector
    span: Span | None
    """Where, in bytes of UTF-8; `None` = only in another reading of the text, or in too many places."""


class Candidates(NamedTuple):
    """What the sieve leaves to look at."""

    plain: tuple[Detector, ...]
    """Could be seen in some text as it stands."""

    hidden: tuple[Detector, ...]
    """Could be seen in another reading of some text."""

    @property
    def all(self) -> tuple[Detector, ...]:
        """Both, each once."""
        return tuple(dict.fromkeys((*self.plain, *self.hidden)))


NOTHING: Final = Candidates((), ())


class _Compiled(NamedTuple):
    detector: Detector
    expressions: tuple[Expression, ...]

    def sees(self, text: bytes) -> Iterator[Span]:
        for expression in self.expressions:
            for start, end in expression.finds(text):
                yield from self.detector.confirm(text, start, end)


class Scanner:
    """Looks for everything that its detectors look for."""

    def __init__(self, detectors: Iterable[Detector]) -> None:
        """Raises: ValueError if RE2 refuses a pattern."""
        self.detectors = tuple(dict.fromkeys(detectors))
        self._compiled = {
            detector: _Compiled(detector, tuple(map(Expression, detector.patterns))) for detector in self.detectors
        }
        self.program_size = sum(e.program_size for c in self._compiled.values() for e in c.expressions)
        self._owners: list[Detector] = []
        self._always: tuple[Detector, ...] = ()
        sources: list[str] = [*views.TRIGGERS]
        for detector in self.detectors:
            coarse = detector.sieve or detector.patterns
            if any(Expression(source).is_anchored for source in coarse):
                # The sieve sees texts inside of others, where nothing begins and nothing ends.
                self._always = (*self._always, detector)
                continue
            sources += coarse
            self._owners += [detector] * len(coarse)
        self._sieve = Sieve(sources)

    def sift(self, text: bytes) -> Candidates:
        """Return which detectors could find something in a message; `text`: the message as JSON.

        Raises: Exceeded; Unavailable.
        """
        plain = views.unescaped(text)
        hits = self._sieve.sift(plain)
        if not hits and not self._always and plain is text and text.isascii():
            return NOTHING
        hidden: dict[Detector, None] = {}
        for view, seen in self._layers(plain, hits, Budget(len(text))):
            hidden.update(dict.fromkeys(self._owners_of(seen)))
            if view:
                hidden.update(dict.fromkeys(self._always))
        return Candidates((*self._always, *dict.fromkeys(self._owners_of(hits))), tuple(hidden))

    def look(self, text: bytes, candidates: Candidates, *, shown_from: int = 0) -> list[Sight]:
        """Return what is seen in one text; what begins before `shown_from` is context and does not count.

        Raises: Exceeded; Unavailable.
        """
        sights: list[Sight] = []
        plain: dict[Detector, list[Span]] = {}
        for detector in candidates.plain:
            spans = self._spans(detector, text, shown_from)
            if spans:
                plain[detector] = spans
                # Too many to tell apart: the whole is one.
                whole = len(spans) > MAX_FINDINGS
                sights += [Sight(detector, None)] if whole else [Sight(detector, span) for span in spans]
        if candidates.hidden:
            sights += [Sight(detector, None) for detector in self._hidden(text, candidates.hidden, plain)]
        return sights

    def _spans(self, detector: Detector, text: bytes, shown_from: int) -> list[Span]:
        spans: list[Span] = []
        for span in self._compiled[detector].sees(text):
            if span[0] >= shown_from:
                spans.append(span)
                if len(spans) > MAX_FINDINGS:
                    break
        return merged(spans)

    def _hidden(self, text: bytes, wanted: Sequence[Detector], plain: dict[Detector, list[Span]]) -> Iterator[Detector]:
        """Yield the detectors that see something in another reading of the text, which they do not see in the text."""
        for detector in self._seen_in_views(text, wanted):
            spans = plain.get(detector)
            # What stands there openly is seen again in other readings; only what remains without it is hidden.
            if spans is None or self._seen_in_views(_blanked(text, spans), (detector,)):
                yield detector

    def _seen_in_views(self, text: bytes, wanted: Sequence[Detector]) -> list[Detector]:
        seen: dict[Detector, None] = {}
        for view, _ in self._layers(text, self._sieve.sift(text), Budget(len(text))):
            for detector in wanted:
                if detector not in seen and next(self._compiled[detector].sees(view), None):
                    seen[detector] = None
        return list(seen)

    def _layers(self, text: bytes, hits: Sequence[int], budget: Budget) -> Iterator[tuple[bytes, list[int]]]:
        """Yield every other reading of a text, with what the sieve says of it. Raises: Exceeded."""
        layer, known = [(text, list(hits))], {text}
        for depth in range(views.MAX_DEPTH + 1):
            below: list[tuple[bytes, list[int]]] = []
            for outer, outer_hits in layer:
                for view in views.views(outer, _triggers(outer_hits)):
                    if not view or view in known:
                        continue
                    if depth == views.MAX_DEPTH:
                        raise Exceeded("more layers than are opened")
                    budget.spend(len(view))
                    known.add(view)
                    below.append((view, self._sieve.sift(view)))
            yield from below
            layer = below
            if not layer:
                return

    def _owners_of(self, hits: Iterable[int]) -> Iterator[Detector]:
        first = len(views.TRIGGERS)
        for hit in hits:
            if hit > first:
                yield self._owners[hit - first - 1]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the spans from left to right, those that overlap as one."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _triggers(hits: Iterable[int]) -> list[int]:
    return [hit - 1 for hit in hits if hit <= len(views.TRIGGERS)]


def _blanked(text: bytes, spans: Sequence[Span]) -> bytes:
    pieces: list[bytes] = []
    at = 0
    for start, end in spans:
        pieces += [text[at:start], _BLANK * (end - start)]
        at = end
    return b"".join([*pieces, text[at:]])
