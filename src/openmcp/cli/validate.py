"""`openmcp validate`: loads as `serve` would, and says what is wrong or doubtful."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from openmcp.cli.report import counted, print_faults, print_warnings
from openmcp.config.loader import Loaded, attempt
from openmcp.errors import Misconfigured


def run(files: Sequence[Path], *, env: Mapping[str, str]) -> int:
    """Print faults, warnings and a summary; return 2 if anything is wrong."""
    outcome = attempt(files, env=env).outcome
    if isinstance(outcome, Misconfigured):
        print_faults(outcome.faults)
        click.echo(f"invalid: {counted(len(outcome.faults), 'fault')}")
        return 2
    print_warnings(outcome.warnings)
    click.echo(_summary(outcome))
    return 0


def _summary(loaded: Loaded) -> str:
    snapshot = loaded.snapshot
    counts = [
        counted(len(snapshot.servers), "server"),
        counted(len(snapshot.sources), "identity source"),
        counted(len(snapshot.agents), "agent"),
        counted(len(snapshot.policies), "policy"),
        counted(sum(len(policy.rules) for policy in snapshot.policies), "rule"),
        counted(len(loaded.warnings), "warning"),
    ]
    return f"valid: {', '.join(counts)}; revision {snapshot.revision}"
