"""`openmcp flow …`, as a person and as a program use it."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from openmcp.cli.main import main
from tests.unit.audit.reading.written import Written

WAIT_S = 20.0
CONFIG = """
apiVersion: openmcp.dev/v1alpha1
kind: GatewayConfig
metadata: {name: test}
spec: {dataDir: data}
"""


@pytest.fixture
def log(tmp_path: Path) -> Written:
    """Two sessions; in the first a call is denied, in the second a text would like to steer the terminal."""
    (tmp_path / "data" / "audit").mkdir(parents=True)
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    log = Written(tmp_path / "data" / "audit")
    log.call("e1", "read", session="A-session", flow="A-session", arguments={"ticket": 7})
    log.call("e2", "drop", session="A-session", flow="A-session", effect="deny")
    log.call("e3", "read", session="B-session", flow="B-session", text="\x1b[31mred\u202e")
    log.close()
    return log


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr().out


def test_list_is_a_table_json_or_yaml(log: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ("--config", tmp_path / "gateway.yaml")
    code, table = run(capsys, "flow", "list", *config)
    assert code == 0
    assert table.splitlines()[1].startswith("B-session")
    _, told = run(capsys, "flow", "list", *config, "--output", "json")
    first: dict[str, Any] = json.loads(told)[1]
    assert (first["flow"], first["agents"], first["decisions"]) == ("A-session", ["bot"], {"allow": 1, "deny": 1})
    _, told = run(capsys, "flow", "list", *config, "--output", "yaml", "--decision", "deny")
    assert [flow["flow"] for flow in yaml.safe_load(told)] == ["A-session"]


def test_show_tells_what_was_decided_and_lets_nothing_steer_the_terminal(
    log: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown = run(capsys, "flow", "show", "A-sess", "--log", log.folder)
    assert "deny by rule desk/reading" in shown
    assert '{"ticket": 7}' in shown
    _, shown = run(capsys, "flow", "show", "B-session", "--log", log.folder, "--bodies")
    assert "\\u001b[31mred\\u202e" in shown
    assert "\x1b" not in shown
    _, told = run(capsys, "flow", "show", "B-session", "--log", log.folder, "--output", "json")
    assert [record["type"] for record in json.loads(told)["records"]] == ["message", "decision", "message", "exchange"]


def test_diff_names_what_only_one_has(log: Written, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("flow", "diff", "A-session", "B-session", "--log", log.folder)
    code, told = run(capsys, *arguments, "--output", "json")
    assert code == 0
    found = json.loads(told)
    assert [(one["what"], one["call"]) for one in found] == [
        ("changed", "tools/call read"),
        ("only in first", "tools/call drop"),
    ]
    assert any('"ticket": 7' in line for line in found[0]["diff"])
    assert run(capsys, *arguments, "--exit-code")[0] == 1
    assert run(capsys, "flow", "diff", "e1", "e1", "--log", log.folder, "--exit-code")[0] == 0


def test_export_is_an_array_of_records_or_otlp(log: Written, capsys: pytest.CaptureFixture[str]) -> None:
    _, told = run(capsys, "flow", "export", "A-session", "--log", log.folder)
    assert len(json.loads(told)) == 7
    _, told = run(capsys, "flow", "export", "--log", log.folder, "--format", "otlp")
    (request,) = map(json.loads, told.splitlines())
    records = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert len(records) == 13
    assert json.loads(records[1]["body"]["stringValue"])["exchange"] == "e1"


def test_verify_says_what_a_log_is(log: Written, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "flow", "verify", log.folder)[0] == 0
    data = log.path.read_bytes()
    log.path.write_bytes(data.replace(b'"deny"', b'"allow"', 1))
    code, told = run(capsys, "flow", "verify", log.folder)
    assert code == 1
    assert f"{log.path}:7: " in told
    log.path.write_bytes(data[:-10])
    assert run(capsys, "flow", "verify", log.folder)[0] == 0
    assert run(capsys, "flow", "verify", log.folder, "--strict")[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["flow", "show", "nothing"],
        ["flow", "list", "--session", "raw"],
        ["flow", "list", "--since", "yesterday"],
        ["flow", "verify", "missing.jsonl"],
    ],
)
def test_wrong_usage_is_2(log: Written, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    options = [] if arguments[1] == "verify" else ["--log", str(log.folder)]
    assert main([*arguments, *options]) == 2
    assert main(arguments) == 2
    assert capsys.readouterr().err


class Terminal:
    """A command behind a pseudo terminal."""

    def __init__(self, *arguments: str, term: str) -> None:
        self._screen, theirs = pty.openpty()
        command = [sys.executable, "-m", "openmcp.cli.main", *arguments]
        env = {**os.environ, "TERM": term, "COLUMNS": "120", "LINES": "40"}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env, close_fds=True)
        os.close(theirs)

    def sees(self, text: str) -> str:
        """Wait for the text; return everything up to it."""
        seen = ""
        deadline = time.monotonic() + WAIT_S
        while text not in seen:
            ready, _, _ = select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come, but {seen!r}"
            seen += os.read(self._screen, 65536).decode(errors="replace")
        return seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self._screen)

    def types(self, keys: str) -> None:
        os.write(self._screen, keys.encode())

    def ends(self) -> int:
        return self.process.wait(WAIT_S)


@pytest.mark.parametrize(("term", "enter"), [("xterm", ""), ("dumb", "\n")])
def test_step_goes_forth_and_back_and_to_decisions(log: Written, term: str, enter: str) -> None:
    with Terminal("flow", "step", "A-session", "--log", str(log.folder), term=term) as terminal:
        first = terminal.sees("q end")
        assert "step 1 of 7" in first
        assert "RECEIVED" in first
        terminal.types(f"d{enter}")
        assert "allow by rule desk/reading" in terminal.sees("q end")
        terminal.types(f"d{enter}")
        seen = terminal.sees("q end")
        assert "deny by rule desk/reading" in seen
        assert "nothing was sent to the server" in seen
        terminal.types(f"b{enter}")
        assert "step 5 of 7" in terminal.sees("q end")
        terminal.types("3\n")
        seen = terminal.sees("q end")
        assert "step 3 of 7" in seen
        assert "as received" in seen
        terminal.types(f"q{enter}")
        assert terminal.ends() == 0


def test_step_reads_lines_where_there_is_no_terminal(log: Written) -> None:
    command = [sys.executable, "-m", "openmcp.cli.main", "flow", "step", "e2", "--log", str(log.folder)]
    ran = subprocess.run(command, input="n\nG\n", capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert ran.returncode == 0
    assert "\x1b" not in ran.stdout
    assert [line.split("  ")[0] for line in ran.stdout.splitlines() if line.startswith("step")] == [
        "step 1 of 7",
        "step 2 of 7",
        "step 7 of 7",
    ]
