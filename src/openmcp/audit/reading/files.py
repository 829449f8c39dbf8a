"""The files of a log, and their lines as bytes.

A file may be compressed (zstd), still be written, or have lost its end: the last line
is then told apart from whole ones. Knows nothing of what a line means.
"""

import io
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

import zstandard

MAX_LINE_BYTES: Final = 64 << 20
"""Longer lines are no record: a message has at most 16 MiB by default, and long ones are spilled."""

_SUFFIXES: Final = (".jsonl", ".jsonl.zst")
_PACKED: Final = ".zst"
_PACKED_BYTES: Final = 2 << 10
"""Read at a time: a file from elsewhere may unpack to thirty thousand times as much."""

_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class LogNotReadable(Exception):
    """There is no log where one was named, or it may not be read."""


def is_packed(path: Path) -> bool:
    """Whether the file is compressed: then it was whole once, since a file takes that form only when it has ended."""
    try:
        with _present(path).open("rb") as file:
            return file.read(len(_ZSTD_MAGIC)) == _ZSTD_MAGIC
    except OSError as error:
        raise LogNotReadable(f"{path}: {error.strerror or error}") from error


class RawLine(NamedTuple):
    """One line of a file."""

    number: int
    """From 1."""

    data: bytes
    """Without its newline."""

    is_whole: bool
    """Whether a newline ended it; only the last line of a file can lack one."""


def log_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are named, and the log's files in folders that are named, each once.

    Raises: LogNotReadable if there is nothing.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _in_folder(path) if path.is_dir() else [path]:
            if not file.is_file():
                raise LogNotReadable(f"{file}: there is no such file")
            found.setdefault(file.resolve(), file)
    if not found:
        raise LogNotReadable("there is no audit log: a folder has to hold *.jsonl or *.jsonl.zst files")
    return list(found.values())


def raw_lines(path: Path, *, max_bytes: int = MAX_LINE_BYTES) -> Iterator[RawLine]:
    """Yield the lines of a file; of a line that is too long only the beginning, not whole.

    Raises: LogNotReadable if the file cannot be opened. What cannot be unpacked ends the file in a line that is torn,
    empty if need be.
    """
    number = 0
    try:
        with _opened(path) as (stream, unpacked):
            for number, data in enumerate(_split(stream, max_bytes), start=1):
                is_whole = data.endswith(b"\n")
                yield RawLine(number, data[:-1] if is_whole else data, is_whole)
            if unpacked is not None and unpacked.is_damaged:
                yield RawLine(number + 1, b"", False)
    except OSError as error:
        raise LogNotReadable(f"{path}: {error.strerror or error}") from error


def _in_folder(folder: Path) -> Sequence[Path]:
    try:
        names = {path.name for path in folder.iterdir() if path.name.endswith(_SUFFIXES)}
    except OSError as error:
        raise LogNotReadable(f"{folder}: {error.strerror or error}") from error
    # While a file is being compressed both are there, and say the same.
    return [folder / name for name in sorted(names) if name.removesuffix(_PACKED) not in names - {name}]


def _present(path: Path) -> Path:
    """Return the file, or what it has become since it was listed: files that have ended are compressed."""
    packed = path.with_name(path.name + _PACKED)
    return packed if not path.exists() and packed.exists() else path


@contextmanager
def _opened(path: Path) -> Generator[tuple[BinaryIO, "_Unpacked | None"]]:
    with _present(path).open("rb") as file:
        is_plain = file.read(len(_ZSTD_MAGIC)) != _ZSTD_MAGIC
        file.seek(0)
        if is_plain:
            yield file, None
            return
        unpacked = _Unpacked(file)
        yield io.BufferedReader(unpacked), unpacked


class _Unpacked(io.RawIOBase):
    """The unpacked bytes; a file that was cut or altered ends there."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._waiting = b""
        self.is_damaged = False
        """Whether not all of it could be unpacked; known at the end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        while not self._waiting and not self.is_damaged:
            packed = self._file.read(_PACKED_BYTES)
            if not packed:
                self.is_damaged = not self._frame.eof
                break
            self._waiting = self._unpack(packed)
        part, self._waiting = self._waiting[: len(view)], self._waiting[len(view) :]
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _unpack(self, packed: bytes) -> bytes:
        parts: list[bytes] = []
        try:
            while packed:
                if self._frame.eof:
                    self._frame = zstandard.ZstdDecompressor().decompressobj()
                parts.append(self._frame.decompress(packed))
                packed = self._frame.unused_data if self._frame.eof else b""
        except zstandard.ZstdError:
            self.is_damaged = True
        return b"".join(parts)


def _split(stream: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    while line := stream.readline(max_bytes):
        yield line
        while len(line) >= max_bytes and not line.endswith(b"\n"):
            # The rest of a line that nobody wrote: passed over without keeping it.
            line = stream.readline(max_bytes)
