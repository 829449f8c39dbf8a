"""CPU time per exchange: rounds of load on each contender in turn, and what one may say about them.

The figure is the run time of all threads and children of a proxy over the requests that wrk completed. It survives
a busy machine far better than requests per second, and the ratio of two contenders in the same round better still.
"""

import http.client
import json
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench import client, messages
from bench.contenders import Contender, Target, Upstream
from bench.processes import Laboratory, cpu_ns, cpu_since

CONNECTIONS = 32
WARM_UP_S = 0.6
# Far above anything seen: what does not fit has hung.
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Round:
    """One round of load on one contender."""

    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float


@dataclass
class Result:
    """All rounds of one contender; `fault`: why they do not count; `failed`: requests without a good answer."""

    name: str
    rounds: list[Round] = field(default_factory=list)
    fault: str | None = None
    failed: int = 0

    @property
    def valid(self) -> bool:
        return self.fault is None and bool(self.rounds)

    def median(self, what: Literal["cpu_us", "rate", "p50_ms", "p99_ms"]) -> float:
        values: list[float] = [getattr(each, what) for each in self.rounds]
        return statistics.median(values)

    def ratio(self, other: "Result | None") -> float | None:
        """The median of the ratios round by round: what disturbs a round disturbs both."""
        if other is None or not (self.valid and other.valid):
            return None
        return statistics.median(a.cpu_us / b.cpu_us for a, b in zip(self.rounds, other.rounds, strict=True))


class Invalid(RuntimeError):
    """A round that does not count; `failed` requests got no answer or an error."""

    def __init__(self, reason: str, *, failed: int = 0) -> None:
        super().__init__(reason)
        self.failed = failed


class Meter:
    """Runs wrk against contenders, and disbelieves what it says until the upstream confirms it."""

    def __init__(self, laboratory: Laboratory, behind: Upstream, *, wrk: str) -> None:
        self._laboratory = laboratory
        self._behind = behind
        self._wrk = wrk

    def rounds(self, contenders: Sequence[Contender], path: str, *, count: int, seconds: float) -> list[Result]:
        """A, B, C, A, B, C, … after a warm-up of each."""
        results = {each.name: Result(each.name, fault=each.fault) for each in contenders}
        for number in range(count + 1):
            for contender in contenders:
                result = results[contender.name]
                if result.fault is not None:
                    continue
                warm_up = number == 0
                try:
                    one = self._round(contender, path, WARM_UP_S if warm_up else seconds)
                except Invalid as error:
                    result.fault, result.failed = str(error), error.failed
                    continue
                if not warm_up:
                    result.rounds.append(one)
        return list(results.values())

    def load(self, target: Target, seconds: float) -> subprocess.Popen[bytes]:
        """wrk at work on the target; ends by itself."""
        script = self._laboratory.folder / f"load-{target.port}{target.path.replace('/', '-')}.lua"
        script.write_text(messages.wrk_script(target.body, target.fields))
        # wrk knows whole seconds only, so it is told a long time and ended by timeout's SIGINT when ours is over.
        options = ["-t1", f"-c{CONNECTIONS}", "-d60s", "--timeout", "5s", "-s", str(script)]
        command = ["timeout", "-s", "INT", f"{seconds:.1f}", self._wrk, *options]
        url = f"http://127.0.0.1:{target.port}{target.path}"
        return self._laboratory.start(_label(target), [*command, url], core=self._laboratory.load_core)

    def _round(self, contender: Contender, path: str, seconds: float) -> Round:
        target = contender.targets[path]
        arrived = self._arrived()
        before = cpu_ns(contender.pid)
        process = self.load(target, seconds)
        try:
            process.wait(seconds + PATIENCE_S)
            spent = cpu_since(contender.pid, before)
        finally:
            self._laboratory.stop(process)
        summary = _summary(self._laboratory.output(_label(target)))
        self._disbelieve(target, summary, self._arrived() - arrived)
        completed = summary["requests"]
        return Round(
            cpu_us=spent / 1000 / completed,
            rate=completed / summary["duration_us"] * 1e6,
            p50_ms=summary["p50_us"] / 1000,
            p99_ms=summary["p99_us"] / 1000,
        )

    def _disbelieve(self, target: Target, summary: dict[str, int], arrived: int) -> None:
        """Raises: Invalid, if any answer was an error, did not come from the upstream, or had another size."""
        completed = summary["requests"]
        failed = summary["status"] + summary["socket"] + summary["timeout"]
        if failed or not completed:
            raise Invalid(f"{failed} of {completed} requests failed: {summary}", failed=failed)
        if arrived < completed:
            raise Invalid(f"{completed} were answered, but only {arrived} reached the upstream")
        answer = client.post(target.port, target.path, target.body, fields=target.fields)
        if wrong := client.fault(answer):
            raise Invalid(f"wrong after the load: {wrong}")
        if summary["bytes"] / completed < len(answer.body):
            raise Invalid(f"answers were shorter ({summary['bytes'] / completed:.0f} B) than they should be")

    def _arrived(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._behind.port, timeout=5)
        connection.request("GET", "/status")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return int(lines[2].split()[2])


def _label(target: Target) -> str:
    return f"wrk-{target.port}"


def _summary(output: Path) -> dict[str, int]:
    text = output.read_text(errors="replace")
    for line in text.splitlines():
        if line.startswith("SUMMARY "):
            found: dict[str, int] = json.loads(line.removeprefix("SUMMARY "))
            return found
    raise Invalid(f"wrk gave no summary: {text.strip()[-300:]}")
