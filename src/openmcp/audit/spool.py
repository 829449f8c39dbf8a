"""The `Spool`: bodies too long for a line, as files beside the log, each under the digest of what it holds.

Used by the writer's thread: making a line puts a body here, and the writer keeps all of
them before the lines that name them. Files are readable by their owner only, written
whole or not at all, and never changed.
"""

import os
from hashlib import sha256
from pathlib import Path
from typing import Final

from openmcp.audit.sinks.base import SinkFailed

FOLDER: Final = "bodies"


class Spool:
    """Keeps long bodies in a folder."""

    name = "bodies"

    def __init__(self, log: Path) -> None:
        """`log`: the folder of the log's files."""
        self._folder = log / FOLDER
        self._waiting: dict[str, bytes] = {}

    def put(self, body: bytes) -> str:
        """Take a body to be kept with the next `flush`; return its digest, 64 hex digits."""
        digest = sha256(body).hexdigest()
        self._waiting[digest] = body
        return digest

    def flush(self, *, is_synced: bool) -> None:
        """Write what was put. Raises: SinkFailed, and what is not written yet is tried again by the next call."""
        while self._waiting:
            digest, body = next(iter(self._waiting.items()))
            try:
                self._write(self.path(digest), body, is_synced=is_synced)
            except OSError as error:
                raise SinkFailed(str(error)) from error
            del self._waiting[digest]

    def path(self, digest: str) -> Path:
        """Return where the body with this digest stands."""
        return self._folder / digest[:2] / f"{digest}.json"

    def _write(self, path: Path, body: bytes, *, is_synced: bool) -> None:
        if path.exists():
            # Its name says what it holds.
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(body)
                file.flush()
                if is_synced:
                    os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        if is_synced:
            _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
