"""Counters and histograms that cost a dictionary access, read only when somebody scrapes.

A library's counter takes a lock for every step, and a gateway steps ten times per
exchange. Here one thread steps (the event loop's) and any may read: a scrape sees each
number as it is at some moment, which is all that a scrape can see. Used by `metrics`.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, TypeAlias

Labels: TypeAlias = tuple[str, ...]

OTHER: Final = "_other"
MAX_SERIES: Final = 2_000
"""Series of one metric; what comes beyond is counted together, so that nobody can fill the memory by names."""


class Counter:
    """A number per label values."""

    __slots__ = ("_labels", "_values")

    def __init__(self, labels: int) -> None:
        self._labels = labels
        self._values: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Step up; gauges also step down."""
        values = self._values
        try:
            values[labels] += amount
        except KeyError:
            self._begin(labels, amount)

    def set(self, labels: Labels, value: float) -> None:
        """Take this value instead."""
        if labels not in self._values:
            self._begin(labels, 0)
        if labels in self._values:
            self._values[labels] = value

    def items(self) -> list[tuple[Labels, float]]:
        """Return every series and its value."""
        return list(self._values.items())

    def _begin(self, labels: Labels, amount: float) -> None:
        if len(self._values) >= MAX_SERIES:
            labels = (OTHER,) * self._labels
        self._values[labels] = self._values.get(labels, 0) + amount


class Histogram:
    """Buckets and a sum per label values."""

    __slots__ = ("_labels", "_rows", "bounds")

    def __init__(self, labels: int, bounds: tuple[float, ...]) -> None:
        self._labels = labels
        self.bounds = bounds
        # One list per series: counts by bucket (the last one without bound), then the sum.
        self._rows: dict[Labels, list[float]] = {}

    def observe(self, labels: Labels, value: float) -> None:
        """Count one value."""
        row = self._rows.get(labels)
        if row is None:
            row = self._begin(labels)
        row[bisect_left(self.bounds, value)] += 1
        row[-1] += value

    def items(self) -> Iterator[tuple[Labels, list[tuple[str, float]], float]]:
        """Return every series as Prometheus wants it: cumulative buckets by upper bound, and the sum."""
        names = [*map(_bound, self.bounds), "+Inf"]
        for labels, row in list(self._rows.items()):
            total = 0.0
            buckets: list[tuple[str, float]] = []
            for name, count in zip(names, row, strict=False):
                total += count
                buckets.append((name, total))
            yield labels, buckets, row[-1]

    def _begin(self, labels: Labels) -> list[float]:
        if len(self._rows) >= MAX_SERIES:
            labels = (OTHER,) * self._labels
        return self._rows.setdefault(labels, [0.0] * (len(self.bounds) + 2))


def _bound(value: float) -> str:
    return repr(float(value))
