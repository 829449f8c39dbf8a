"""What every audit sink promises; one suite, run on each of them."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import zstandard

from openmcp.audit.posting import Poster
from openmcp.audit.shelf import Shelf
from openmcp.audit.sinks.base import AuditSink, BatchRefused, SinkFailed
from openmcp.audit.sinks.file import FileSink
from openmcp.audit.sinks.http import HttpSink
from openmcp.audit.sinks.otlp import OtlpSink
from openmcp.audit.sinks.stdout import StdoutSink
from openmcp.model.server import Credential
from tests.support.collector import running_collector

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


def _shelved(folder: Path) -> Bench:
    sink = FileSink(folder / "audit", writer="node-boot-0", rotate_bytes=10_000, shelf=Shelf())

    def kept() -> bytes:
        sink.close()
        parts = sorted(
            (folder / "audit").iterdir(), key=lambda path: int(path.name.partition(".")[0].rpartition("-")[2])
        )
        assert all(part.suffix == ".zst" for part in parts[:-1])
        return b"".join(_plain(part) for part in parts)

    return Bench(sink, kept)


def _plain(part: Path) -> bytes:
    return (
        zstandard.ZstdDecompressor().stream_reader(part.read_bytes()).read()
        if part.suffix == ".zst"
        else part.read_bytes()
    )


@contextmanager
def _http(folder: Path) -> Iterator[Bench]:
    with running_collector() as collector:
        sink = HttpSink(Poster(collector.url))
        yield Bench(sink, lambda: b"".join(line + b"\n" for line in collector.lines))


@contextmanager
def _otlp(folder: Path) -> Iterator[Bench]:
    with running_collector() as collector:
        sink = OtlpSink(Poster(f"{collector.url}/v1/logs"))
        yield Bench(sink, lambda: b"".join(line + b"\n" for line in collector.lines))


@pytest.fixture(params=[_file, _shelved, _stdout, _http, _otlp], ids=["file", "file-zstd", "stdout", "http", "otlp"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as parts:
        made = request.param(tmp_path)
        bench: Bench = made if isinstance(made, Bench) else parts.enter_context(made)
        bench.sink.open()
        yield bench
        bench.sink.close()


def _line(n: int, text: bytes) -> bytes:
    return b'{"v":1,"seq":%d,"writer":"node-boot-0","type":"message","ts":%d,"server":"%b"}\n' % (n + 1, n + 1, text)


def _give(sink: AuditSink, data: bytes) -> None:
    """Bring everything, as the writer does."""
    while data:
        taken = sink.write(data)
        assert 0 < taken <= len(data)
        data = data[taken:]


def test_what_was_taken_is_kept_in_order_and_once(bench: Bench) -> None:
    lines = [_line(n, b"x" * (n % 700)) for n in range(500)]
    for at in range(0, 500, 50):
        _give(bench.sink, b"".join(lines[at : at + 50]))
    bench.sink.sync()
    assert bench.kept() == b"".join(lines)


def test_a_large_group_is_kept_whole(bench: Bench) -> None:
    data = b"".join(_line(n, b"x" * 300_000) for n in range(10)) + _line(10, b"x" * 3_000_000)
    _give(bench.sink, data)
    assert bench.kept() == data


def test_a_turn_between_lines_loses_nothing(bench: Bench) -> None:
    lines = [_line(n, b"") for n in range(5)]
    for line in lines:
        _give(bench.sink, line)
        bench.sink.turn()
    assert bench.kept() == b"".join(lines)


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


# ------------------------------------------------------------ collectors


def test_a_batch_names_its_lines_and_carries_the_credential() -> None:
    with running_collector() as collector:
        sink = HttpSink(Poster(f"{collector.url}/in?index=mcp", headers=(Credential("authorization", "Bearer s3"),)))
        _give(sink, _line(0, b"") + _line(1, b""))
        sink.close()
        [(path, headers, _)] = collector.requests
    assert path == "/in?index=mcp"
    assert headers["authorization"] == "Bearer s3"
    assert headers["content-type"] == "application/x-ndjson"
    assert headers["idempotency-key"] == "node-boot-0/1-2"


@pytest.mark.parametrize(
    ("status", "fault"), [(503, SinkFailed), (401, SinkFailed), (302, SinkFailed), (400, BatchRefused)]
)
@pytest.mark.parametrize("kind", [HttpSink, OtlpSink])
def test_what_a_collector_does_not_take_fails_the_sink(
    kind: type[HttpSink] | type[OtlpSink], status: int, fault: type[SinkFailed]
) -> None:
    with running_collector() as collector:
        collector.status = status
        sink = kind(Poster(collector.url, headers=(Credential("authorization", "Bearer s3"),)))
        with pytest.raises(SinkFailed) as raised:
            sink.write(_line(0, b""))
        assert type(raised.value) is fault
        assert "s3" not in str(raised.value)
        collector.status = 200
        _give(sink, _line(0, b""))
        sink.close()
        assert len(collector.lines) == 1


def test_a_collector_that_is_not_there_fails_the_sink() -> None:
    with running_collector() as collector:
        url = collector.url
    with pytest.raises(SinkFailed):
        HttpSink(Poster(url)).write(_line(0, b""))


def test_a_log_record_holds_the_line_byte_for_byte_and_what_one_searches_by() -> None:
    line = (
        b'{"v":1,"seq":7,"writer":"n-b-0","type":"exchange","ts":1800000000000000001,"flow":"f",'
        b'"server":"desk","mcp":{"method":"tools/call","name":"t"},'
        b'"trace":{"trace":"0af7651916cd43dd8448eb211c80319c","span":"b7ad6b7169203331","isSampled":true},'
        b'"outcome":{"http":200,"kind":"denied"}}'
    )
    with running_collector() as collector:
        sink = OtlpSink(Poster(collector.url))
        _give(sink, line + b"\n")
        sink.close()
        [(resource, record)] = collector.records
    assert resource["service.instance.id"] == "n-b-0"
    assert record.body.string_value.encode() == line
    assert record.time_unix_nano == 1800000000000000001
    assert record.severity_text == "WARN"
    assert record.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert {a.key: a.value.string_value for a in record.attributes}["openmcp.server"] == "desk"


# ------------------------------------------------------------ parts that have ended


def test_a_part_that_is_old_enough_is_full_unless_it_holds_its_first_line_only(tmp_path: Path) -> None:
    now = 0.0
    sink = FileSink(tmp_path, writer="n-b-0", rotate_s=60.0, clock=lambda: now)
    sink.open()
    _give(sink, b"opened\n")
    now = 61.0
    assert not sink.is_full()
    _give(sink, b"more\n")
    assert sink.is_full()
    sink.turn()
    assert not sink.is_full()
    sink.close()


def test_a_compressed_part_is_private_and_takes_the_place_of_the_plain_one(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, writer="n-b-0", shelf=Shelf())
    sink.open()
    _give(sink, b"line\n")
    sink.turn()
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n-b-0-1.jsonl.zst", "n-b-0-2.jsonl"]
    part = tmp_path / "n-b-0-1.jsonl.zst"
    assert part.stat().st_mode & 0o777 == 0o600
    assert _plain(part) == b"line\n"
