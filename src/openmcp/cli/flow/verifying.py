"""`openmcp flow verify`."""

from collections.abc import Sequence
from pathlib import Path

import click

from openmcp.audit.reading.files import LogNotReadable
from openmcp.audit.reading.verify import State, Verdict, signature_check, verify
from openmcp.cli.flow.sources import find_source, read_keys
from openmcp.cli.output import print_values
from openmcp.cli.report import counted
from openmcp.telemetry.harmless import text

_COLOURS = {State.INTACT: "green", State.UNCLEAN: "yellow", State.BROKEN: "red"}


def run(
    config: Path | None,
    paths: Sequence[Path],
    *,
    keys: Sequence[Path],
    form: str,
    is_retained: bool,
    is_strict: bool,
) -> int:
    """Print a verdict for each writer; return 1 if one is broken."""
    source = find_source(config, paths)
    public = [key for path in keys for key in read_keys(path)] or source.public_keys()
    try:
        verdicts = verify(source.paths, check_signature=signature_check(public), is_retained=is_retained)
    except LogNotReadable as error:
        raise click.ClickException(str(error)) from error
    if form == "table":
        for verdict in verdicts:
            _print(verdict)
        if not public and any(verdict.signed for verdict in verdicts):
            click.echo("The keys of the signatures are those that the log names: give the real ones with --public-key.")
    else:
        print_values([_values(verdict) for verdict in verdicts], form)
    bad = {State.BROKEN, State.UNCLEAN} if is_strict else {State.BROKEN}
    return 1 if any(verdict.state in bad for verdict in verdicts) else 0


def _print(verdict: Verdict) -> None:
    state = click.style(verdict.state.value, fg=_COLOURS[verdict.state], bold=True)
    counts = [
        counted(verdict.records, "record"),
        counted(len(verdict.files), "file"),
        f"{counted(verdict.checkpoints, 'checkpoint')} ({verdict.signed} signed)",
    ]
    if verdict.first > 1:
        counts.append(f"from record {verdict.first} on")
    if verdict.since_checkpoint:
        counts.append(f"{verdict.since_checkpoint} since the last checkpoint")
    click.echo(f"{text(verdict.writer) or '(no writer)'}: {state}; {', '.join(counts)}")
    if verdict.broken is not None:
        click.echo(f"  {text(str(verdict.broken.path))}:{verdict.broken.number}: {text(verdict.broken.why)}")
    elif verdict.torn is not None:
        click.echo(f"  {text(str(verdict.torn))}: the last line is not whole")


def _values(verdict: Verdict) -> dict[str, object]:
    broken = verdict.broken
    return {
        "writer": verdict.writer,
        "state": verdict.state.name.lower(),
        "firstRecord": verdict.first,
        "records": verdict.records,
        "checkpoints": verdict.checkpoints,
        "signedCheckpoints": verdict.signed,
        "recordsSinceCheckpoint": verdict.since_checkpoint,
        "files": [str(path) for path in verdict.files],
        "broken": {"file": str(broken.path), "line": broken.number, "why": broken.why} if broken is not None else None,
        "tornFile": str(verdict.torn) if verdict.torn is not None else None,
    }
