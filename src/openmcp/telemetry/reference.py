"""Prints docs/reference/metrics.md. Run it after a change: `python -m openmcp.telemetry.reference > …`."""

import sys

from openmcp.telemetry.catalogue import CATALOGUE, Metric

_HEAD = """\
# Metrics

Served for Prometheus at `/metrics` of the admin listener. This page is made from the code
(`python -m openmcp.telemetry.reference`).

Labels never hold sessions, URIs, arguments or names that an agent or a server can invent. One metric has at
most 2,000 series (a histogram 500, each with its buckets); what comes beyond is counted under `_other`: of requests
first without the agent, then without the tool. Beside these there are the usual `process_*` metrics of the process.

| metric | kind | labels | meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
    return _HEAD + "".join(map(_row, CATALOGUE))


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
