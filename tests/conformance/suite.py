"""The official conformance suite: run it against a URL, and read what it ticked.

Used by the tests of this folder. Totals are never read: the suite counts checks that
were never made as passed.
"""

import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A set takes 5 to 20 seconds.
RUN_TIMEOUT_S = 240.0

# For each revision the arguments that select its scenarios, and how many these are.
SELECTIONS: Mapping[str, tuple[str, ...]] = {
    "2025-06-18": ("--suite", "all", "--spec-version", "2025-06-18"),
    "2025-11-25": ("--requirements", "2025-11-25"),
    "2026-07-28": ("--requirements", "2026-07-28"),
}
SCENARIOS = {"2025-06-18": 27, "2025-11-25": 33, "2026-07-28": 50}

# What the suite writes about its own traffic; how often depends on chance.
_TRAFFIC = {"outgoing-request", "incoming-response", "incoming-sse-event", "stream-closed"}
_TICK = re.compile(r"^(?P<tick>[✓✗]) (?P<scenario>[\w.-]+): \d+ passed, \d+ failed")
_FOLDER = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d{2}-\d{2}T[\d-]+Z")


@dataclass(frozen=True)
class Run:
    """What one run of the suite said."""

    exit_code: int
    ticks: Mapping[str, bool]
    """Whether each scenario was ticked."""

    checks: Mapping[str, Mapping[str, Sequence[str]]]
    """The status of each check, by scenario and check id."""

    output: str

    def crossed(self) -> set[str]:
        return {scenario for scenario, is_ticked in self.ticks.items() if not is_ticked}


def run_suite(command: Sequence[str], url: str, revision: str, *, folder: Path) -> Run:
    """Run all scenarios of a revision against the server at `url`."""
    arguments = [*command, "server", "--url", url, *SELECTIONS[revision], "-o", str(folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
    return Run(
        exit_code=done.returncode,
        ticks=_ticks(done.stdout),
        checks=_checks(folder),
        output=done.stdout[-6000:] + done.stderr[-2000:],
    )


def _ticks(output: str) -> dict[str, bool]:
    found = (_TICK.match(line) for line in output.splitlines())
    return {match["scenario"]: match["tick"] == "✓" for match in found if match}


def _checks(folder: Path) -> dict[str, dict[str, list[str]]]:
    """Statuses by scenario and check; a check may be made several times."""
    result: dict[str, dict[str, list[str]]] = {}
    for path in sorted(folder.glob("server-*/checks.json")):
        match = _FOLDER.fullmatch(path.parent.name)
        assert match, path
        statuses: defaultdict[str, list[str]] = defaultdict(list)
        for check in json.loads(path.read_text()):
            if check["id"] not in _TRAFFIC:
                statuses[check["id"]].append(check["status"])
        result[match["scenario"]] = {check: sorted(made) for check, made in sorted(statuses.items())}
    return result
