"""Programs under measurement: started on a named core, watched by pid, always ended by pid.

Knows nothing of proxies or figures. `Laboratory` is the one owner of everything that a run starts or writes.
"""

import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_TIMEOUT_S = 5.0
START_TIMEOUT_S = 20.0
MEMORY_DISK = Path("/dev/shm")
# A whole run with bodies in the audit log writes about 6 GB.
MEMORY_DISK_NEEDS_BYTES = 8 << 30
OPEN_FILES = 65536


class Laboratory:
    """A folder, two cores and the processes of one run; leaving it ends and removes all of them."""

    def __init__(self) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.proxy_core = cores[0]
        self.load_core = cores[-1]
        self._processes: list[subprocess.Popen[bytes]] = []
        self.folder = _scratch()

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, _interrupt)
        _raise_open_files()
        # The bench itself belongs to the load side: it must never take time from a proxy.
        self._own_cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.load_core})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave half of them behind; every wait below is bounded.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        # Who descends from whom is lost when the parent ends, so it is asked first.
        families = [(process, tree(process.pid)) for process in self._processes]
        for process, _ in families:
            process.terminate()
        for process, pids in families:
            self._end(process, pids)
        os.sched_setaffinity(0, self._own_cores)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name: str, command: Sequence[str], *, core: int) -> subprocess.Popen[bytes]:
        """A child that may run on this core only, its output in `<name>.out`."""
        with self.output(name).open("wb") as output, _pinned(core):
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._processes.append(process)
        return process

    def output(self, name: str) -> Path:
        return self.folder / f"{name}.out"

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Ends the process and every child it has, gently first."""
        self._end(process, tree(process.pid))

    def _end(self, process: subprocess.Popen[bytes], pids: Sequence[int]) -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_TIMEOUT_S)
        for pid in pids[1:]:
            _kill_orphan(pid, session=process.pid)
        if process in self._processes:
            self._processes.remove(process)

    def wait_for_port(self, name: str, process: subprocess.Popen[bytes], port: int) -> None:
        """Returns when something accepts on the port.

        Raises: RuntimeError with the last lines of the output, if the process ended or took too long.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{name} did not start: {self.last_words(name)}")

    def last_words(self, name: str) -> str:
        lines = self.output(name).read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-6:])[-900:] or "it said nothing"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tree(pid: int) -> list[int]:
    """The process and all that descend from it; empty if it is gone."""
    found = [pid] if Path(f"/proc/{pid}").exists() else []
    for parent in found:
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in _read(path).split()]
    return found


def cpu_ns(pid: int) -> dict[tuple[int, int], int]:
    """Run time of every thread of the process and its children, in nanoseconds."""
    spent: dict[tuple[int, int], int] = {}
    for member in tree(pid):
        for path in Path(f"/proc/{member}/task").glob("*/schedstat"):
            if text := _read(path):
                spent[member, int(path.parent.name)] = int(text.split()[0])
    return spent


def cpu_since(pid: int, before: dict[tuple[int, int], int]) -> int:
    """What was spent since then, in nanoseconds; new threads count fully, ended ones took their count along."""
    return sum(now - before.get(thread, 0) for thread, now in cpu_ns(pid).items())


def memory_bytes(pid: int) -> int:
    """Proportional set size of the process and its children."""
    total = 0
    for member in tree(pid):
        for line in _read(Path(f"/proc/{member}/smaps_rollup")).splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def _read(path: Path) -> str:
    # Threads and processes may end between listing and reading.
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _scratch() -> Path:
    # Logs of all contenders go to memory where there is enough, so that no disk is measured.
    roomy = MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free > MEMORY_DISK_NEEDS_BYTES
    return Path(tempfile.mkdtemp(prefix="openmcp-bench-", dir=MEMORY_DISK if roomy else None))


def _kill_orphan(pid: int, *, session: int) -> None:
    # A number may have been given away again: only what still belongs to our child's session is ours.
    try:
        if os.getsid(pid) == session:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


@contextmanager
def _pinned(core: int) -> Iterator[None]:
    """Children inherit the cores of the parent, so they are on the right one before their first instruction."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def _raise_open_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
