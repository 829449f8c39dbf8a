"""Tables of a run, for a terminal and for `docs/performance.md`; and the comparison with an earlier run."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench.install import ROOT, Tools
from bench.measure import CONNECTIONS, Result
from bench.messages import CALL_BYTES, answer
from bench.streams import IDLE_STREAMS, StreamResult

PAGE = ROOT / "docs" / "performance.md"
REFERENCE = ROOT / "bench" / "reference.json"
NGINX, ENVOY, ENVOY_MCP, FULL = "nginx", "Envoy", "Envoy + mcp + RBAC + JSON log", "OpenMCP full"
MAY_GROW = 1.25
HEADINGS = ("", "CPU µs", "× nginx", "× Envoy", "× Envoy mcp", "req/s", "p50 ms", "p99 ms", "failed")


def table(results: Sequence[Result]) -> str:
    """A Markdown table, aligned so that a terminal shows it well too; faults stand below it."""
    by_name = {each.name: each for each in results}
    rows = [_row(each, by_name) for each in results]
    faults = [f"- {each.name}: {each.fault}" for each in results if each.fault]
    return "\n".join([_markdown(HEADINGS, rows), *([""] if faults else []), *faults])


def stream_table(results: Sequence[StreamResult]) -> str:
    rows = [(each.name, _figure(each.idle_kib, 1), _figure(each.slow_mib, 1)) for each in results]
    faults = [f"- {each.name}: {each.fault}" for each in results if each.fault]
    text = _markdown(("", "KiB per idle stream", "MiB growth, slow reader"), rows)
    return "\n".join([text, *([""] if faults else []), *faults])


def about(tools: Tools) -> str:
    """Date, machine and versions, one per line."""
    lines = [
        f"- Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- Machine: {machine()}, Linux {platform.release()}, load average {os.getloadavg()[0]:.1f} at the end",
        f"- CPython {platform.python_version()}, "
        + ", ".join(f"{name} {_library(name)}" for name in ("uvloop", "httptools")),
    ]
    lines += [f"- {name}: {version}" for name, version in tools.versions().items()]
    lines += [f"- missing: {name} ({why})" for name, why in tools.missing.items()]
    return "\n".join(lines)


def machine() -> str:
    """The class of machine: figures are comparable within one only."""
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    return f"{cpu}, {os.cpu_count()} cores"


def grown(results: Sequence[Result]) -> str | None:
    """What is wrong, if the full case costs more than MAY_GROW times its figure on record, relative to nginx."""
    now, then = _full_ratio(results), _on_record().get(machine())
    if now is None or then is None or now <= then * MAY_GROW:
        return None
    return (
        f"{FULL} costs {now:.2f} times nginx; on record for this machine is {then:.2f}, allowed {then * MAY_GROW:.2f}"
    )


def record(results: Sequence[Result]) -> None:
    """Keeps the full case's ratio to nginx as what later runs on this class of machine are held to."""
    if (now := _full_ratio(results)) is not None:
        REFERENCE.write_text(json.dumps(_on_record() | {machine(): round(now, 2)}, indent=2, sort_keys=True) + "\n")


def write_page(
    page: Path, tools: Tools, *, calls: Sequence[Result], events: Sequence[Result], streams: Sequence[StreamResult]
) -> None:
    page.parent.mkdir(exist_ok=True)
    page.write_text(
        _PAGE.format(
            about=about(tools),
            call=CALL_BYTES,
            answer=len(answer()),
            connections=CONNECTIONS,
            calls=table(calls),
            events=table(events),
            idle=IDLE_STREAMS,
            streams=stream_table(streams),
        )
    )


def _row(result: Result, by_name: dict[str, Result]) -> tuple[str, ...]:
    if not result.valid:
        return (result.name, *["-"] * (len(HEADINGS) - 2), str(result.failed))
    ratios = [_figure(result.ratio(by_name.get(name)), 2) for name in (NGINX, ENVOY, ENVOY_MCP)]
    return (
        result.name,
        _figure(result.median("cpu_us"), 1),
        *ratios,
        f"{result.median('rate'):,.0f}",
        _figure(result.median("p50_ms"), 2),
        _figure(result.median("p99_ms"), 2),
        str(result.failed),
    )


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        first, *figures = [
            cell.ljust(w) if not n else cell.rjust(w) for n, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join([first, *figures])} |"

    rule = [("-" * width) if not n else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    return "\n".join([line(headings), line(rule), *map(line, rows)])


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _full_ratio(results: Sequence[Result]) -> float | None:
    by_name = {each.name: each for each in results}
    return by_name[FULL].ratio(by_name.get(NGINX)) if FULL in by_name else None


def _on_record() -> dict[str, float]:
    return json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}


def _library(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


_PAGE = """\
# What an exchange costs

Written by `make bench`; do not edit. Figures differ between machines, ratios within one run much less.

{about}

## How it is measured

A proxy, with all its threads and children, has one core to itself; the load (`wrk`, {connections} connections) and the
upstream share another one. Every request is the same `tools/call` of {call} bytes, every answer has the same {answer}.
**CPU µs** is the run time of all threads of the proxy, as the kernel counts it, over the completed requests. All
contenders run at once and are loaded in turn, round after round; the tables show medians, and the ratios are medians
of the ratios within each round. Loopback, plaintext HTTP/1.1, one worker each.

A round counts only if no request failed, if the upstream confirms that each one arrived there, and if the answer is
the expected one before and after. Who has a policy must refuse a call that it does not allow.

- *direct*: no proxy. The CPU time is that of the upstream; the rate is the most that load and upstream can do together.
- *nginx*, *haproxy*, *Envoy*: plain pass-through with kept-alive upstream connections and no buffering of answers.
- *Envoy + mcp + RBAC + JSON log*: Envoy reads the message, compares the tool's name with one rule, writes one line of
  about 200 bytes without bodies.
- *OpenMCP pass-through*: anonymous agents, one rule, messages of the modern era, audit records without bodies.
- *OpenMCP full*: API key, 20 rules on two levels, a stored session, audit records with whole bodies, metrics.

## One call, answered with JSON

{calls}

## One call, answered with one server-sent event

{events}

## Streams

Memory is the proportional set size of all processes of the proxy. Idle: {idle} streams; for OpenMCP each in a session
of its own, which is part of the figure. Slow reader: a stream of 195 MB read at 40 KB/s for four seconds.

{streams}
"""
