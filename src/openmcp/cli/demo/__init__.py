"""`openmcp demo`: two MCP servers, the gateway in front of them, and two agents, on loopback with no set-up.

Called by the command line. The servers are child processes, the gateway runs in this
one, and all that it is told stands in files that can be read and edited meanwhile.
"""

import errno
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from openmcp.cli.demo import banner, files
from openmcp.cli.demo.children import Child, ChildFailed, is_free
from openmcp.cli.key import new_key
from openmcp.errors import Misconfigured, OpenMCPError

PUBLIC_PORT = 8080
ADMIN_PORT = 9090

_SDK = "2."
"""The line of the MCP SDK that the servers are written for."""


def run(directory: Path | None = None) -> int:
    """Run the demo until Ctrl-C; `None` takes a fresh temporary folder and removes it at the end."""
    _require_sdk()
    try:
        with ExitStack() as stack:
            folder = stack.enter_context(_folder(directory))
            desks, notes = _start_servers(stack, folder)
            keys = {agent: new_key(agent) for agent in files.AGENTS}
            site = files.Site(
                folder=folder,
                public_port=PUBLIC_PORT if is_free(PUBLIC_PORT) else 0,
                admin_port=ADMIN_PORT if is_free(ADMIN_PORT) else 0,
                ticket_urls=tuple(desk.url for desk in desks),
                notes_url=notes.url,
                keys=keys,
            )
            _run_gateway(site, is_kept=directory is not None)
    except KeyboardInterrupt:
        # Ctrl-C while things were starting: everything that ran has been ended on the way here.
        pass
    except Misconfigured:
        # Policies of a kept folder that no longer fit: the command line shows each fault with its place.
        raise
    except (ChildFailed, OpenMCPError, OSError) as error:
        raise click.ClickException(f"the demo cannot run: {error}") from None
    return 0


def _require_sdk() -> None:
    """Raises: click.ClickException if the SDK that the demo's servers are made of is not there."""
    try:
        found = version("mcp")
    except PackageNotFoundError:
        found = "missing"
    if not found.startswith(_SDK):
        raise click.ClickException(
            f"the demo needs the MCP SDK {_SDK}x (here: {found}); install it with: pip install 'openmcp[demo]'"
        )


@contextmanager
def _folder(directory: Path | None) -> Generator[Path]:
    if directory is not None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield directory.resolve()
        return
    fresh = Path(tempfile.mkdtemp(prefix="openmcp-demo-")).resolve()
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _start_servers(stack: ExitStack, folder: Path) -> tuple[list[Child], Child]:
    """Start two ticket desks and the notes, and return them once all take connections."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    desks = [
        stack.enter_context(Child("tickets", log=logs / f"tickets-{name}.log", options=("--desk", name)))
        for name in files.DESKS
    ]
    notes = stack.enter_context(Child("notes", log=logs / "notes.log"))
    for child in (*desks, notes):
        child.wait_until_open()
    return desks, notes


def _run_gateway(site: files.Site, *, is_kept: bool) -> None:
    from openmcp.server import node

    is_ready = False

    def show(running: node.Node) -> None:
        nonlocal is_ready
        is_ready = True
        origin, admin = (_url(*address) for address in (running.addresses["public"], running.admin.address))
        click.echo(banner.text(site, origin=origin, admin=admin, is_kept=is_kept))

    files.write(site)
    try:
        node.run([site.bootstrap], on_ready=show)
    except OSError as error:
        if is_ready or error.errno != errno.EADDRINUSE or not site.public_port + site.admin_port:
            raise
        # Somebody took a port between the look and the start; any free one can be had without a look.
        _run_gateway(replace(site, public_port=0, admin_port=0), is_kept=is_kept)
        return
    click.echo("Stopped." if is_kept else "Stopped; the folder is removed.")


def _url(host: str, port: int) -> str:
    return f"http://{host}:{port}"
