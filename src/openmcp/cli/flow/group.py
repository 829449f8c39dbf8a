"""The options of `openmcp flow …`; what the commands do is in the modules beside this one."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from openmcp.cli.options import output_option

FILE: Final = click.Path(path_type=Path)
Command = TypeVar("Command", bound=Callable[..., object])

# Names of flows may begin with a hyphen.
_NAMES: Final = {"ignore_unknown_options": True, "help_option_names": ["--help"]}


def _log_options(command: Command) -> Command:
    command = click.option(
        "--log", "logs", multiple=True, type=FILE, metavar="PATH", help="Folder or file of the log; may be repeated."
    )(command)
    return click.option(
        "--config", type=FILE, metavar="FILE", help="The gateway's bootstrap file: says where its log is."
    )(command)


@click.group()
def flow() -> None:
    """Recorded flows: what agents and servers said to each other, and what was decided.

    A flow is what is replayed as one: a session, a trace, or what one agent does at one
    server without a long pause. FLOW is its name, the beginning of its name, or the id of
    an exchange or decision, as agents are told in refusals.
    """


@flow.command("list", short_help="The flows of a log, newest first.")
@_log_options
@click.option(
    "--agent", metavar="NAME", help="An agent, by name or verified id; `gateway` = what the gateway asked itself."
)
@click.option("--session", metavar="RAW", help="A session id as the agent has it; hashed before it is looked for.")
@click.option("--server", metavar="NAME", help="A server.")
@click.option("--tool", metavar="NAME", help="A tool, prompt or resource.")
@click.option("--decision", type=click.Choice(["allow", "deny", "require-approval"]), help="What policy said.")
@click.option("--since", metavar="TIME", help="Not over before: 2026-11-23T09:00, or an age such as 30m, 8h, 7d.")
@click.option("--until", metavar="TIME", help="Begun before; as --since.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@output_option
def list_(config: Path | None, logs: tuple[Path, ...], limit: int, form: str, **wanted: str | None) -> int:
    """List flows. Of all filters one and the same exchange of the flow has to fulfil each."""
    from openmcp.cli.flow import listing as command

    return command.run(config, logs, wanted, limit=limit, form=form)


@flow.command(context_settings=_NAMES, short_help="One flow as a timeline.")
@click.argument("name", metavar="FLOW")
@_log_options
@click.option("--bodies", is_flag=True, help="Whole messages, not only their first words.")
@output_option
def show(name: str, config: Path | None, logs: tuple[Path, ...], bodies: bool, form: str) -> int:
    """Show who said what, what was decided by which rule, and how long it took."""
    from openmcp.cli.flow import showing as command

    return command.run(config, logs, name, is_whole=bodies, form=form)


@flow.command(context_settings=_NAMES, short_help="Walk through one flow, message by message.")
@click.argument("name", metavar="FLOW")
@_log_options
def step(name: str, config: Path | None, logs: tuple[Path, ...]) -> int:
    """Walk through a flow: what came in, was sent on, came back and went out, side by side.

    n or space: next; b: back; d: next decision; g, G: first, last; a number: that step; q: end. On a
    terminal that cannot give single keys, end each line with Enter.
    """
    from openmcp.cli.flow import stepping as command

    return command.run(config, logs, name)


@flow.command(context_settings=_NAMES, short_help="What differs between two flows.")
@click.argument("one", metavar="FLOW")
@click.argument("other", metavar="FLOW")
@_log_options
@click.option("--exit-code", is_flag=True, help="Exit with 1 if they differ.")
@output_option
def diff(one: str, other: str, config: Path | None, logs: tuple[Path, ...], exit_code: bool, form: str) -> int:
    """Compare two flows: calls in their order, arguments, decisions, outcomes and results."""
    from openmcp.cli.flow import differing as command

    return command.run(config, logs, one, other, has_exit_code=exit_code, form=form)


@flow.command(context_settings=_NAMES, short_help="Records in another form.")
@click.argument("name", metavar="[FLOW]", required=False)
@_log_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "otlp"]),
    default="json",
    show_default=True,
    help="json: one array of records; otlp: log records of OpenTelemetry, as OTLP JSON, one request per line.",
)
def export(name: str | None, config: Path | None, logs: tuple[Path, ...], form: str) -> int:
    """Print the records of one flow, or of the whole log, for other programs."""
    from openmcp.cli.flow import exporting as command

    return command.run(config, logs, name, form=form)


@flow.command(short_help="Prove that a log is whole and unchanged.")
@click.argument("paths", metavar="[PATH...]", nargs=-1, type=FILE)
@_log_options
@click.option("--public-key", "keys", multiple=True, type=FILE, metavar="PEM", help="Keys that sign; else the node's.")
@click.option("--retained", is_flag=True, help="Older files were removed on purpose.")
@click.option("--strict", is_flag=True, help="Also exit with 1 for logs that ended uncleanly.")
@output_option
def verify(
    paths: tuple[Path, ...],
    config: Path | None,
    logs: tuple[Path, ...],
    keys: tuple[Path, ...],
    form: str,
    **options: bool,
) -> int:
    """Check numbers, chain, checkpoints, signatures and long bodies, without asking anybody.

    PATH is a folder or a file of the log. Names the first line that is not as it was
    written. A log whose end is missing "ended uncleanly": it is still being written, its
    process was killed, or its last lines were cut off. Exit code 1 for a broken log.
    """
    from openmcp.cli.flow import verifying as command

    paths = (*paths, *logs)
    return command.run(
        config, paths, keys=keys, form=form, is_retained=options["retained"], is_strict=options["strict"]
    )
