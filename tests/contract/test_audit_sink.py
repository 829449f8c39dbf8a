"""What every audit sink promises; one suite, run on each of them."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openmcp.audit.sinks.base import AuditSink, SinkFailed
from openmcp.audit.sinks.file import FileSink
from openmcp.audit.sinks.stdout import StdoutSink

BOUND_S = 20.0


class Bench:
    """A sink, and what reached its other end."""

    def __init__(self, sink: AuditSink, kept: Callable[[], bytes]) -> None:
        self.sink = sink
        self.kept = kept
        """Ends the sink and returns all bytes it kept, in order."""


def _file(folder: Path) -> Bench:
    sink = FileSink(folder / "audit", writer="node-boot-0", rotate_bytes=10_000)

    def kept() -> bytes:
        sink.close()
        parts = sorted((folder / "audit").iterdir(), key=lambda path: int(path.stem.rpartition("-")[2]))
        return b"".join(part.read_bytes() for part in parts)

    return Bench(sink, kept)


def _stdout(folder: Path) -> Bench:
    reading, writing = os.pipe()
    chunks: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as pipe:
            chunks.extend(iter(lambda: pipe.read1(65536), b""))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    sink = StdoutSink(writing)

    def kept() -> bytes:
        sink.close()
        os.close(writing)
        reader.join(BOUND_S)
        return b"".join(chunks)

    return Bench(sink, kept)


@pytest.fixture(params=[_file, _stdout], ids=["file", "stdout"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made: Bench = request.param(tmp_path)
    made.sink.open()
    yield made
    made.sink.close()


def _give(sink: AuditSink, data: bytes) -> None:
    """Bring everything, as the writer does."""
    while data:
        taken = sink.write(data)
        assert 0 < taken <= len(data)
        data = data[taken:]


def test_what_was_taken_is_kept_in_order_and_once(bench: Bench) -> None:
    lines = [b'{"n":%d,"text":"%b"}\n' % (n, b"x" * (n % 700)) for n in range(500)]
    for line in lines:
        _give(bench.sink, line)
    bench.sink.sync()
    assert bench.kept() == b"".join(lines)


def test_a_large_group_is_kept_whole(bench: Bench) -> None:
    data = b"x" * 3_000_000 + b"\n"
    _give(bench.sink, data)
    assert bench.kept() == data


def test_a_turn_between_lines_loses_nothing(bench: Bench) -> None:
    for n in range(5):
        _give(bench.sink, b"%d\n" % n)
        bench.sink.turn()
    assert bench.kept() == b"0\n1\n2\n3\n4\n"


def test_a_sink_has_a_name_that_can_be_a_label(bench: Bench) -> None:
    assert bench.sink.name.isidentifier()


def test_it_may_be_closed_twice(bench: Bench) -> None:
    bench.sink.close()
    bench.sink.close()


# ------------------------------------------------------------ the file


def test_a_file_is_private_and_so_is_its_folder(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "deep" / "audit", writer="n-b-0")
    sink.open()
    sink.close()
    assert (tmp_path / "deep" / "audit").stat().st_mode & 0o777 == 0o700
    assert sink.path.stat().st_mode & 0o777 == 0o600


def test_a_file_says_when_it_is_full_and_goes_on_in_the_next(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, writer="n-b-0", rotate_bytes=10)
    sink.open()
    assert sink.path.name == "n-b-0-1.jsonl"
    _give(sink, b"12345678\n")
    assert sink.is_full() is False
    _give(sink, b"1\n")
    assert sink.is_full() is True
    sink.turn()
    assert sink.is_full() is False
    assert sink.path.name == "n-b-0-2.jsonl"
    sink.close()


def test_a_file_that_is_there_already_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "n-b-0-1.jsonl").write_bytes(b"old\n")
    with pytest.raises(SinkFailed):
        FileSink(tmp_path, writer="n-b-0").open()
    assert (tmp_path / "n-b-0-1.jsonl").read_bytes() == b"old\n"


def test_a_link_laid_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "n-b-0-1.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SinkFailed):
        FileSink(tmp_path, writer="n-b-0").open()
    assert not (tmp_path / "elsewhere").exists()


def test_a_turn_that_fails_leaves_the_old_part_in_use(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, writer="n-b-0")
    sink.open()
    (tmp_path / "n-b-0-2.jsonl").write_bytes(b"in the way\n")
    with pytest.raises(SinkFailed):
        sink.turn()
    _give(sink, b"goes on\n")
    sink.close()
    assert (tmp_path / "n-b-0-1.jsonl").read_bytes() == b"goes on\n"


def test_a_folder_that_cannot_be_made_fails_the_sink(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SinkFailed):
        FileSink(tmp_path / "file" / "audit", writer="n-b-0").open()


# ------------------------------------------------------------ standard output


def _fill(sink: AuditSink) -> int:
    """Write until the sink fails, and return how much it took."""
    taken = 0
    for _ in range(10_000):
        try:
            taken += sink.write(b"x" * 4096)
        except SinkFailed:
            return taken
    raise AssertionError("the sink took more than any pipe holds")


def test_a_reader_that_stalls_fails_the_sink_in_time_and_is_served_when_it_reads_again() -> None:
    reading, writing = os.pipe()
    sink = StdoutSink(writing, stall_s=0.01)
    sink.open()
    taken = _fill(sink)
    os.read(reading, 65536)
    assert sink.write(b"y" * 100) == 100
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert len(pipe.read()) == taken - 65536 + 100


def test_a_reader_that_has_gone_fails_the_sink() -> None:
    reading, writing = os.pipe()
    sink = StdoutSink(writing)
    sink.open()
    os.close(reading)
    with pytest.raises(SinkFailed):
        sink.write(b"x\n")
    os.close(writing)
