"""A child process that tests start, wait for, and end by its own id; its output is kept in files.

Used by `servers` and `gateway`. Every wait has an end, and what the process said is
part of the failure.
"""

import selectors
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

STOP_TIMEOUT_S = 10.0


class ProcessFailed(AssertionError):
    """The process ended, or did not come up in time."""


class Process:
    """One child process; `output` holds its stderr, and stdout where no line is awaited."""

    def __init__(
        self, command: Sequence[str], *, output: Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.output = output
        with output.open("wb") as sink:
            self._child = subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sink
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        return self._child.poll()

    def first_line(self, *, timeout_s: float) -> str:
        """The first line on stdout."""
        assert self._child.stdout is not None
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            while not selector.select(timeout=0.5):
                if time.monotonic() > deadline:
                    raise self.failure("said nothing in time")
        line = self._child.stdout.readline().decode()
        if not line:
            raise self.failure("ended before it said a word")
        return line

    def log(self) -> str:
        """What the process has written so far."""
        return self.output.read_text(errors="replace")

    def failure(self, what: str) -> ProcessFailed:
        """An error that shows what the process wrote."""
        return ProcessFailed(f"{self._child.args!r} {what} (exit code {self.returncode}):\n{self.log()[-4000:]}")

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._child.send_signal(number)

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask it to end (SIGTERM), make it end if it does not, and give its exit code."""
        if self._child.poll() is None:
            self._child.terminate()
        try:
            return self._child.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(timeout=STOP_TIMEOUT_S)
            raise self.failure("did not end on SIGTERM") from None
        finally:
            if self._child.stdout is not None:
                self._child.stdout.close()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
