"""`openmcp mock`: serves a recording."""

from collections.abc import Sequence
from pathlib import Path

import click

from openmcp.audit.reading.bodies import Bodies
from openmcp.audit.reading.calls import calls
from openmcp.audit.reading.spool import Spool
from openmcp.cli.flow.showing import found_flow
from openmcp.cli.flow.sources import find_source
from openmcp.cli.report import counted
from openmcp.config.values import address as parsed
from openmcp.rehearsal.mock.application import Mock
from openmcp.rehearsal.mock.recording import Recording
from openmcp.rehearsal.mock.serving import serve
from openmcp.telemetry.harmless import text


def run(paths: Sequence[Path], flow: str | None, address: str) -> int:
    """Serve until asked to stop; return 1 if that cannot be done here."""
    log = find_source(None, paths).log()
    entries = found_flow(log, flow).entries(log) if flow is not None else log.entries()
    with Spool() as spool:
        recording = Recording(calls(entries, Bodies(log.files)), spool)
        _explain(recording)
        try:
            where = parsed(address)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        try:
            serve(
                Mock(recording, _tell, host=where.host),
                where.host,
                where.port,
                on_ready=lambda origin: _announce(recording, origin),
            )
        except OSError as error:
            click.echo(f"openmcp: {error}", err=True)
            return 1
    return 0


def _explain(recording: Recording) -> None:
    """Say what cannot be served. Raises: click.ClickException if that is everything."""
    if not recording.servers:
        why = (
            "it keeps no bodies: record with `audit.bodies: redacted` or `full`"
            if recording.without_body
            else "it is empty"
        )
        raise click.ClickException(f"the log has nothing to answer with: {why}")
    if recording.without_body:
        _tell(f"{counted(recording.without_body, 'exchange')} cannot be answered: the log keeps no bodies of them")
    for missing in recording.missing:
        _tell(missing)
    if recording.redacted:
        _tell(f"{counted(len(recording.redacted), 'answer')} are not in the log as they were: served redacted")


def _announce(recording: Recording, origin: str) -> None:
    for server, recorded in recording.servers.items():
        click.echo(f"{origin}/{server}  ({counted(len(recorded), 'exchange')})")


def _tell(what: str) -> None:
    click.echo(f"openmcp: {text(what)}", err=True)
