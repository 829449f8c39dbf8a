"""The commands of the guide on replaying do what it says, on a log that a gateway could have written."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from openmcp.audit.flows import session_digest
from openmcp.state.sealing import Keyring
from tests.docs import pages
from tests.support.processes import Process
from tests.unit.audit.reading.written import Written, signer

GUIDE = pages.ROOT / "docs" / "guides" / "replay.md"
COMMANDS = [command for block in pages.blocks(GUIDE) if block.language == "sh" for command in pages.commands(block)]
CONFIG = "{apiVersion: openmcp.dev/v1alpha1, kind: GatewayConfig, metadata: {name: guide}, spec: {}}\n"
SESSION = "9f86d081884c7d65"
WAIT_S = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory with keys and two sessions, one of them the guide's."""
    keys, audit = tmp_path / "openmcp-data" / "keys", tmp_path / "openmcp-data" / "audit"
    keys.mkdir(parents=True)
    audit.mkdir()
    (tmp_path / "gateway.yaml").write_text(CONFIG)
    for name in ("hashing", "sealing"):
        (keys / name).write_bytes(name[0].encode() * 32)
    (keys / "signing.pub").write_bytes(signer().public_pem())
    digest = session_digest(Keyring(sealing=(b"s" * 32,), hashing=b"h" * 32).digest, SESSION)
    log = Written(audit, signer=signer())
    for flow in (digest, "other-flow"):
        log.call(f"{flow}-1", "ticket_read", flow=flow, session=flow, server="tickets")
        log.call(f"{flow}-2", "ticket_close", flow=flow, session=flow, effect="deny", server="tickets")
    log.close()
    (tmp_path / "FLOW").write_text(digest)
    return tmp_path


def arguments(command: str, folder: Path) -> list[str]:
    flow = (folder / "FLOW").read_text()
    given = {"FLOW": flow, "OTHER_FLOW": "other-flow", "SESSION_ID": SESSION}
    words = [given.get(word, word) for word in shlex.split(command)]
    return [sys.executable, "-m", "openmcp.cli.main", *words[1:]]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("openmcp flow")])
def test_command_does_what_the_guide_says(command: str, folder: Path) -> None:
    ran = subprocess.run(
        arguments(command, folder),
        cwd=folder,
        input="n\nq\n",
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    if "verify" in command:
        assert "intact" in ran.stdout
    elif "diff" in command:
        assert "do not differ" in ran.stdout
    elif "--since" not in command:
        # Written at a moment that is no "eight hours ago".
        assert "ticket_read" in ran.stdout


def test_recording_is_served(folder: Path) -> None:
    (command,) = [command for command in COMMANDS if command.startswith("openmcp mock")]
    process = Process(arguments(command, folder), output=folder / "mock.log", cwd=folder)
    try:
        assert "/tickets" in process.first_line(timeout_s=WAIT_S)
    finally:
        process.stop()
