"""The command line: what goes where, and which code comes back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from openmcp import __version__
from openmcp.cli.main import main
from tests.unit.config.writing import policy, resource, server, source, write

Capture = pytest.CaptureFixture[str]


def test_the_version_is_that_of_the_package(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"openmcp {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["serve"], ["validate"], ["schema"], ["key"], ["key", "new"], ["pin"], ["pin", "accept"], ["demo"]],
)
def test_every_command_explains_itself(arguments: list[str], capsys: Capture) -> None:
    assert main([*arguments, "--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: openmcp")


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["--frobnicate"],
        ["serve"],
        ["serve", "--config"],
        ["validate"],
        ["schema", "--crds"],
        ["schema", "extra"],
        ["key", "new"],
        ["key", "new", "--name", "Bot"],
        ["key", "new", "--name", "a" * 64],
        ["key", "new", "--name", "bot", "--source", "A B"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("openmcp: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["key"]])
def test_a_command_that_lacks_its_second_word_shows_its_help(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    assert "Commands:" in capsys.readouterr().err


def test_a_valid_configuration_is_summed_up(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path, source(), server(), policy("{id: a, effect: allow, match: {tools: [x]}}"))
    assert main(["validate", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(
        "valid: 1 server, 1 identity source, 0 agents, 1 policy, 1 rule, 0 warnings; revision"
    )
    assert captured.err == ""


def test_warnings_are_shown_and_are_no_failure(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path, source(), server())
    assert main(["validate", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"{path}:8:18: warning: ")
    assert "1 warning;" in captured.out


def test_each_fault_is_one_line_on_standard_error(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path, resource("Agent", "x", "{a: 1, b: 2, owner: 3}"))
    assert main(["validate", str(path)]) == 2
    captured = capsys.readouterr()
    assert [line.split(" ")[0] for line in captured.err.splitlines()] == [f"{path}:4:{n}:" for n in (8, 14, 27)]
    assert captured.out == "invalid: 3 faults\n"


def test_several_files_are_checked_together(tmp_path: Path, capsys: Capture) -> None:
    one = write(tmp_path, server(), name="a.yaml")
    other = write(
        tmp_path, policy("{id: a, effect: allow, match: {tools: [x]}}", spec=", servers: [github]"), name="b.yaml"
    )
    assert main(["validate", str(one), str(other)]) == 0
    assert main(["validate", str(other)]) == 2
    assert "no MCPServer `github`" in capsys.readouterr().err


def test_serve_refuses_a_faulty_configuration(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path, resource("GatewayConfig", "x", "{workers: 8}"))
    assert main(["serve", "--config", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"{path}:4:17: ")
    assert list(tmp_path.iterdir()) == [path]


def test_the_schema_is_json(capsys: Capture) -> None:
    assert main(["schema"]) == 0
    assert len(json.loads(capsys.readouterr().out)["oneOf"]) == 10


def test_there_are_no_colours_where_nobody_looks(tmp_path: Path, capsys: Capture) -> None:
    main(["validate", str(write(tmp_path, resource("Agent", "x", "{a: 1}")))])
    main(["frobnicate"])
    assert "\x1b" not in capsys.readouterr().err


def test_help_imports_nothing_that_it_does_not_need() -> None:
    # Stands for the time: the command answers at once because it loads next to nothing.
    code = (
        "import sys; from openmcp.cli.main import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    loaded = set(json.loads(result.stderr.replace("'", '"')))
    assert "openmcp.cli.main" in loaded
    assert not loaded & {
        "pydantic",
        "yaml",
        "asyncio",
        "ssl",
        "uvloop",
        "starlette",
        "cryptography",
        "msgspec",
        "sqlite3",
    }


def test_a_reader_who_has_seen_enough_is_no_fault() -> None:
    command = [sys.executable, "-m", "openmcp.cli.main", "schema"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    # Closed before anything can be written: the command has yet to start.
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (1, "")
