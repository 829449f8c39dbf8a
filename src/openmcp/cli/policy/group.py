"""The options of `openmcp policy …`; what the commands do is in the modules beside this one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from openmcp.cli.options import output_option

FILE: Final = click.Path(path_type=Path)
TRUSTS: Final = ("anonymous", "header", "sharedSecret", "token", "certificate")
FAILURES: Final = ("change", "denial", "review", "undecidable", "never")

Command = TypeVar("Command", bound=Callable[..., object])


def _asking(command: Command) -> Command:
    """Give a command the options that say who asks, and where."""
    for option in reversed(
        (
            click.option(
                "--config", "-c", required=True, type=FILE, metavar="FILE", help="The gateway's bootstrap file."
            ),
            click.option("--agent", "-a", required=True, metavar="NAME", help="Name of the agent."),
            click.option("--server", "-s", required=True, metavar="NAME", help="Name of the MCPServer."),
            click.option("--id", "principal", metavar="ID", help="Principal id (default: the agent's first identity)."),
            click.option("--group", "groups", multiple=True, metavar="NAME", help="A group of the agent; repeatable."),
            click.option("--trust", type=click.Choice(TRUSTS), help="How strongly it was verified."),
        )
    ):
        command = option(command)
    return command


@click.group()
def policy() -> None:
    """Policies on trial: tests, explanations, effective access, recorded decisions decided again.

    Nothing is sent, and nothing changes: the stages of the gateway run on what is written
    or recorded. Secrets are not needed.
    """


@policy.command(short_help="Run the cases of PolicyTest documents.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=FILE)
@click.option("--config", "-c", type=FILE, metavar="FILE", help="The gateway whose policies are tested.")
@click.option("--junit", type=FILE, metavar="FILE", help="Write the results for a CI system as well.")
@output_option
def test(paths: tuple[Path, ...], config: Path | None, junit: Path | None, form: str) -> int:
    """Run every PolicyTest in PATH, files or directories, on the policies that stand there or in --config.

    Exit code 1 if a case fails; each failure says what was expected, what came, and what
    became of every rule.
    """
    from openmcp.cli.policy import testing as command

    return command.run(paths, config, junit=junit, form=form)


@policy.command(short_help="The decision on one call, and every rule that was considered.")
@_asking
@click.option("--tool", metavar="NAME", help="The tool that is called.")
@click.option("--resource", metavar="URI", help="The resource that is read.")
@click.option("--prompt", metavar="NAME", help="The prompt that is fetched.")
@click.option("--method", metavar="METHOD", help="Another MCP method; alone, or about a resource.")
@click.option("--args", metavar="JSON", default="{}", show_default=True, help="Arguments of the tool or prompt.")
@click.option("--now", metavar="TIME", help="Date, time and zone of the call (default: now).")
@click.option("--ip", metavar="ADDRESS", default="", help="Address that the call comes from.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: TEXT'", help="A request header; repeatable.")
@output_option
def explain(config: Path, form: str, **given: Any) -> int:
    """Explain what the policies say to one call, rule by rule."""
    from openmcp.cli.policy import explaining as command

    return command.run(config, given, form=form)


@policy.command(short_help="What one agent may see and do on one server, merged from all levels.")
@_asking
@click.option("--probe", is_flag=True, help="Ask the server for its lists, instead of what is known of it here.")
@output_option
def effective(config: Path, probe: bool, form: str, **given: Any) -> int:
    """Show what an agent may do with everything that a server is known to offer.

    Known is what the gateway has pinned, or with --probe what the server lists now. What is
    not known is told by the names and patterns that the rules have.
    """
    from openmcp.cli.policy import effective as command

    return command.run(config, given, is_probing=probe, form=form)


@policy.command(short_help="Which recorded decisions other policies would change.")
@click.option(
    "--policies", required=True, multiple=True, type=FILE, metavar="PATH", help="The new policies; file or directory."
)
@click.option("--log", "logs", multiple=True, type=FILE, metavar="PATH", help="File or folder of the audit log.")
@click.option("--config", "-c", type=FILE, metavar="FILE", help="The gateway whose log is read, instead of --log.")
@click.option("--since", metavar="TIME", help="Not older than: 2026-11-23T09:00, or an age such as 8h, 7d.")
@click.option("--until", metavar="TIME", help="Not younger than; as --since.")
@click.option("--agent", metavar="NAME", help="Only decisions on this agent.")
@click.option("--server", metavar="NAME", help="Only decisions on this server.")
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(FAILURES),
    default=("change",),
    show_default=True,
    help="What makes the exit code 1; repeatable.",
)
@output_option
def backtest(policies: tuple[Path, ...], form: str, **wanted: Any) -> int:
    """Decide recorded calls again under new policies, and show what would come out otherwise.

    New denials come first, then the reviews that people would newly be asked, then what
    would be allowed. A decision that hangs on something that the log does not have is
    reported as undecidable, never guessed.
    """
    from openmcp.cli.policy import backtesting as command

    return command.run(policies, wanted, form=form)
