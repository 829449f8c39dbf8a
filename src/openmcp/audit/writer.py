"""The `Writer`: lines in, a numbered and chained log out, written by one thread of its own.

The recorder appends encoded lines from the event loop and never waits for a disk; the
thread numbers them, chains them and hands them to the sinks in groups. The queue is
bounded: `on_failure` says what happens when the sinks do not keep up. Knows nothing of
what is in a line.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeAlias

from openmcp.audit.chain import Chain, Reason
from openmcp.audit.lane import Lane
from openmcp.audit.record import Line, encode
from openmcp.audit.sinks.base import AuditSink, SinkFailed
from openmcp.audit.spool import Spool
from openmcp.config.snapshot import Durability, OnFailure
from openmcp.errors import AuditUnavailable
from openmcp.state.signing import Signer

_log = logging.getLogger(__name__)

_GROUP_LINES: Final = 2_000
_GROUP_BYTES: Final = 1 << 20
_GATHER_S: Final = 0.005
"""How long lines may wait for company (`durability: async`)."""

_EMPTY_ROUNDS: Final = 50
"""Rounds without a line after which the thread sleeps until it is woken, which costs the loop a system call."""


class Rank(Enum):
    """What may be done to a line when the queue is full."""

    MESSAGE = "message"
    """May be dropped with `onFailure: drop`; else its exchange is refused."""

    DECISION = "decision"
    """Is never dropped: its exchange is refused."""

    END = "end"
    """The exchange is over, so there is nothing to refuse: always taken, its number is bounded by open exchanges."""


class Deferred(Protocol):
    """A line whose encoding is left to the writer's thread."""

    def encoded(self) -> bytes:
        """Return the line as a JSON object. Never raises."""
        ...


