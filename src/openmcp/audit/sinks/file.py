"""The audit log in files: `<folder>/<writer>-<n>.jsonl`, one writer each.

A part is readable by its owner only, is never opened twice and never replaced. It ends
when it has reached its size or when the operator asks (SIGHUP), always between lines.
"""

import os
from pathlib import Path
from typing import Final

from openmcp.audit.sinks.base import AuditSink, SinkFailed

ROTATE_BYTES: Final = 256 << 20


class FileSink:
    """Appends to the writer's current file."""

    name = "file"

    def __init__(self, folder: Path, *, writer: str, rotate_bytes: int = ROTATE_BYTES) -> None:
        self._folder = folder
        self._writer = writer
        self._rotate_bytes = rotate_bytes
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
        return written

    def sync(self) -> None:
        if self._descriptor is None:
            raise SinkFailed("the file is not open")
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise SinkFailed(str(error)) from error

    def is_full(self) -> bool:
        return self._size >= self._rotate_bytes

    def turn(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        path = self._folder / f"{self._writer}-{self._number + 1}.jsonl"
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise SinkFailed(str(error)) from error
        self.close()
        self._descriptor, self._size = descriptor, 0
        self._number += 1

    def close(self) -> None:
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
