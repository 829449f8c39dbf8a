"""Records set aside to be read in any order: on disk, so that a flow of any length fits.

The file has no name and is gone with the process.
"""

import tempfile
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from openmcp.audit.record import Line, decode

_IN_MEMORY: Final = 8 << 20


class Spool:
    """A sequence of records; a context that ends with their removal."""

    def __init__(self, lines: Iterable[bytes] = ()) -> None:
        self._file = tempfile.SpooledTemporaryFile[bytes](_IN_MEMORY, "w+b")
        self._places: list[tuple[int, int]] = []
        for line in lines:
            self.add(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, raw: bytes) -> int:
        """Keep a record, and return its place."""
        self._file.seek(0, 2)
        self._places.append((self._file.tell(), len(raw)))
        self._file.write(raw)
        return len(self._places) - 1

    def raw(self, place: int) -> bytes:
        """Return what is kept at that place."""
        start, size = self._places[place]
        self._file.seek(start)
        return self._file.read(size)

    def line(self, place: int) -> Line:
        """Return the record at that place."""
        return decode(self.raw(place))
