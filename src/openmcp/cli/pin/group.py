"""The options of `openmcp pin …`; what the commands do is in the modules beside this one."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from openmcp.cli.options import output_option

Command = TypeVar("Command", bound=Callable[..., object])

KINDS: Final = ("tool", "prompt", "resource", "template")


def _of_node(command: Command) -> Command:
    command = click.option("--kind", type=click.Choice(KINDS), help="Only this kind, where several bear the name.")(
        command
    )
    return click.option(
        "--config",
        "-c",
        required=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The gateway's bootstrap file: says where its state is.",
    )(command)


@click.group()
def pin() -> None:
    """Definitions that a gateway remembers: of servers with `pinning: {mode: warn | block}`.

    What a server offers when it is first seen is accepted. What it offers later, and
    differently, is told and (in mode `block`) kept from agents until somebody accepts it.
    These commands work on the gateway's own state, also while it runs.
    """


@pin.command("list", short_help="What is remembered, and what has changed, old beside new.")
@click.argument("server", required=False)
@click.argument("tool", required=False)
@_of_node
@click.option("--changed", is_flag=True, help="Only what nobody has accepted.")
@output_option
def list_(server: str | None, tool: str | None, config: Path, kind: str | None, changed: bool, form: str) -> int:
    """List the pinned definitions of SERVER (default: of all servers), or only TOOL.

    TOOL is the name of a tool or prompt, a URI, or a URI template. Of what has changed the
    accepted version and the newest one stand side by side, hidden characters made visible.
    """
    from openmcp.cli.pin import listing as command

    return command.run(config, command.Wanted(server, tool, kind), is_changed_only=changed, form=form)


@pin.command(short_help="Accept what a server offers now.")
@click.argument("server")
@click.argument("tool", required=False)
@_of_node
@click.option("--digest", metavar="HEX", help="Accept just this version, by the first digits of its digest.")
@click.option("--all", "every", is_flag=True, help="Accept every version that was offered, not only the newest.")
@click.option("--only", is_flag=True, help="Accept no former version any more.")
@click.option("--dry-run", is_flag=True, help="Show what would be accepted, and change nothing.")
def accept(server: str, tool: str | None, config: Path, kind: str | None, digest: str | None, **how: bool) -> int:
    """Accept TOOL of SERVER as it was offered last; without TOOL all that has changed there.

    Shows old and new side by side, and takes effect within a second, without a restart. Give
    --digest to accept just what you have read, whatever the server offers meanwhile.
    """
    from openmcp.cli.pin import accepting as command
    from openmcp.cli.pin.listing import Wanted

    if digest is not None and (tool is None or how["every"]):
        raise click.UsageError("--digest is about one version of one definition: name it, and leave --all out")
    return command.run(
        config, Wanted(server, tool, kind), command.How(digest, how["every"], how["only"], how["dry_run"])
    )
