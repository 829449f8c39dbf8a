"""Series as Prometheus reads them: its text format 0.0.4.

Written here because a scrape of 10,000 series by the library holds the interpreter for a
tenth of a second, which exchanges feel; a line here is one string that is known already,
and a number.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from openmcp.telemetry.catalogue import Metric
from openmcp.telemetry.series import Histogram, Labels

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_KEPT: Final = 20_000
_known: Final[dict[tuple[tuple[str, ...], Labels], str]] = {}
"""Label names and values → how they are written; made once for each series."""


def numbers(metric: Metric, items: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    """Yield the lines of a counter or gauge."""
    name, names = metric.name, metric.labels
    yield from _head(metric)
    for labels, value in items:
        written = _written(names, labels)
        yield f"{name}{{{written}}} {value!r}" if written else f"{name} {value!r}"


def buckets(metric: Metric, histogram: Histogram) -> Iterator[str]:
    """Yield the lines of a histogram."""
    name, names = metric.name, metric.labels
    yield from _head(metric)
    for labels, counts, total in histogram.items():
        written = _written(names, labels)
        before = f"{written}," if written else ""
        for bound, count in counts:
            yield f'{name}_bucket{{{before}le="{bound}"}} {count!r}'
        yield f"{name}_count{{{written}}} {counts[-1][1]!r}"
        yield f"{name}_sum{{{written}}} {total!r}"


def _head(metric: Metric) -> tuple[str, str]:
    told = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
    return f"# HELP {metric.name} {told}", f"# TYPE {metric.name} {metric.kind}"


def _written(names: tuple[str, ...], labels: Labels) -> str:
    key = (names, labels)
    written = _known.get(key)
    if written is None:
        if len(_known) >= _KEPT:
            _known.clear()
        pairs = zip(names, labels, strict=True)
        written = _known[key] = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return written


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
