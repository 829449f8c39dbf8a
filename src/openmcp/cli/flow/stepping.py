"""`openmcp flow step`: walks through a flow, forwards and backwards.

Plain keys: on a terminal each key works at once; where a terminal is dumb, or the input is
no terminal, lines are read and the output is only ever appended to.
"""

import os
import select
import shutil
import sys
import termios
import textwrap
import tty
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import click

from openmcp.audit.reading.bodies import Bodies
from openmcp.audit.reading.spool import Spool
from openmcp.audit.reading.steps import Leg, Steps
from openmcp.cli.flow.moments import shown
from openmcp.cli.flow.showing import ARROWS, COLOURS, found_flow
from openmcp.cli.flow.sources import find_source
from openmcp.telemetry.harmless import text

_HELP: Final = "n next · b back · d next decision · g first · G last · NUMBER · w whole bodies · q end"
_NEXT: Final = ("n", "", " ", "\r", "\n", "j", "\x1b[C", "\x1b[B")
_BACK: Final = ("b", "p", "k", "\x1b[D", "\x1b[A")
_END: Final = ("q", "\x03", "\x04", "\x1b")
_ESCAPE_S: Final = 0.05
_ROWS: Final = 7
"""Lines of the screen that are not bodies."""


def run(config: Path | None, logs: Sequence[Path], name: str) -> int:
    """Walk through a flow until the person has seen enough."""
    log = find_source(config, logs).log()
    found = found_flow(log, name)
    with Spool() as spool:
        steps = Steps(found.entries(log), Bodies(log.files), spool)
        _Walk(steps, found.summary.id).run()
    return 0


class _Walk:
    """Where the person is."""

    def __init__(self, steps: Steps, flow: str) -> None:
        self._steps = steps
        self._flow = flow
        self._at = 0
        self._is_whole = False
        self._has_keys = sys.stdin.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "")

    def run(self) -> None:
        """Show, and do as told, until the end."""
        with _single_keys() if self._has_keys else nullcontext():
            self._walk()

    def _walk(self) -> None:
        self._show()
        while (key := self._key()) not in _END:
            self._obey(key)
            self._show()

    def _obey(self, key: str) -> None:
        last = len(self._steps) - 1
        if key in _NEXT:
            self._at = min(self._at + 1, last)
        elif key in _BACK:
            self._at = max(self._at - 1, 0)
        elif key == "d":
            self._at = self._steps.next_decision(self._at)
        elif key == "g":
            self._at = 0
        elif key == "G":
            self._at = last
        elif key == "w":
            self._is_whole = not self._is_whole
        elif key.isdecimal():
            self._at = min(max(int(key) - 1, 0), last)

    def _key(self) -> str:
        if not self._has_keys:
            line = sys.stdin.readline()
            return line.strip(" \r\n") if line else "q"
        key = _read_key()
        # A number is several keys, and ends with another one.
        while key.isdecimal() and (more := _read_key()).isdecimal():
            key += more
        return key

    def _show(self) -> None:
        if self._has_keys and sys.stdout.isatty():
            click.clear()
        size = shutil.get_terminal_size((100, 40))
        row = self._steps.row(self._at)
        head = f"step {self._at + 1} of {len(self._steps)}"
        click.echo(f"{click.style(head, bold=True)}  flow {text(self._flow)}  exchange #{row.number}  {shown(row.ts)}")
        facts = f"  ({'; '.join(row.facts)})" if row.facts else ""
        click.echo(f"{ARROWS.get(row.leg, '·').strip()} {click.style(row.what, fg=COLOURS[row.tone])}{facts}")
        decision = self._steps.decision(self._at)
        if decision is not None and decision.line.id != row.line.id:
            reason = f" ({'; '.join(decision.facts)})" if decision.facts else ""
            click.echo(f"  decided: {click.style(decision.what, fg=COLOURS[decision.tone])}{reason}")
        legs = list(self._steps.legs(self._at))
        height = None if self._is_whole else max((size.lines - _ROWS) // 2 - 2, 4)
        for pair in (legs[:2], legs[2:]):
            for line in _side_by_side(pair, size.columns, height):
                click.echo(line)
        click.echo(click.style(_HELP, dim=True))


@contextmanager
def _single_keys() -> Generator[None]:
    """Let the terminal give each key at once, and leave it as it was."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _read_key() -> str:
    descriptor = sys.stdin.fileno()
    key = os.read(descriptor, 1)
    # An arrow is an escape with more behind it, which comes at once.
    while key.startswith(b"\x1b") and len(key) < 3 and select.select([descriptor], [], [], _ESCAPE_S)[0]:
        key += os.read(descriptor, 1)
    return key.decode(errors="replace") or "q"


def _side_by_side(legs: Sequence[Leg], columns: int, height: int | None) -> Iterator[str]:
    width = max((columns - 3) // len(legs), 20)
    cells = [_cell(leg, width, height) for leg in legs]
    yield " │ ".join(click.style(leg.name.upper().ljust(width), bold=True, underline=True) for leg in legs)
    for number in range(max(map(len, cells))):
        row = [cell[number] if number < len(cell) else ("", None) for cell in cells]
        yield " │ ".join(click.style(line.ljust(width), fg=colour) for line, colour in row).rstrip()


def _cell(leg: Leg, width: int, height: int | None) -> list[tuple[str, str | None]]:
    lines: list[tuple[str, str | None]] = [(part, "yellow") for part in textwrap.wrap(leg.note, width)]
    for words in leg.redacted:
        lines += [(part, "magenta") for part in textwrap.wrap(f"redacted {words}", width)]
    for body_line in leg.lines:
        lines += [(body_line[at : at + width], None) for at in range(0, len(body_line), width)]
    if height is not None and len(lines) > height:
        lines = [*lines[: height - 1], (f"… {len(lines) - height + 1} more lines (w)", "cyan")]
    return lines
