"""Shows faults and warnings to a person: one line each on standard error, coloured on a terminal only."""

from collections.abc import Iterable

import click

from openmcp.errors import Fault


def print_faults(faults: Iterable[Fault]) -> None:
    """Print each as `file:line:column: text`."""
    for fault in faults:
        click.echo(f"{click.style(fault.place, bold=True)}: {click.style(fault.text, fg='red')}", err=True)


def print_warnings(warnings: Iterable[Fault]) -> None:
    """Print each as `file:line:column: warning: text`."""
    for warning in warnings:
        click.echo(
            f"{click.style(warning.place, bold=True)}: {click.style('warning:', fg='yellow')} {warning.text}", err=True
        )


def counted(count: int, noun: str) -> str:
    """Return `1 server`, `2 servers`, `3 policies`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"
