"""`openmcp flow export`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from openmcp import __version__
from openmcp.audit.reading.entries import Entry
from openmcp.audit.reading.otlp import requests
from openmcp.cli.flow.showing import found_flow
from openmcp.cli.flow.sources import find_source
from openmcp.telemetry.harmless import json_line


def run(config: Path | None, logs: Sequence[Path], name: str | None, *, form: str) -> int:
    """Print the records of a flow, or of the log."""
    log = find_source(config, logs).log()
    entries = found_flow(log, name).entries(log) if name is not None else log.entries()
    if form == "otlp":
        for request in requests(entries, version=__version__):
            click.echo(request)
    else:
        _print_array(entries)
    return 0


def _print_array(entries: Iterable[Entry]) -> None:
    # One after the other: a log need not fit into memory.
    click.echo("[", nl=False)
    for number, entry in enumerate(entries):
        click.echo(b"%b\n%b" % (b"," if number else b"", json_line(entry.raw)), nl=False)
    click.echo("\n]")
