"""`openmcp demo` as a person meets it: what it prints is pasted, edited and interrupted here."""

import json
import os
import queue
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.docs import pages
from tests.docs.pasted import Request, parsed, texts

START_S = 40.0
STOP_S = 20.0
WAIT_S = 15.0
COMMAND = [sys.executable, "-m", "openmcp.cli.main", "demo"]


class Demo:
    """A running demo and what it has printed."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.banner = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._lines.put(line)
        self._lines.put(None)

    def wait_for_banner(self) -> None:
        deadline = time.monotonic() + START_S
        while "Authorization: Bearer KEY" not in self.banner:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            assert line is not None, self.banner
            self.banner += line

    def value(self, label: str) -> str:
        """The first word behind a label at the start of a line."""
        found = re.search(rf"^{label} +(\S+)", self.banner, re.MULTILINE)
        assert found is not None, self.banner
        return found[1]

    @property
    def folder(self) -> Path:
        return Path(self.value("Folder"))

    @property
    def requests(self) -> list[Request]:
        """The printed curl commands, in their order."""
        joined = self.banner.replace("\\\n", " ")
        return [parsed(line) for line in joined.splitlines() if line.startswith("curl ")]

    @property
    def sdk_command(self) -> list[str]:
        (line,) = [line for line in self.banner.splitlines() if "openmcp.cli.demo.agent" in line]
        return shlex.split(line)

    def server_ports(self) -> list[int]:
        text = (self.folder / "resources" / "servers.yaml").read_text()
        return [int(port) for port in re.findall(r"http://127\.0\.0\.1:(\d+)/mcp", text)]

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        code = self.process.wait(STOP_S)
        self._reader.join(STOP_S)
        return code


@contextmanager
def started(command: Sequence[str] = COMMAND) -> Iterator[Demo]:
    demo = Demo(command)
    try:
        demo.wait_for_banner()
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.end(signal.SIGINT)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with started() as running:
        yield running


def is_open(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.05)


def test_support_bot_reads_the_ticket(demo: Demo) -> None:
    answer = demo.requests[0].answer()
    assert answer["result"].get("isError", False) is False
    assert "dana@example.com" in texts(answer)


def test_report_bot_is_refused_and_told_why(demo: Demo) -> None:
    answer = demo.requests[1].answer()
    assert answer["result"]["isError"] is True
    assert answer["result"]["_meta"]["openmcp.dev/decision"]["effect"] == "deny"
    assert "personal data" in texts(answer)
    assert "dana@example.com" not in json.dumps(answer)


def test_report_bot_may_see_the_overview(demo: Demo) -> None:
    report = demo.requests[1]
    assert "T-1" in texts(report.calling("ticket_list").answer())
    assert "open" in texts(report.calling("ticket_status", id="T-1").answer())


def test_tool_denied_without_a_reason_looks_like_one_that_does_not_exist(demo: Demo) -> None:
    report = demo.requests[1]
    hidden = report.calling("ticket_search", words="charged").answer()
    absent = report.calling("ticket_surch", words="charged").answer()
    assert hidden["error"]["code"] == -32602
    assert json.dumps(hidden).replace("ticket_search", "ticket_surch") == json.dumps(absent)


def test_requests_without_a_session_reach_both_desks(demo: Demo) -> None:
    listing = demo.requests[0].calling("ticket_list")
    desks = {match for _ in range(8) for match in re.findall(r"\(desk (\w)\)", texts(listing.answer()))}
    assert desks == {"a", "b"}


def test_session_of_an_sdk_client_stays_at_one_desk(demo: Demo) -> None:
    ran = subprocess.run(demo.sdk_command, capture_output=True, text=True, timeout=START_S, check=False)
    assert ran.returncode == 0, ran.stderr
    desks = re.findall(r"\(desk (\w)\)", ran.stdout)
    assert len(desks) == 3
    assert len(set(desks)) == 1
    assert "dana@example.com" in ran.stdout


def test_sdk_client_of_report_bot_does_not_see_what_it_may_not_use(demo: Demo) -> None:
    key = demo.requests[1].headers["Authorization"].removeprefix("Bearer ")
    command = [*demo.sdk_command[:-1], key]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "tools: ticket_list, ticket_status\n" in ran.stdout
    assert "ticket_read: refused:" in ran.stdout


def test_client_of_the_first_guide_works_as_it_stands(demo: Demo, tmp_path: Path) -> None:
    (guide,) = [block for block in pages.of_language("python") if block.page.name == "first-server.md"]
    support = demo.requests[0]
    key = support.headers["Authorization"].removeprefix("Bearer ")
    script = tmp_path / "client.py"
    text = guide.text.replace("http://127.0.0.1:8080/tickets", support.url).replace("omcp_support-bot_...", key)
    assert text.count(key) == 1
    script.write_text(text)
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=START_S, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "Invoice is wrong" in ran.stdout


def test_both_agents_share_the_notes(demo: Demo) -> None:
    support, report = demo.requests
    notes = support.url.replace("/tickets", "/notes")
    support.at(notes).calling("note_add", text="call Dana").answer()
    assert "call Dana" in texts(report.at(notes).calling("note_list").answer())


def test_decisions_are_in_the_audit_log_and_keys_are_not(demo: Demo) -> None:
    support, report = demo.requests
    for request in (support, report):
        request.answer()
    folder = Path(demo.value("Audit log"))

    def log() -> str:
        return "".join(path.read_text() for path in folder.glob("*.jsonl"))

    wait_until(lambda: '"rule":"no-reading"' in log() and '"rule":"support-reads-tickets"' in log())
    for request in (support, report):
        assert request.headers["Authorization"].removeprefix("Bearer ") not in log()


def test_admin_says_ready(demo: Demo) -> None:
    ready = httpx.get(f"{demo.value('Admin')}/readyz", timeout=WAIT_S, trust_env=False)
    assert ready.status_code == 200


def test_edited_policy_counts_without_a_restart() -> None:
    with started() as demo:
        report = demo.requests[1]
        assert report.answer()["result"]["isError"] is True
        policies = Path(demo.value("Policies"))
        text = policies.read_text()
        policies.write_text(text.replace("names: [report-bot]", "names: [nobody]").replace("[support]", "[reports]"))
        wait_until(lambda: not report.answer()["result"].get("isError", False))
        policies.write_text("kind: Nonsense")
        wait_until(lambda: "configurationFault" in httpx.get(f"{demo.value('Admin')}/readyz", trust_env=False).json())
        assert "dana@example.com" in texts(report.answer())


def test_ctrl_c_ends_everything_and_removes_the_folder() -> None:
    with started() as demo:
        folder, ports = demo.folder, demo.server_ports()
        assert len(ports) == 3
        assert all(is_open(port) for port in ports)
        assert demo.end(signal.SIGINT) == 0
        assert not any(is_open(port) for port in ports)
        assert not folder.exists()


def test_kept_folder_keeps_its_policies_and_evidence(tmp_path: Path) -> None:
    command = [*COMMAND, "--directory", str(tmp_path / "kept")]
    with started(command) as demo:
        assert demo.requests[1].answer()["result"]["isError"] is True
        policies = Path(demo.value("Policies"))
    policies.write_text(policies.read_text().replace("names: [report-bot]", "names: [nobody]"))
    with started(command) as demo:
        assert "error" in demo.requests[1].answer(), "denied by default, without a reason"
        assert len(list(Path(demo.value("Audit log")).glob("*.jsonl"))) >= 2


def test_two_demos_run_side_by_side(demo: Demo) -> None:
    with started() as second:
        assert second.requests[0].url != demo.requests[0].url
        assert second.value("Admin") != demo.value("Admin")
        assert "dana@example.com" in texts(second.requests[0].answer())


def test_servers_end_even_when_the_demo_is_killed() -> None:
    with started() as demo:
        ports = demo.server_ports()
        demo.end(signal.SIGKILL)
        wait_until(lambda: not any(is_open(port) for port in ports))
        shutil.rmtree(demo.folder)


def test_other_sdk_is_named_with_the_way_to_the_right_one(tmp_path: Path) -> None:
    info = tmp_path / "mcp-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mcp\nVersion: 0.1\n")
    ran = subprocess.run(
        COMMAND,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert "openmcp[demo]" in ran.stderr
