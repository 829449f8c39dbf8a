"""Where the gateway's time goes: py-spy on the full configuration under load, by self time."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.contenders import Contender
from bench.install import HOME
from bench.measure import Meter
from bench.processes import Laboratory, tree

SECONDS = 10
RATE = 250
TOP = 30


def profile(laboratory: Laboratory, meter: Meter, contender: Contender) -> str:
    """A table of functions by self time, and the file with the raw stacks.

    Raises: RuntimeError, if the contender does not run or py-spy is not there.
    """
    if contender.fault is not None:
        raise RuntimeError(contender.fault)
    stacks = laboratory.folder / "stacks.txt"
    load = meter.load(contender.targets["json"], SECONDS + 3)
    try:
        _record(contender.pid, stacks)
    finally:
        laboratory.stop(load)
    kept = HOME.parent / "profile.txt"
    shutil.copyfile(stacks, kept)
    return f"{_table(stacks.read_text())}\nStacks, for any flame graph tool: {kept}"


def _record(pid: int, stacks: Path) -> None:
    # The busiest process of a supervised gateway is a child; a single one is its own.
    options = ["--format", "raw", "--nonblocking", "--subprocesses" if len(tree(pid)) > 1 else "--threads"]
    timing = ["--duration", str(SECONDS), "--rate", str(RATE), "--output", str(stacks)]
    done = subprocess.run(
        [_py_spy(), "record", "--pid", str(pid), *options, *timing],
        capture_output=True,
        text=True,
        timeout=SECONDS + 30,
    )
    if done.returncode != 0 or not stacks.exists():
        raise RuntimeError(f"py-spy: {done.stderr.strip()[-300:]}")


def _py_spy() -> str:
    for folder in (Path(sys.executable).parent, HOME / "bin"):
        if (folder / "py-spy").exists():
            return str(folder / "py-spy")
    raise RuntimeError("py-spy is in neither the project's nor the bench's environment")


def _table(stacks: str) -> str:
    alone: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        # The first frames only say which process and thread it is.
        names = [_short(frame) for frame in frames.split(";") if not frame.startswith(("thread ", "process "))]
        if not names:
            continue
        alone[names[-1]] += int(count)
        within.update(dict.fromkeys(names, int(count)))
    total = max(alone.total(), 1)
    rows = [f"{'self':>6} {'total':>6}  function ({total} samples)"]
    rows += [
        f"{100 * count / total:>5.1f}% {100 * within[name] / total:>5.1f}%  {name}"
        for name, count in alone.most_common(TOP)
    ]
    return "\n".join(rows)


def _short(frame: str) -> str:
    """The function with the end of its path, without the line."""
    name, _, place = frame.partition(" (")
    parts = place.rstrip(")").rsplit(":", 1)[0].split("/")
    return f"{name}  {'/'.join(parts[-2:])}" if place else name
