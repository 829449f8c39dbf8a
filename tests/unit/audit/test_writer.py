"""The writer: numbers, chains, groups, and what happens when a sink does not take its lines."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from openmcp.audit.record import GENESIS, Line, decode
from openmcp.audit.sinks.base import SinkFailed
from openmcp.audit.sinks.file import FileSink
from openmcp.audit.writer import Limits, Rank, Writer
from openmcp.config.snapshot import Durability, OnFailure
from openmcp.errors import AuditUnavailable

BOUND_S = 20.0
LINE = b'{"type":"message","ts":1}'
QUICK = Limits(lines=10, room_s=0.05, retry_s=0.01, stop_s=5.0)


class Disk:
    """A sink in memory that fails, or takes only a part, when it is told to."""

    name = "disk"

    def __init__(self) -> None:
        self.data = b""
        self.room: int | None = None
        """Bytes until it is full; `None` = it never is."""

        self.syncs = 0
        self.parts = 1
        self.is_due = False
        self.failed = threading.Event()

    def open(self) -> None:
        pass

    def write(self, data: bytes) -> int:
        if self.room == 0:
            self.failed.set()
            raise SinkFailed("no space left on device")
        if self.room is not None:
            data = data[: self.room]
            self.room -= len(data)
        self.data += data
        return len(data)

    def sync(self) -> None:
        self.syncs += 1

    def is_full(self) -> bool:
        return self.is_due

    def turn(self) -> None:
        self.parts += 1
        self.is_due = False

    def close(self) -> None:
        pass

    @property
    def lines(self) -> list[Line]:
        return [decode(line) for line in self.data.splitlines()]


@contextmanager
def writing(
    disk: Disk,
    *,
    on_failure: OnFailure = OnFailure.BLOCK,
    durability: Durability = Durability.ASYNC,
    limits: Limits = QUICK,
) -> Iterator[Writer]:
    writer = Writer("n-b-0", [disk], on_failure=on_failure, durability=durability, limits=limits)
    writer.start()
    try:
        yield writer
    finally:
        disk.room = None
        writer.stop()


@asynccontextmanager
async def failing(disk: Disk, writer: Writer) -> AsyncIterator[None]:
    """Make the disk full, and wait until the writer knows."""
    disk.room = 0
    writer.append(LINE, Rank.MESSAGE, 100)
    await asyncio.to_thread(disk.failed.wait, BOUND_S)
    await until(lambda: bool(writer.faults))
    yield


async def until(is_so: object) -> None:
    assert callable(is_so)
    async with asyncio.timeout(BOUND_S):
        while not is_so():
            await asyncio.to_thread(threading.Event().wait, 0.002)


def admits(writer: Writer) -> bool:
    return writer.has_room


def assert_chained(data: bytes) -> None:
    prev = GENESIS
    for number, raw in enumerate(data.splitlines(), 1):
        line = decode(raw)
        assert (line.seq, line.prev, line.v, line.writer) == (number, prev, 1, "n-b-0")
        prev = sha256(raw).hexdigest()


def test_lines_are_numbered_without_gaps_and_chained_from_the_first_to_the_closing_checkpoint() -> None:
    disk = Disk()
    with writing(disk, limits=Limits()) as writer:
        for n in range(500):
            writer.append(b'{"type":"message","ts":%d}' % n, Rank.MESSAGE, 100)
    assert_chained(disk.data)
    assert [line.ts for line in disk.lines if line.type == "message"] == list(range(500))
    first, last = disk.lines[0], disk.lines[-1]
    assert first.checkpoint is not None
    assert first.checkpoint.reason == "opened"
    assert last.checkpoint is not None
    assert (last.checkpoint.reason, last.checkpoint.records) == ("closed", 501)


def test_a_checkpoint_stands_after_so_many_lines() -> None:
    disk = Disk()
    with writing(disk, limits=Limits(checkpoint_lines=10)) as writer:
        for _ in range(100):
            writer.append(LINE, Rank.MESSAGE, 100)
    assert [c.reason for line in disk.lines if (c := line.checkpoint)].count("interval") >= 1


async def test_a_checkpoint_stands_after_some_time_and_not_again_when_nothing_happened() -> None:
    disk = Disk()
    with writing(disk, limits=Limits(checkpoint_s=0.05)) as writer:
        writer.append(LINE, Rank.MESSAGE, 100)
        await until(lambda: any(c.reason == "interval" for line in disk.lines if (c := line.checkpoint)))
    reasons = [c.reason for line in disk.lines if (c := line.checkpoint)]
    assert reasons.count("interval") == 1


async def test_short_writes_are_continued_where_they_ended_and_no_line_is_torn() -> None:
    disk = Disk()
    with writing(disk, limits=Limits(retry_s=0.01)) as writer:
        await until(lambda: disk.data.endswith(b"\n"))
        for n in range(50):
            disk.room = 37
            writer.append(b'{"type":"message","ts":%d}' % n, Rank.MESSAGE, 100)
            await until(lambda: disk.failed.is_set() or not writer.depth)
            disk.failed.clear()
            disk.room = None
            await until(lambda: not writer.depth)
    assert_chained(disk.data)
    assert len([line for line in disk.lines if line.type == "message"]) == 50


async def test_a_full_disk_is_told_and_forgotten_when_there_is_room_again() -> None:
    disk = Disk()
    with writing(disk) as writer:
        async with failing(disk, writer):
            assert writer.faults == {"disk": "no space left on device"}
        disk.room = None
        await until(lambda: not writer.faults and not writer.depth)
        assert writer.counts()["disk", "failed"] >= 1
    assert_chained(disk.data)


async def test_block_lets_exchanges_wait_for_room() -> None:
    disk = Disk()
    with writing(disk, limits=Limits(lines=10, room_s=BOUND_S, retry_s=0.01)) as writer:
        async with failing(disk, writer):
            # At once, not when the queue is full: what waits in memory is lost with the process.
            assert not writer.has_room
            waiting = asyncio.ensure_future(writer.room())
            await asyncio.sleep(0)
            assert not waiting.done()
        disk.room = None
        await asyncio.wait_for(waiting, BOUND_S)


async def test_block_refuses_after_the_wait() -> None:
    disk = Disk()
    with writing(disk) as writer:
        async with failing(disk, writer):
            with pytest.raises(AuditUnavailable):
                await writer.room()


async def test_exchanges_under_way_may_fill_the_queue_to_twice_its_size_and_then_are_refused_but_always_end() -> None:
    disk = Disk()
    with writing(disk) as writer:
        async with failing(disk, writer):
            while writer.depth < 20:
                writer.append(LINE, Rank.DECISION, 100)
            for rank in (Rank.MESSAGE, Rank.DECISION):
                with pytest.raises(AuditUnavailable):
                    writer.append(LINE, rank, 100)
            writer.append(LINE, Rank.END, 100)
            assert writer.depth == 21


async def test_fail_closed_refuses_at_once_while_a_sink_fails() -> None:
    disk = Disk()
    with writing(disk, on_failure=OnFailure.FAIL_CLOSED) as writer:
        async with failing(disk, writer):
            assert writer.has_room is False
            with pytest.raises(AuditUnavailable):
                await writer.room()
            with pytest.raises(AuditUnavailable):
                writer.append(LINE, Rank.DECISION, 100)
        disk.room = None
        await until(lambda: writer.has_room)


async def test_drop_drops_messages_and_tells_how_many_but_never_a_decision() -> None:
    disk = Disk()
    with writing(disk, on_failure=OnFailure.DROP) as writer:
        async with failing(disk, writer):
            for _ in range(100):
                writer.append(LINE, Rank.MESSAGE, 100)
            dropped = writer.counts()["queue", "dropped"]
            assert dropped == 101 - 10
            assert admits(writer)
            for _ in range(10):
                writer.append(b'{"type":"decision","ts":1}', Rank.DECISION, 100)
            # Not even with `drop` may something be decided that is not written down.
            assert writer.has_room is False
            with pytest.raises(AuditUnavailable):
                writer.append(b'{"type":"decision","ts":1}', Rank.DECISION, 100)
    assert_chained(disk.data)
    assert sum(line.lost for line in disk.lines) == dropped
    assert len([line for line in disk.lines if line.type == "decision"]) == 10


async def test_batch_settles_when_the_sink_has_taken_the_lines() -> None:
    disk = Disk()
    with writing(disk, durability=Durability.BATCH) as writer:
        writer.append(LINE, Rank.MESSAGE, 100)
        await asyncio.wait_for(writer.settled(), BOUND_S)
        assert disk.data.count(LINE[1:]) == 1
        async with failing(disk, writer):
            with pytest.raises(AuditUnavailable):
                await writer.settled()


async def test_sync_settles_only_after_a_sync() -> None:
    disk = Disk()
    with writing(disk, durability=Durability.SYNC) as writer:
        before = disk.syncs
        writer.append(LINE, Rank.MESSAGE, 100)
        await asyncio.wait_for(writer.settled(), BOUND_S)
        assert disk.syncs > before
        assert disk.data.count(LINE[1:]) == 1


async def test_async_settles_at_once_even_while_the_sink_fails() -> None:
    disk = Disk()
    with writing(disk) as writer:
        async with failing(disk, writer):
            await asyncio.wait_for(writer.settled(), 1.0)


async def test_a_part_ends_and_begins_with_a_checkpoint_when_the_sink_is_full_or_a_turn_is_asked_for() -> None:
    disk = Disk()
    with writing(disk) as writer:
        disk.is_due = True
        writer.append(LINE, Rank.MESSAGE, 100)
        await until(lambda: disk.parts == 2)
        writer.reopen()
        await until(lambda: disk.parts == 3)
    assert_chained(disk.data)
    reasons = [c.reason for line in disk.lines if (c := line.checkpoint)]
    assert reasons == ["opened", "rotated", "opened", "rotated", "opened", "closed"]


def test_a_stop_does_not_wait_for_ever_for_a_sink_that_takes_nothing() -> None:
    disk = Disk()
    writer = Writer("n-b-0", [disk], limits=Limits(retry_s=0.01, stop_s=0.1))
    writer.start()
    disk.room = 0
    writer.append(LINE, Rank.MESSAGE, 100)
    stopping = threading.Thread(target=writer.stop)
    stopping.start()
    stopping.join(BOUND_S)
    assert not stopping.is_alive()
    assert writer.has_room is False


def test_after_the_stop_nothing_is_admitted() -> None:
    disk = Disk()
    with writing(disk) as writer:
        pass
    assert writer.has_room is False
    with pytest.raises(AuditUnavailable):
        writer.append(LINE, Rank.DECISION, 100)
    writer.append(LINE, Rank.END, 100)


async def test_a_fault_nobody_foresaw_ends_the_thread_and_closes_the_gate() -> None:
    class Broken(Disk):
        def is_full(self) -> bool:
            raise RuntimeError("a fault of the sink's own")

    disk = Broken()
    writer = Writer("n-b-0", [disk], limits=QUICK)
    seen: list[threading.ExceptHookArgs] = []
    before, threading.excepthook = threading.excepthook, seen.append
    try:
        writer.start()
        await until(lambda: "writer" in writer.faults and bool(seen))
    finally:
        threading.excepthook = before
    assert writer.has_room is False
    with pytest.raises(AuditUnavailable):
        await writer.room()


def test_a_log_that_cannot_be_opened_is_no_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AuditUnavailable):
        Writer("n-b-0", [FileSink(tmp_path / "file" / "audit", writer="n-b-0")]).start()


@pytest.mark.parametrize("name", ["", 'a"b', "a/b", "a\nb"])
def test_a_name_that_would_not_stand_in_a_line_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of a writer"):
        Writer(name, [])