Entry: TypeAlias = bytes | Deferred


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the queue and of time."""

    lines: int = 20_000
    bytes: int = 64 << 20
    """Beyond either an exchange waits or is refused; exchanges under way may fill the queue to twice as much."""

    room_s: float = 5.0
    """How long an exchange waits for room before it is refused."""

    checkpoint_lines: int = 1_000
    checkpoint_s: float = 60.0
    retry_s: float = 1.0
    """Longest pause before a sink that failed is tried again."""

    stop_s: float = 5.0
    """How long `stop` tries to write what is left."""


@dataclass(slots=True)
class _Waiter:
    mark: int | None
    """Until this many lines are written; `None` = until there is room."""

    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[None]"


class Writer:
    """Takes lines from one event loop; all but `reopen` and `stop` are called there."""

    def __init__(
        self,
        name: str,
        sinks: Sequence[AuditSink],
        *,
        on_failure: OnFailure = OnFailure.BLOCK,
        durability: Durability = Durability.ASYNC,
        limits: Limits | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        signer: Signer | None = None,
        spool: Spool | None = None,
        lanes: Sequence[Lane] = (),
    ) -> None:
        """`name` is unique for ever: node, boot and worker. Without `signer` checkpoints only count."""
        self.name = name
        self.on_failure = on_failure
        self.durability = durability
        self.spool = spool
        """Where bodies go that are too long for a line; `None` = nowhere."""

        self._sinks = tuple(sinks)
        self._lanes = tuple(lanes)
        self._limits = limits or Limits()
        self._clock_ns = clock_ns
        self._chain = Chain(name, signer)
        self._queue: deque[tuple[Entry, int]] = deque()
        # Each counter has one thread that writes it: the loop counts what it puts, the thread what it is done with.
        self._put_lines = self._put_bytes = self._lost = 0
        self._done_lines = self._done_bytes = self._told_lost = 0
        self._written = dict.fromkeys((sink.name for sink in sinks), 0)
        self._failures = dict.fromkeys((sink.name for sink in sinks), 0)
        self._faults: dict[str, str] = {}
        self._is_idle = False
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._must_turn = False
        self._waiters: list[_Waiter] = []
        self._lock = threading.Lock()
        self._last_checkpoint = (0, 0.0)
        self._next_turn = 0.0
        self._stop_at = 0.0
        self._thread = threading.Thread(target=self._run, name="openmcp-audit", daemon=True)
        self._is_alive = False

    # ------------------------------------------------------------ the loop's side

    def start(self) -> None:
        """Open the sinks and begin. Raises: AuditUnavailable."""
        try:
            for sink in self._sinks:
                sink.open()
        except SinkFailed as error:
            raise AuditUnavailable(detail=f"the audit log cannot be opened: {error}") from error
        for lane in self._lanes:
            lane.start()
        self._is_alive = True
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """Whether a new exchange may begin now."""
        if self._put_lines - self._done_lines < self._limits.lines and not self._faults:
            return self._is_alive and self._put_bytes - self._done_bytes < self._limits.bytes
        return self._may_go_on()

    def _may_go_on(self) -> bool:
        # What waits in memory for a sink that fails is lost with the process: only `drop` goes on over it.
        if not self._is_alive or (self._faults and self.on_failure is not OnFailure.DROP):
            return False
        factor = 2 if self.on_failure is OnFailure.DROP else 1
        return not self._is_beyond(factor)

    def _is_beyond(self, factor: int) -> bool:
        lines, held = self._put_lines - self._done_lines, self._put_bytes - self._done_bytes
        return lines >= factor * self._limits.lines or held >= factor * self._limits.bytes

    async def room(self) -> None:
        """Return when an exchange may begin or go on. Raises: AuditUnavailable."""
        if self.has_room:
            return
        if self.on_failure is not OnFailure.BLOCK or not self._is_alive:
            raise self._unavailable()
        await self._wait(None)

    async def settled(self) -> None:
        """Return when all lines so far count as written, by the chosen durability. Raises: AuditUnavailable."""
        if self.durability is not Durability.ASYNC and self._done_lines < self._put_lines:
            await self._wait(self._put_lines)

    def append(self, line: Entry, rank: Rank, size: int) -> None:
        """Queue a line of about `size` bytes. Raises: AuditUnavailable when it cannot be kept (see `Rank`)."""
        lines = self._put_lines
        if (lines - self._done_lines >= self._limits.lines or self._faults or not self._is_alive) and (
            not self._takes(rank)
        ):
            self._lost += 1
            return
        self._queue.append((line, size))
        self._put_lines = lines + 1
        self._put_bytes += size
        if self._is_idle:
            self._wake.set()

    def _takes(self, rank: Rank) -> bool:
        """Whether the line is queued (or only counted) although something is wrong. Raises: AuditUnavailable."""
        if not self._is_alive:
            if rank is Rank.END:
                return False
            raise self._unavailable()
        if rank is Rank.END:
            return True
        if self.on_failure is OnFailure.DROP and rank is Rank.MESSAGE:
            return not self._is_beyond(1)
        if self._is_beyond(2) or (self._faults and self.on_failure is OnFailure.FAIL_CLOSED):
            raise self._unavailable()
        return True

    def _unavailable(self) -> AuditUnavailable:
        faults = "; ".join(f"{name}: {text}" for name, text in self._faults.copy().items())
        return AuditUnavailable(detail=f"audit queue: {self.depth} lines wait; {faults or 'no sink reports a fault'}")

    async def _wait(self, mark: int | None) -> None:
        loop = asyncio.get_running_loop()
        waiter = _Waiter(mark, loop, loop.create_future())
        with self._lock:
            self._waiters.append(waiter)
        # The thread may have finished between the caller's look and the line above.
        self._notify()
        try:
            async with asyncio.timeout(self._limits.room_s):
                await waiter.future
        except TimeoutError:
            raise self._unavailable() from None
        finally:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        if not self._is_alive:
            raise self._unavailable()

    # ------------------------------------------------------------ for operators

    @property
    def depth(self) -> int:
        """Lines that wait."""
        return self._put_lines - self._done_lines

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong, by sink; empty when all is well."""
        return self._faults.copy() if self._is_alive else {"writer": "not running"} | self._faults

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many lines each sink has `written`, how often it `failed`, and what was `dropped`."""
        counts = {(name, "written"): n for name, n in self._written.items()}
        counts |= {(name, "failed"): n for name, n in self._failures.items()}
        for lane in self._lanes:
            counts |= {(lane.name, "written"): lane.written, (lane.name, "failed"): lane.failed}
            counts |= {(lane.name, "dropped"): lane.dropped, (lane.name, "refused"): lane.refused}
        return counts | {("queue", "dropped"): self._lost}

    @property
    def remote_faults(self) -> dict[str, str]:
        """What is wrong with sinks that hold up nothing, by sink."""
        return {lane.name: lane.fault for lane in self._lanes if lane.fault}

    def reopen(self) -> None:
        """Begin new parts soon, as after a rotation from outside (SIGHUP)."""
        self._must_turn = True
        self._wake.set()

    def stop(self) -> None:
        """Write what is left, close the log and wait for it, at most `stop_s`. Blocks: not for the loop's thread."""
        if not self._thread.is_alive():
            return
        self._stop_at = time.monotonic() + self._limits.stop_s
        self._stopping.set()
        self._wake.set()
        self._thread.join(self._limits.stop_s + 1.0)
        for lane in self._lanes:
            lane.stop(max(0.5, self._stop_at - time.monotonic()))

    # ------------------------------------------------------------ the thread's side

    def _run(self) -> None:
        try:
            self._checkpoint("opened")
            empty = 0
            while True:
                entries, size = self._take()
                if entries:
                    empty = 0
                    self._commit(entries, size)
                self._turn_if_due()
                self._checkpoint_if_due()
                if self._queue:
                    continue
                if self._stopping.is_set():
                    break
                empty = 0 if entries else empty + 1
                self._pause(empty)
            self._checkpoint("closed")
        except _GaveUp:
            _log.error("audit-lines-lost", extra={"lines": self.depth, "faults": self.faults})
        finally:
            # Also when something unforeseen ended the thread: from here on nothing is admitted.
            self._is_alive = False
            for sink in self._sinks:
                sink.close()
            self._notify()

    def _take(self) -> tuple[list[Entry], int]:
        """Return the next group of lines, and how many bytes they were counted as."""
        entries: list[Entry] = []
        size = 0
        for _ in range(min(len(self._queue), _GROUP_LINES)):
            entry, weight = self._queue.popleft()
            entries.append(entry)
            size += weight
            if size >= _GROUP_BYTES:
                break
        return entries, size

    def _commit(self, entries: list[Entry], size: int) -> None:
        lines = [entry if isinstance(entry, bytes) else entry.encoded() for entry in entries]
        lost = self._lost
        if lost != self._told_lost:
            # The gap is told before the lines that follow it.
            told = Line(type="admin", kind="lost", ts=self._clock_ns(), lost=lost - self._told_lost)
            lines.insert(0, encode(told))
            self._told_lost = lost
        self._keep_bodies()
        self._write(self._chain.link(lines), len(entries))
        if self.durability is Durability.SYNC:
            self._sync()
        self._done_lines += len(entries)
        self._done_bytes += size
        if self._waiters:
            self._notify()

    def _keep_bodies(self) -> None:
        """Keep the bodies that are too long for their lines, before the lines that name them."""
        spool = self.spool
        while spool is not None:
            try:
                spool.flush(is_synced=self.durability is Durability.SYNC)
            except SinkFailed as error:
                self._failed(spool.name, error)
                self._give_up_if_over()
                time.sleep(self._limits.retry_s / 10)
            else:
                self._recovered(spool.name)
                return

    def _write(self, data: bytes, lines: int) -> None:
        """Give the bytes to every sink, whatever it takes; a sink that fails holds up all that follows."""
        for lane in self._lanes:
            lane.put(data, lines)
        rests = [(sink, memoryview(data)) for sink in self._sinks]
        pause = 0.01
        while rests:
            rests = [(sink, rest) for sink, rest in map(self._offer, rests) if rest]
            if any(sink.name in self._faults for sink, _ in rests):
                self._give_up_if_over()
                # Ends early when stopping, so that a stop is not held up.
                self._stopping.wait(pause) if not self._stopping.is_set() else time.sleep(pause)
                pause = min(pause * 2, self._limits.retry_s)
        for name in self._written:
            self._written[name] += lines

    def _offer(self, pair: tuple[AuditSink, memoryview]) -> tuple[AuditSink, memoryview]:
        sink, rest = pair
        try:
            rest = rest[sink.write(bytes(rest)) :]
        except SinkFailed as error:
            self._failed(sink.name, error)
        else:
            self._recovered(sink.name)
        return sink, rest

    def _sync(self) -> None:
        pause = 0.01
        while True:
            try:
                for sink in self._sinks:
                    sink.sync()
                    self._recovered(sink.name)
                return
            except SinkFailed as error:
                self._failed(self._sinks[0].name, error)
                self._give_up_if_over()
                time.sleep(pause)
                pause = min(pause * 2, self._limits.retry_s)

    def _failed(self, sink: str, error: SinkFailed) -> None:
        self._failures[sink] = self._failures.get(sink, 0) + 1
        if sink not in self._faults:
            _log.error("audit-sink-failed", extra={"sink": sink, "error": str(error)})
        self._faults[sink] = str(error)

    def _recovered(self, sink: str) -> None:
        if self._faults and self._faults.pop(sink, None) is not None:
            _log.warning("audit-sink-recovered", extra={"sink": sink})

    def _give_up_if_over(self) -> None:
        if self._stopping.is_set() and time.monotonic() > self._stop_at:
            raise _GaveUp

    def _turn_if_due(self) -> None:
        due = [sink for sink in self._sinks if self._must_turn or sink.is_full()]
        if not due or time.monotonic() < self._next_turn:
            return
        self._must_turn = False
        self._checkpoint("rotated")
        for sink in due:
            try:
                sink.turn()
            except SinkFailed as error:
                # The old part goes on; a new one is tried a little later.
                self._next_turn = time.monotonic() + self._limits.retry_s
                _log.error("audit-rotation-failed", extra={"sink": sink.name, "error": str(error)})
        self._checkpoint("opened")

    def _checkpoint_if_due(self) -> None:
        seq, at = self._last_checkpoint
        since = self._chain.seq - seq
        if since >= self._limits.checkpoint_lines or (since and time.monotonic() - at >= self._limits.checkpoint_s):
            self._checkpoint("interval")

    def _checkpoint(self, reason: Reason) -> None:
        self._write(self._chain.checkpoint(reason, self._clock_ns()), 1)
        if self.durability is Durability.SYNC or reason in ("rotated", "closed"):
            self._sync()
        self._last_checkpoint = (self._chain.seq, time.monotonic())

    def _pause(self, empty_rounds: int) -> None:
        """Wait for lines: a little, so that they come in groups, or until woken when there are none."""
        if self.durability is Durability.ASYNC and empty_rounds < _EMPTY_ROUNDS:
            self._stopping.wait(_GATHER_S)
            return
        self._wake.clear()
        self._is_idle = True
        # A line may have been queued before the flag was seen.
        if not self._queue and not self._stopping.is_set() and not self._must_turn:
            self._wake.wait(self._limits.checkpoint_s)
        self._is_idle = False

    def _notify(self) -> None:
        with self._lock:
            ready = [waiter for waiter in self._waiters if self._is_over(waiter)]
            for waiter in ready:
                self._waiters.remove(waiter)
        for waiter in ready:
            try:
                waiter.loop.call_soon_threadsafe(_resolve, waiter.future)
            except RuntimeError:
                # The loop has closed; nobody waits any more.
                continue

    def _is_over(self, waiter: _Waiter) -> bool:
        if not self._is_alive:
            return True
        return self.has_room if waiter.mark is None else self._done_lines >= waiter.mark


class _GaveUp(Exception):
    """The sinks took nothing until the end of the stop."""


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
