"""The real command, as a script of an operator calls it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "openmcp.cli.main"]
HEAD = "apiVersion: openmcp.dev/v1alpha1\n"


def run(*arguments: str, folder: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_full_example_is_valid_with_its_secrets_and_faulty_without(tmp_path: Path) -> None:
    example = str(ROOT / "tests" / "unit" / "config" / "full.yaml")
    secrets = {"TOKEN": "t", "SEALING": "s" * 40, "SEALING_OLD": "o" * 40, "HASHING": "h" * 40}
    good = run("validate", example, folder=tmp_path, **secrets)
    assert (good.returncode, good.stderr) == (0, "")
    bad = run("validate", example, folder=tmp_path)
    assert bad.returncode == 2
    assert [line.split(":")[1] for line in bad.stderr.splitlines()] == ["18", "18", "18", "47"]


def test_places_are_written_as_the_operator_named_the_file(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.yaml").write_text(f"{HEAD}kind: Agent\nmetadata: {{name: a}}\nspec: {{x: 1}}\n")
    result = run("validate", "conf/a.yaml", folder=tmp_path)
    assert result.stderr.startswith("conf/a.yaml:4:8: ")


def test_a_made_key_can_be_configured_as_printed(tmp_path: Path) -> None:
    made = run("key", "new", "--name", "bot", folder=tmp_path)
    key, _, snippet = made.stdout.partition("\n")
    assert key.startswith("omcp_bot_")
    (tmp_path / "agents.yaml").write_text(snippet)
    assert run("validate", "agents.yaml", folder=tmp_path).returncode == 0


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "--help"]])
def test_help_answers_on_standard_output(tmp_path: Path, arguments: list[str]) -> None:
    result = run(*arguments, folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: openmcp")
