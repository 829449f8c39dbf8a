"""`openmcp validate`: loads as `serve` would, and says what is wrong or doubtful."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from openmcp.cli.report import counted, print_faults, print_warnings
from openmcp.config.loader import Loaded, attempt
from openmcp.errors import Fault, Misconfigured


def run(files: Sequence[Path], *, env: Mapping[str, str], is_probing: bool = False) -> int:
    """Print faults, warnings and a summary; return 2 if anything is wrong."""
    outcome = attempt(files, env=env).outcome
    if isinstance(outcome, Misconfigured):
        print_faults(outcome.faults)
        click.echo(f"invalid: {counted(len(outcome.faults), 'fault')}")
        return 2
    warnings = [*outcome.warnings, *(_of_servers(outcome) if is_probing else ())]
    print_warnings(warnings)
    click.echo(_summary(outcome, warnings))
    return 0


def _of_servers(loaded: Loaded) -> list[Fault]:
    """Ask the servers for their lists, and return what the rules name and they do not have."""
    # Only here: the gateway's own way of asking takes a while to load.
    from openmcp.rehearsal import offers
    from openmcp.rehearsal.probing import listings

    found = asyncio.run(listings(loaded.snapshot))
    silent = [
        Fault(f"MCPServer {name}", "none of its replicas can be asked for its lists: rules about it are not checked")
        for name, catalogue in found.items()
        if catalogue is None
    ]
    return [*silent, *offers.warnings(loaded.policies, loaded.snapshot, found)]


def _summary(loaded: Loaded, warnings: Sequence[Fault]) -> str:
    snapshot = loaded.snapshot
    counts = [
        counted(len(snapshot.servers), "server"),
        counted(len(snapshot.sources), "identity source"),
        counted(len(snapshot.agents), "agent"),
        counted(len(snapshot.policies), "policy"),
        counted(sum(len(policy.rules) for policy in snapshot.policies), "rule"),
        counted(len(warnings), "warning"),
    ]
    return f"valid: {', '.join(counts)}; revision {snapshot.revision}"
