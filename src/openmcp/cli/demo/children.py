"""The demo's MCP servers as child processes: started on a free port, ended with this process whatever happens to it.

A child reads its standard input to the end and stops then. The pipe closes when this
process lets go of it, or dies: no signal has to arrive for that.
"""

import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_LOOK_EVERY_S = 0.05
_TRIES = 3


class ChildFailed(Exception):
    """A server ended, or took no connection in time."""


class Child:
    """One server; use it as a context."""

    def __init__(self, module: str, *, log: Path, options: tuple[str, ...] = ()) -> None:
        self._name = module
        self._log = log
        self._options = options
        self._port, self._process = self._start()

    @property
    def url(self) -> str:
        """The MCP endpoint, once the server is open."""
        return f"http://{HOST}:{self._port}/mcp"

    def wait_until_open(self) -> None:
        """Return when the server takes connections.

        Raises: ChildFailed.
        """
        deadline = time.monotonic() + _START_TIMEOUT_S
        tries = 1
        while not _takes_connections(self._port):
            if time.monotonic() > deadline:
                raise ChildFailed(f"the server `{self._name}` took no connection in time")
            if self._process.poll() is not None:
                if tries == _TRIES:
                    raise ChildFailed(f"the server `{self._name}` did not start; it said: {self._last_words()}")
                # Somebody else may have taken the port between the look and the start.
                tries += 1
                self._stop()
                self._port, self._process = self._start()
            time.sleep(_LOOK_EVERY_S)

    def _start(self) -> tuple[int, subprocess.Popen[bytes]]:
        port = free_port()
        command = [sys.executable, "-m", f"openmcp.cli.demo.{self._name}", "--port", str(port), "--until-eof"]
        with self._log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *self._options],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches a whole group of processes; the gateway ends its sessions first, then the servers.
                start_new_session=True,
            )
        return port, process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server, by force if it does not end by itself."""
        self._stop()

    def _stop(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait(_STOP_TIMEOUT_S)

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"


def free_port() -> int:
    """Return a port of loopback on which nobody listens now."""
    with socket.create_server((HOST, 0)) as probe:
        found: int = probe.getsockname()[1]
        return found


def is_free(port: int) -> bool:
    """Whether nobody listens on that port of loopback now."""
    try:
        with socket.create_server((HOST, port)):
            return True
    except OSError:
        return False


def _takes_connections(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False
