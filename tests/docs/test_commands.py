"""Every command in the documents exists with its options, and the harmless ones are run."""

import ast
import re
import shlex
import subprocess
import sys
from importlib.metadata import metadata
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from openmcp.cli.main import cli
from tests.docs import pages

COMMANDS = [(block, command) for block in pages.of_language("sh") for command in pages.commands(block)]
HARMLESS = (
    "openmcp validate",
    "openmcp key new",
    "openmcp schema",
    *("openmcp policy test", "openmcp policy explain", "openmcp policy effective"),
)
TO_RUN = [(block, command) for block, command in COMMANDS if command.startswith(HARMLESS)]
TARGETS = set(re.findall(r"^([a-z-]+):", (pages.ROOT / "Makefile").read_text(), re.MULTILINE))
RUN_S = 30.0


def resolved(arguments: list[str]) -> tuple[click.Context, list[str]]:
    """The command that the words name, and the words behind it. Raises: click.UsageError if there is none."""
    context = click.Context(cli, info_name="openmcp")
    while isinstance(context.command, click.Group) and arguments:
        name, found, arguments = context.command.resolve_command(context, arguments)
        assert found is not None
        context = click.Context(found, parent=context, info_name=name)
    return context, arguments


def check_openmcp(arguments: list[str]) -> None:
    """Raises: click.UsageError if there is no such command or option."""
    context, rest = resolved(arguments)
    context.command.parse_args(context, rest)


@pytest.mark.parametrize(("block", "command"), COMMANDS, ids=str)
def test_command_exists(block: pages.Block, command: str) -> None:
    words = shlex.split(command)
    match words:
        case ["openmcp", *arguments]:
            check_openmcp(arguments)
        case ["make", target]:
            assert target in TARGETS
        case ["python", "-m", module, *_]:
            assert find_spec(module) is not None
        case ["curl", "-sS", url, *_]:
            assert url.startswith("http://127.0.0.1:")
        case ["pip", "install", what]:
            name, _, extra = what.removesuffix("]").partition("[")
            assert name == "openmcp"
            assert extra in metadata("openmcp").get_all("Provides-Extra", [])
        case [".", ".venv/bin/activate"]:
            pass
        case _:
            pytest.fail(f"{block}: nobody checks `{command}`; teach this test to")


@pytest.mark.parametrize(("block", "command"), TO_RUN, ids=str)
def test_harmless_command_runs(block: pages.Block, command: str, tmp_path: Path) -> None:
    pages.write_configuration(block.page, tmp_path)
    arguments = [sys.executable, "-m", "openmcp.cli.main", *shlex.split(command)[1:]]
    ran = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


@pytest.mark.parametrize("page", pages.WRITTEN, ids=pages.name)
def test_commands_and_targets_named_in_the_text_exist(page: Path) -> None:
    text = pages.outside_fences(page)
    for named in re.findall(r"`openmcp ([^`]+)`", text):
        context, rest = resolved(named.split())
        options = {option for parameter in context.command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("-")} <= options, f"`openmcp {named}` does not exist"
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert target in TARGETS, f"`make {target}` does not exist"


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_readme_lists_every_command(command: str) -> None:
    assert f"`openmcp {command}" in pages.outside_fences(pages.ROOT / "README.md")


@pytest.mark.parametrize("block", pages.of_language("python"), ids=str)
def test_python_imports_what_exists(block: pages.Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            module = __import__(node.module, fromlist=["_"])
            assert all(hasattr(module, alias.name) for alias in node.names)
