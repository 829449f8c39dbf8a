"""The `Shelf`: what becomes of a file of the log that has ended. Compressed on a thread of its own, or left as it is.

The compressed file takes the other's place only when it is whole and on disk, so that
whatever happens there is always one of them.
"""

import contextlib
import logging
import os
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import zstandard

_log = logging.getLogger(__name__)

SUFFIX: Final = ".zst"
_LEVEL: Final = 3
_JOIN_S: Final = 5.0


class Shelf:
    """Compresses files, one after the other."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Path | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, path: Path) -> None:
        """Take a file that nobody writes to any more."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="openmcp-audit-shelf", daemon=True)
            self._thread.start()
        self._waiting.put(path)

    def close(self) -> None:
        """Finish what is under way, within some seconds; a file that is not compressed stays as it is."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._waiting.put(None)
            thread.join(_JOIN_S)

    def _run(self) -> None:
        while (path := self._waiting.get()) is not None:
            try:
                compress(path)
            except (OSError, zstandard.ZstdError) as error:
                _log.warning("audit-file-not-compressed", extra={"file": path.name, "error": str(error)})


def compress(path: Path) -> Path:
    """Replace a file by its compressed form and return where that is. Raises: OSError, and the file is as it was."""
    target = path.with_name(path.name + SUFFIX)
    draft = path.with_name(f".{target.name}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with path.open("rb") as plain, open(descriptor, "wb") as packed:
            zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).copy_stream(plain, packed)
            packed.flush()
            os.fsync(packed.fileno())
        draft.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    path.unlink()
    return target
