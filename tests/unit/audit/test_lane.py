"""A lane: a collector that is slow, away or broken holds up nobody, and costs no more memory than it was given."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openmcp.audit.lane import Lane
from openmcp.audit.posting import Poster
from openmcp.audit.record import decode
from openmcp.audit.sinks.base import BatchRefused, SinkFailed
from openmcp.audit.sinks.file import FileSink
from openmcp.audit.sinks.http import HttpSink
from openmcp.audit.writer import Limits, Rank, Writer
from tests.support.collector import running_collector

BOUND_S = 20.0
LINE = b'{"type":"message","ts":1}'


class Remote:
    """A collector that fails, hangs or refuses when it is told to."""

    name = "remote"

    def __init__(self) -> None:
        self.data = b""
        self.fault: SinkFailed | None = None
        self.is_open = threading.Event()
        self.is_open.set()

    def open(self) -> None: ...

    def write(self, data: bytes) -> int:
        self.is_open.wait(BOUND_S)
        if self.fault is not None:
            raise self.fault
        self.data += data
        return len(data)

    def sync(self) -> None: ...

    def is_full(self) -> bool:
        return False

    def turn(self) -> None: ...

    def close(self) -> None: ...


@contextmanager
def running(remote: Remote, *, buffer_bytes: int = 1 << 20) -> Iterator[Lane]:
    lane = Lane(remote, buffer_bytes=buffer_bytes, gather_s=0.0)
    lane.start()
    try:
        yield lane
    finally:
        remote.is_open.set()
        lane.stop(BOUND_S)


def until(is_so: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(int(BOUND_S / 0.005)):
        if is_so():
            return
        waiting.wait(0.005)
    raise AssertionError("it did not become so in time")


def test_lines_reach_the_sink_in_order_and_the_rest_is_sent_at_the_stop() -> None:
    remote = Remote()
    with running(remote) as lane:
        for n in range(500):
            lane.put(b"%d\n" % n, 1)
    assert remote.data == b"".join(b"%d\n" % n for n in range(500))
    assert (lane.written, lane.dropped, lane.held_bytes) == (500, 0, 0)


def test_what_does_not_fit_is_counted_and_what_was_kept_is_sent_when_the_sink_is_back() -> None:
    remote = Remote()
    remote.is_open.clear()
    with running(remote, buffer_bytes=100) as lane:
        for _ in range(1000):
            lane.put(b"123456789\n", 1)
            assert lane.held_bytes <= 100
        assert lane.dropped == 990
    assert remote.data.count(b"\n") == lane.written == 10


def test_a_sink_that_fails_is_tried_again_and_says_so_meanwhile() -> None:
    remote = Remote()
    remote.fault = SinkFailed("away")
    with running(remote) as lane:
        lane.put(b"x\n", 1)
        until(lambda: lane.fault == "away" and lane.failed > 1)
        remote.fault = None
        until(lambda: lane.written == 1)
        assert lane.fault == ""
    assert remote.data == b"x\n"


def test_a_batch_that_is_refused_for_good_is_counted_and_does_not_hold_up_what_follows() -> None:
    remote = Remote()
    remote.fault = BatchRefused("nonsense")
    with running(remote) as lane:
        lane.put(b"x\ny\n", 2)
        until(lambda: lane.refused == 2)
        remote.fault = None
        lane.put(b"z\n", 1)
        until(lambda: lane.written == 1)
    assert remote.data == b"z\n"


def test_a_stop_gives_up_a_sink_that_stays_away() -> None:
    remote = Remote()
    remote.fault = SinkFailed("away")
    lane = Lane(remote, gather_s=0.0)
    lane.start()
    lane.put(b"x\n", 1)
    lane.stop(0.2)
    assert lane.held_bytes == 2


def test_the_files_go_on_while_a_collector_hangs_and_it_gets_everything_when_it_answers(tmp_path: Path) -> None:
    with running_collector() as collector:
        collector.is_open.clear()
        lane = Lane(HttpSink(Poster(collector.url)), gather_s=0.0)
        writer = Writer("n-b-0", [FileSink(tmp_path, writer="n-b-0")], lanes=[lane], limits=Limits(stop_s=BOUND_S))
        writer.start()
        for _ in range(2000):
            writer.append(LINE, Rank.MESSAGE, 100)
        until(lambda: writer.depth == 0)
        assert writer.has_room
        assert not writer.faults
        assert (tmp_path / "n-b-0-1.jsonl").read_bytes().count(b"\n") >= 2001
        collector.is_open.set()
        writer.stop()
        kept = (tmp_path / "n-b-0-1.jsonl").read_bytes().splitlines()
        assert collector.lines == kept
        assert [decode(line).seq for line in collector.lines] == list(range(1, len(kept) + 1))
        counts = writer.counts()
    assert counts["http", "written"] == counts["file", "written"] == len(kept)
    assert counts["http", "dropped"] == 0
