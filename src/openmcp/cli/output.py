"""What commands list, as a table for people or as JSON or YAML for programs.

Text from outside cannot steer a terminal: control and hidden characters are made visible
in tables and escaped in JSON and YAML.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import click
import msgspec
import yaml

from openmcp.telemetry.harmless import json_line, text

Value: TypeAlias = object
"""JSON values."""

_CELL_CHARS: Final = 200


def print_values(values: Value, form: str) -> None:
    """Print JSON values as `json` or `yaml`."""
    if form == "json":
        encoded = msgspec.json.format(msgspec.json.encode(values), indent=2)
        # Formatted JSON has its own newlines, and escapes those within strings.
        click.echo("\n".join(json_line(line).decode() for line in encoded.split(b"\n")))
    else:
        try:
            told = yaml.safe_dump(msgspec.to_builtins(values), sort_keys=False, allow_unicode=False, width=120)
        except RecursionError:
            raise click.ClickException("this is nested too deeply for YAML: take --output json") from None
        click.echo(told, nl=False)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, styles: Mapping[str, str] | None = None
) -> None:
    """Print rows under headings; `styles`: colours of cells by their text, on a terminal only."""
    cells = [[text(str(cell), _CELL_CHARS) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    click.echo(click.style(_joined(columns, widths), bold=True))
    for row in cells:
        shown = [
            click.style(cell.ljust(width), fg=(styles or {}).get(cell)) for cell, width in zip(row, widths, strict=True)
        ]
        click.echo("  ".join(shown).rstrip())


def terminal_width() -> int:
    """Return how many columns there are; 100 where nobody looks."""
    return shutil.get_terminal_size((100, 40)).columns if sys.stdout.isatty() or "COLUMNS" in os.environ else 100


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
