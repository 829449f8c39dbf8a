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

MAX_ROWS: Final = 500
"""The same for a histogram, of which each is as many series as it has buckets."""


class Cell:
    """One number; who steps it often keeps the cell."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Counter:
    """A number per label values."""

    __slots__ = ("_cells", "_labels")

    def __init__(self, labels: int) -> None:
        self._labels = labels
        self._cells: dict[Labels, Cell] = {}

    def cell(self, labels: Labels) -> Cell:
        """Return the number of these labels, or the one of all that came too late."""
        return self._cells.get(labels) or self._begin(labels)

    def has_room(self, labels: Labels, most: int) -> bool:
        """Whether these labels are known already, or may be as long as there are no more than `most`."""
        return labels in self._cells or len(self._cells) < most

    def add(self, labels: Labels, amount: float = 1) -> None:
        """Step up; gauges also step down."""
        self.cell(labels).value += amount

    def set(self, labels: Labels, value: float) -> None:
        """Take this value instead; what shares its series with others has none of its own to take."""
        cell = self.cell(labels)
        if labels in self._cells:
            cell.value = value

    def items(self) -> list[tuple[Labels, float]]:
        """Return every series and its value."""
        return [(labels, cell.value) for labels, cell in list(self._cells.items())]

    def _begin(self, labels: Labels) -> Cell:
        if len(self._cells) >= MAX_SERIES:
            labels = (OTHER,) * self._labels
        return self._cells.setdefault(labels, Cell())


class Row:
    """The buckets of one series; who counts often keeps the row."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many values fell into each bucket; the last one has no bound."""

        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Histogram:
    """Buckets and a sum per label values."""

    __slots__ = ("_labels", "_rows", "bounds")

    def __init__(self, labels: int, bounds: tuple[float, ...]) -> None:
        self._labels = labels
        self.bounds = bounds
        self._rows: dict[Labels, Row] = {}

    def row(self, labels: Labels) -> Row:
        """Return the buckets of these labels, or those of all that came too late."""
        return self._rows.get(labels) or self._begin(labels)

    def observe(self, labels: Labels, value: float) -> None:
        """Count one value."""
        self.row(labels).observe(value)

    def items(self) -> Iterator[tuple[Labels, list[tuple[str, float]], float]]:
        """Return every series as Prometheus wants it: cumulative buckets by upper bound, and the sum."""
        names = [*map(_bound, self.bounds), "+Inf"]
        for labels, row in list(self._rows.items()):
            total = 0
            buckets: list[tuple[str, float]] = []
            for name, count in zip(names, row.counts, strict=True):
                total += count
                buckets.append((name, total))
            yield labels, buckets, row.sum

    def _begin(self, labels: Labels) -> Row:
        if len(self._rows) >= MAX_ROWS:
            labels = (OTHER,) * self._labels
        return self._rows.setdefault(labels, Row(self.bounds))


def _bound(value: float) -> str:
    return repr(float(value))
