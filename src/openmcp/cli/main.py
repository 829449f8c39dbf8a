"""`openmcp`: the table of commands and their options.

Each command imports what it needs when it runs, so that `--help` answers at once.
Exit codes: 0 done, 1 a check said no, 2 wrong usage or invalid configuration.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from openmcp import __version__
from openmcp.cli.flow.group import flow
from openmcp.cli.pin.group import pin
from openmcp.cli.policy.group import policy
from openmcp.errors import Misconfigured

FILE = click.Path(path_type=Path)
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, "-V", "--version", prog_name="openmcp", message="%(prog)s %(version)s")
def cli() -> None:
    """A gateway for the Model Context Protocol: decides which agent may use what, and keeps the evidence.

    \b
    Start here:
      openmcp demo                    everything on loopback, no set-up
      openmcp validate gateway.yaml   is this configuration right?
      openmcp serve --config gateway.yaml
    """


@cli.command()
@click.option("--config", "-c", required=True, type=FILE, metavar="FILE", help="The bootstrap file (GatewayConfig).")
def serve(config: Path) -> int:
    """Run the gateway.

    Reads FILE and what it names, watches both, and puts a changed configuration in force
    when all of it is valid. SIGTERM or Ctrl-C ends it cleanly.
    """
    from openmcp.cli import serve as command

    return command.run(config)


@cli.command(short_help="Check configuration, and say what is wrong where.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@click.option("--probe", is_flag=True, help="Ask the servers too: do they have what the rules name?")
def validate(files: tuple[Path, ...], probe: bool) -> int:
    """Check configuration as `serve` would load it.

    FILE is a YAML file or a directory of them; several are checked together. Prints every
    fault as file:line:column, and warnings about what is probably not meant. Secrets are
    looked up: environment variables and files that are named have to be there.
    """
    from openmcp.cli import validate as command

    return command.run(files, env=os.environ, is_probing=probe)


@cli.command()
@click.option("--crds", is_flag=True, help="Kubernetes CRDs instead (not available in this version).")
def schema(crds: bool) -> int:
    """Print the JSON Schema of all resources, for editors."""
    if crds:
        raise click.UsageError("--crds is not available in this version: it comes with the Kubernetes source")
    from openmcp.cli import schema as command

    return command.run()


@cli.group()
def key() -> None:
    """Make API keys for agents."""


@key.command(short_help="Make a key and print it once.")
@click.option("--name", "-n", required=True, metavar="NAME", help="Name of the agent, and id of its key.")
@click.option("--source", default="keys", show_default=True, metavar="NAME", help="IdentitySource that takes the key.")
def new(name: str, source: str) -> int:
    """Make a key, print it this once, and the resources that know its digest."""
    from openmcp.cli import key as command

    return command.run(name, source)


@cli.command()
@click.option(
    "--directory", "-d", type=FILE, metavar="DIR", help="Keep the demo's files here (default: a temporary folder)."
)
def demo(directory: Path | None) -> int:
    """Start everything on loopback, without any set-up.

    Two MCP servers, the gateway in front of them, and two agents with keys. Prints what to
    try. Ctrl-C ends it.
    """
    from openmcp.cli import demo as command

    return command.run(directory)


@cli.command(short_help="Serve recorded answers as an MCP server.")
@click.argument("log", metavar="LOG...", nargs=-1, required=True, type=FILE)
@click.option("--flow", metavar="FLOW", help="Only what this flow recorded.")
@click.option(
    "--address", default="127.0.0.1:0", show_default=True, metavar="HOST:PORT", help="Port 0 takes a free one."
)
def mock(log: tuple[Path, ...], flow: str | None, address: str) -> int:
    """Serve recorded answers as an MCP server.

    LOG is a folder or a file of the audit log. Prints a URL per server that it holds. A
    request is answered as the same request was; one that was never made in just these
    words gets the next answer of its method and name. Session, state and task ids are
    fresh. What the log does not hold (redacted values) cannot be served, and is told.
    """
    from openmcp.cli import mock as command

    return command.run(log, flow, address)


cli.add_command(flow)
cli.add_command(pin)
cli.add_command(policy)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        code = cli.main(args=None if arguments is None else list(arguments), prog_name="openmcp", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.UsageError as error:
        hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _fail(error.format_message() + hint)
    except click.ClickException as error:
        return _fail(error.format_message())
    except Misconfigured as error:
        from openmcp.cli.report import print_faults

        print_faults(error.faults)
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _fail(text: str) -> int:
    click.echo(f"{click.style('openmcp:', fg='red')} {' '.join(text.split())}", err=True)
    return 2


if __name__ == "__main__":
    sys.exit(main())
