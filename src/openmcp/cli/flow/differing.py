"""`openmcp flow diff`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from openmcp.audit.reading.bodies import Bodies
from openmcp.audit.reading.calls import calls
from openmcp.audit.reading.difference import Difference, differences
from openmcp.cli.flow.showing import found_flow
from openmcp.cli.flow.sources import find_source
from openmcp.cli.output import print_values
from openmcp.telemetry.harmless import text

_COLOURS: Final = {"-": "red", "+": "green", "@": "cyan"}


def run(config: Path | None, logs: Sequence[Path], one: str, other: str, *, has_exit_code: bool, form: str) -> int:
    """Print what differs; with `--exit-code` return 1 if anything does."""
    log = find_source(config, logs).log()
    bodies = Bodies(log.files)
    sides = [[call for call in calls(found_flow(log, name).entries(log), bodies)] for name in (one, other)]
    found = list(differences(*sides))
    if form != "table":
        print_values([_values(difference) for difference in found], form)
    elif not found:
        click.echo("the flows do not differ")
    else:
        for difference in found:
            _print(difference)
    return 1 if found and has_exit_code else 0


def _print(difference: Difference) -> None:
    click.echo(f"{click.style(difference.what, bold=True)}: {difference.call or 'stream'}")
    for name, (before, after) in difference.changes.items():
        click.echo(
            f"  {name}: {click.style(text(before) or '-', fg='red')} → {click.style(text(after) or '-', fg='green')}"
        )
    for line in difference.lines:
        click.echo(f"  {click.style(line, fg=_COLOURS.get(line[:1]))}")


def _values(difference: Difference) -> dict[str, object]:
    return {
        "what": difference.what,
        "call": difference.call,
        "first": difference.first or None,
        "second": difference.second or None,
        "changes": {name: {"first": a, "second": b} for name, (a, b) in difference.changes.items()},
        "diff": list(difference.lines),
    }
