"""`openmcp serve`: runs one node on the configuration of a file."""

from pathlib import Path

import click

from openmcp.errors import Misconfigured, OpenMCPError
from openmcp.server import node


def run(config: Path) -> int:
    """Run the gateway until it is asked to stop; return 1 if it cannot start here.

    Raises: Misconfigured if the configuration cannot be used.
    """
    try:
        node.run([config], on_ready=_announce)
    except Misconfigured:
        raise
    except (OSError, OpenMCPError) as error:
        click.echo(f"openmcp: {error}", err=True)
        return 1
    return 0


def _announce(running: node.Node) -> None:
    for name, (host, port) in running.addresses.items():
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        click.echo(f"openmcp: listener `{name}` on http://{authority}", err=True)
