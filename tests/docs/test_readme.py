"""The README's way from nothing to a first answer, walked as it is written; only the ports are others."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.docs import pages
from tests.docs.pasted import Request, parsed, texts
from tests.support.processes import Process, free_port

README = pages.ROOT / "README.md"
START_S = 30.0
STEPS = [command for block in pages.blocks(README) if block.language == "sh" for command in pages.commands(block)]
OPENMCP = [sys.executable, "-m", "openmcp.cli.main"]


def step(start: str) -> str:
    """The README's command that starts so."""
    (found,) = [command for command in STEPS if command.startswith(start)]
    return found


class Reader:
    """Somebody who does what the README says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports = {port: str(free_port()) for port in ("8080", "9090", "9001")}

    def moved(self, text: str) -> str:
        for port, free in self._ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}").replace(f"--port {port}", f"--port {free}")
        return text

    def write_configuration(self) -> None:
        path = pages.write_configuration(README, self.folder)
        assert path is not None
        path.write_text(self.moved(path.read_text()))

    def append_key(self) -> str:
        """Make the key, append the resources behind it, and return it."""
        key, _, resources = self.run(step("openmcp key new")).partition("\n")
        with (self.folder / "gateway.yaml").open("a") as file:
            file.write(resources)
        return key

    def run(self, command: str) -> str:
        arguments = [*OPENMCP, *command.split()[1:]]
        ran = subprocess.run(arguments, cwd=self.folder, capture_output=True, text=True, timeout=START_S, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout + ran.stderr if "validate" in command else ran.stdout

    def start(self, command: list[str], name: str) -> Process:
        return Process(command, output=self.folder / f"{name}.log", cwd=self.folder, env=os.environ)

    def is_ready(self) -> bool:
        try:
            url = self.moved("http://127.0.0.1:9090/readyz")
            return httpx.get(url, timeout=1.0, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def request_of_the_reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Request]:
    """The README's request, with everything before it done."""
    reader = Reader(tmp_path_factory.mktemp("reader"))
    with ExitStack() as stack:
        server = reader.moved(step("python -m")).split()
        stack.callback(reader.start([sys.executable, *server[1:]], "server").stop)
        reader.write_configuration()
        key = reader.append_key()
        assert "0 warnings" in reader.run(step("openmcp validate"))
        gateway = reader.start([*OPENMCP, *step("openmcp serve").split()[1:]], "gateway")
        stack.callback(gateway.stop)
        wait_until_ready(reader, gateway)
        yield parsed(reader.moved(step("curl")).replace("$KEY", key))


def wait_until_ready(reader: Reader, gateway: Process) -> None:
    deadline = time.monotonic() + START_S
    while not reader.is_ready():
        if gateway.returncode is not None or time.monotonic() > deadline:
            raise gateway.failure("did not become ready")
        time.sleep(0.05)


def test_request_of_the_readme_is_answered(request_of_the_reader: Request) -> None:
    assert texts(request_of_the_reader.answer()) == "There are no notes."


def test_what_no_rule_allows_is_unknown(request_of_the_reader: Request) -> None:
    answer = request_of_the_reader.calling("note_add", text="hello").answer()
    assert answer["error"]["code"] == -32602
