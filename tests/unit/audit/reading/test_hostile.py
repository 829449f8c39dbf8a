"""A log from elsewhere may hold anything: reading it neither fails nor lets it steer a terminal."""

import io
from pathlib import Path

import pytest

from openmcp.cli.main import main
from tests.unit.audit.reading.written import Written

BAIT = "\x1b]0;owned\x07\u202e\x9b31m"
COMMANDS = (
    ["list"],
    ["show", "F-flow"],
    ["show", "F-flow", "--bodies"],
    ["diff", "F-flow", "G-flow"],
    ["export", "F-flow"],
    ["export", "F-flow", "--format", "otlp"],
    ["list", "--output", "json"],
    ["list", "--output", "yaml"],
    ["show", "F-flow", "--output", "yaml"],
    ["verify"],
    ["step", "F-flow"],
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = Written(tmp_path)
    log.call("e1", BAIT, flow="F-flow", session="S", text=BAIT, arguments={BAIT: BAIT})
    log.call("e2", "other", flow="G-flow", session="T", text="x")
    shared = {"flow": "F-flow", "mcp": {"method": BAIT, "name": BAIT}, "server": BAIT, "replica": BAIT}
    deep = "[" * 600 + "]" * 600
    log.says("e3", "message", dir="agent→gateway", kind=BAIT, body={"params": [1], "result": BAIT}, **shared)
    log.says("e3", BAIT, flags=[BAIT], **shared)
    log.says("e3", "decision", decision={"effect": BAIT, "policy": BAIT, "rule": BAIT, "reason": BAIT}, **shared)
    log.says("e3", "message", dir="gateway→agent", base="e3.1", changes=[{"op": "removed", "path": BAIT}], **shared)
    log.says("e3", "message", dir="server→gateway", bodyRef={"sha256": "../../etc/passwd", "bytes": 1}, **shared)
    log.says("e3", "exchange", outcome={"kind": BAIT, "detail": BAIT}, **shared)
    log.chain.link([])
    with log.path.open("ab") as file:
        file.write(
            log.chain.link([f'{{"type":"message","exchange":"e4","flow":"F-flow","ts":1,"body":{deep}}}'.encode()])
        )
        file.write(b'{"type":"message","exchange":"e5","ts":2,"body":"\xff\xfe"}\n')
        file.write(b"\x00\x01\x02\n")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_of_it_reaches_a_terminal_raw(
    command: list[str], log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n" * 12 + "w\nq\n"))
    assert main(["flow", *command, "--log", str(log)]) in (0, 1, 2)
    shown = "".join(capsys.readouterr())
    assert shown
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(shown)
