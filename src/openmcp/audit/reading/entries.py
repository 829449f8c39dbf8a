"""The lines of a whole log in their order: by time, then writer, then number.

Files of one writer follow one another; writers are merged as they are read, so that only
those are open whose time has come. Used by everything that reads the log but the proof,
which looks at bytes.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import msgspec

from openmcp.audit.reading.files import RawLine, log_files, raw_lines
from openmcp.audit.record import Line, decode

_HEAD_LINES: Final = 20
"""So many lines of a file are tried to learn whose it is."""


class Entry(NamedTuple):
    """One record, and where it stands."""

    line: Line
    raw: bytes
    path: Path
    number: int
    """Line of the file, from 1."""


class Log:
    """The records in files and folders."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Raises: LogNotReadable if there is no log."""
        self.files = log_files(paths)
        self.unreadable = 0
        """Lines that were passed over because they are no records; counted by the last reading."""

    def entries(self) -> Iterator[Entry]:
        """Yield every record once. Raises: LogNotReadable."""
        self.unreadable = 0
        waiting = sorted(self._writers(), key=lambda writer: writer.first_ts, reverse=True)
        heap: list[_Head] = []
        while waiting or heap:
            while waiting and (not heap or waiting[-1].first_ts <= heap[0][0]):
                writer = waiting.pop()
                _advance(heap, self._of_writer(writer.files), -1)
            if heap:
                ts, _, _, _, entry, rest = heapq.heappop(heap)
                yield entry
                _advance(heap, rest, ts)

    def _writers(self) -> list["_Writer"]:
        """Return the files of each writer in their order; a second copy of a file is left out."""
        firsts: dict[tuple[str, int], tuple[int, Path]] = {}
        for path in self.files:
            line = _first(path)
            if line is not None:
                firsts.setdefault((line.writer, line.seq), (line.ts, path))
        writers: dict[str, _Writer] = {}
        for (name, _), (ts, path) in sorted(firsts.items(), key=lambda item: item[0]):
            writers.setdefault(name, _Writer(ts, [])).files.append(path)
        return list(writers.values())

    def _of_writer(self, files: Sequence[Path]) -> Iterator[Entry]:
        for path in files:
            for raw in raw_lines(path):
                line = _decoded(raw)
                if line is not None:
                    yield Entry(line, raw.data, path, raw.number)
                elif raw.is_whole:
                    self.unreadable += 1


class _Writer(NamedTuple):
    first_ts: int
    files: list[Path]


_Head: TypeAlias = tuple[int, str, int, int, Entry, Iterator[Entry]]
"""The next record of a writer: time, writer, number, and something that no other writer has, so that nothing ties."""


def _advance(heap: list[_Head], rest: Iterator[Entry], at_least: int) -> None:
    entry = next(rest, None)
    if entry is not None:
        # A clock that was set back never puts a writer's lines in another order than it wrote them.
        ts = max(entry.line.ts, at_least)
        heapq.heappush(heap, (ts, entry.line.writer, entry.line.seq, id(rest), entry, rest))


def _first(path: Path) -> Line | None:
    for raw in raw_lines(path):
        line = _decoded(raw)
        if line is not None or raw.number >= _HEAD_LINES:
            return line
    return None


def _decoded(raw: RawLine) -> Line | None:
    try:
        if not raw.data.isascii():
            raw.data.decode()
        # The last line may lack its newline and still be whole: it is being written, or the end was cut there.
        return decode(raw.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
