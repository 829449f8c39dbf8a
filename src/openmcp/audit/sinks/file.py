"""The audit log in files: `<folder>/<writer>-<n>.jsonl`, one writer each.

A part is readable by its owner only, is never opened twice and never replaced. It ends
when it has reached its size or age, or when the operator asks (SIGHUP), always between
lines; then it goes to the shelf.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from openmcp.audit.shelf import Shelf
from openmcp.audit.sinks.base import AuditSink, SinkFailed

ROTATE_BYTES: Final = 256 << 20
ROTATE_S: Final = 86_400.0


class FileSink:
    """Appends to the writer's current file."""

    name = "file"

    def __init__(
        self,
        folder: Path,
        *,
        writer: str,
        rotate_bytes: int = ROTATE_BYTES,
        rotate_s: float = ROTATE_S,
        shelf: Shelf | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`shelf`: where parts go that have ended; without one they stay as they are."""
        self._folder = folder
        self._writer = writer
        self._rotate_bytes = rotate_bytes
        self._rotate_s = rotate_s
        self._shelf = shelf
        self._clock = clock
        self._opened_at = 0.0
        self._writes = 0
        self._number = 0
        self._descriptor: int | None = None
        self._size = 0

    @property
    def path(self) -> Path:
        """The current file."""
        return self._folder / f"{self._writer}-{self._number}.jsonl"

    def open(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SinkFailed(str(error)) from error
        self.turn()

    def write(self, data: bytes) -> int:
        if self._descriptor is None:
            raise SinkFailed("the file is not open")
        try:
            # May take less than all, and says so only by the count: a disk that fills up does that.
            written = os.write(self._descriptor, data)
        except OSError as error:
            raise SinkFailed(str(error)) from error
        self._size += written
        self._writes += 1
        return written

    def sync(self) -> None:
        if self._descriptor is None:
            raise SinkFailed("the file is not open")
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise SinkFailed(str(error)) from error

    def is_full(self) -> bool:
        # A part that has only its first line says nothing yet that could be put away.
        is_old = self._writes > 1 and self._clock() - self._opened_at >= self._rotate_s
        return is_old or self._size >= self._rotate_bytes

    def turn(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        path = self._folder / f"{self._writer}-{self._number + 1}.jsonl"
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise SinkFailed(str(error)) from error
        ended = self.path if self._descriptor is not None else None
        self._end()
        self._descriptor, self._size, self._writes = descriptor, 0, 0
        self._opened_at = self._clock()
        self._number += 1
        if ended is not None and self._shelf is not None:
            self._shelf.put(ended)

    def close(self) -> None:
        # The last part stays as it is: a stop must not wait for it.
        self._end()
        if self._shelf is not None:
            self._shelf.close()

    def _end(self) -> None:
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            os.fdatasync(descriptor)
        except OSError:
            # What was written stays written; the next start tells by the missing checkpoint if it did not.
            pass
        finally:
            os.close(descriptor)


_: type[AuditSink] = FileSink
