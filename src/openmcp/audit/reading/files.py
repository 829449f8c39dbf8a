"""The files of a log, and their lines as bytes.

A file may be compressed (zstd), still be written, or have lost its end: the last line
is then told apart from whole ones. Knows nothing of what a line means.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

import zstandard

MAX_LINE_BYTES: Final = 64 << 20
"""Longer lines are no record: a message has at most 16 MiB by default, and long ones are spilled."""

_SUFFIXES: Final = (".jsonl", ".jsonl.zst")
_PACKED: Final = ".zst"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class LogNotReadable(Exception):
    """There is no log where one was named, or it may not be read."""


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

    Raises: LogNotReadable if the file cannot be opened. What cannot be unpacked ends the file in a torn line.
    """
    try:
        with _opened(path) as stream:
            for number, data in enumerate(_split(stream, max_bytes), start=1):
                is_whole = data.endswith(b"\n")
                yield RawLine(number, data[:-1] if is_whole else data, is_whole)
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


def _opened(path: Path) -> BinaryIO:
    file = _present(path).open("rb")
    if file.read(len(_ZSTD_MAGIC)) != _ZSTD_MAGIC:
        file.seek(0)
        return file
    file.seek(0)
    return io.BufferedReader(_Unpacked(file))


class _Unpacked(io.RawIOBase):
    """The unpacked bytes; a stream that was cut or altered ends there, in the middle of a line."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        try:
            data = self._reader.read(len(view))
        except zstandard.ZstdError:
            return 0
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _split(stream: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    while line := stream.readline(max_bytes):
        yield line
        while len(line) >= max_bytes and not line.endswith(b"\n"):
            # The rest of a line that nobody wrote: passed over without keeping it.
            line = stream.readline(max_bytes)
