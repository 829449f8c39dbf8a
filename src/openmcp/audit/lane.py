"""A `Lane`: a sink that may be slow, behind a queue and a thread of its own.

The writer puts lines in and never waits; the files go on however long a collector is
away. What no longer fits the queue is counted and left out there: it stands in the files.
"""

import logging
import threading
import time
from collections import deque
from typing import Final

from openmcp.audit.sinks.base import AuditSink, BatchRefused, SinkFailed

_log = logging.getLogger(__name__)

_GATHER_S: Final = 0.5
"""How long lines wait for company: a collector likes few large batches better than many small ones."""

_BATCH_BYTES: Final = 512 << 10
_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 30.0


class Lane:
    """Feeds one sink. `put` and the counts are the writer's thread's; `stop` may be called from any."""

    def __init__(
        self, sink: AuditSink, *, name: str = "", buffer_bytes: int = 64 << 20, gather_s: float = _GATHER_S
    ) -> None:
        self.name = name or sink.name
        """The metric label; two sinks of one kind have two."""

        self.fault = ""
        """What is wrong; empty when all is well."""

        self.written = self.failed = self.dropped = self.refused = 0
        """Lines that the sink took, attempts that failed, lines that did not fit, lines that it will never take."""

        self._sink = sink
        self._buffer_bytes = buffer_bytes
        self._gather_s = gather_s
        self._queue: deque[tuple[bytes, int]] = deque()
        self._held_bytes = 0
        self._lock = threading.Condition()
        self._stopping = threading.Event()
        self._stop_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"openmcp-audit-{self.name}", daemon=True)

    @property
    def held_bytes(self) -> int:
        """Bytes that wait."""
        return self._held_bytes

    def start(self) -> None:
        """Begin. A sink that cannot be opened is tried again later: it must not keep the gateway from starting."""
        self._thread.start()

    def put(self, data: bytes, lines: int) -> None:
        """Queue whole lines, or count them if they do not fit."""
        with self._lock:
            if self._held_bytes + len(data) > self._buffer_bytes:
                self.dropped += lines
                return
            self._queue.append((data, lines))
            self._held_bytes += len(data)
            self._lock.notify()

    def stop(self, within_s: float) -> None:
        """Send what is left, and give up after so many seconds. Blocks."""
        if not self._thread.is_alive():
            return
        self._stop_at = time.monotonic() + within_s
        self._stopping.set()
        with self._lock:
            self._lock.notify()
        self._thread.join(within_s + 1.0)
        if self._queue:
            _log.error("audit-lines-not-sent", extra={"sink": self.name, "bytes": self._held_bytes})

    # ------------------------------------------------------------ the lane's own thread

    def _run(self) -> None:
        try:
            while batch := self._next():
                if not self._send(*batch):
                    return
        finally:
            # Also when something unforeseen ended the thread; what comes from now on is counted when the queue is full.
            if not self._stopping.is_set():
                self.fault = "not running"
            self._sink.close()

    def _next(self) -> tuple[bytes, int, int] | None:
        """Return lines, how many they are, and how many pieces they came in; `None` at the end."""
        with self._lock:
            while not self._queue:
                if self._stopping.is_set():
                    return None
                self._lock.wait()
            is_little = self._held_bytes < _BATCH_BYTES
        if is_little:
            self._stopping.wait(self._gather_s)
        with self._lock:
            pieces = [self._queue[0]]
            for piece in list(self._queue)[1:]:
                if sum(len(data) for data, _ in pieces) + len(piece[0]) > _BATCH_BYTES:
                    break
                pieces.append(piece)
        return b"".join(data for data, _ in pieces), sum(lines for _, lines in pieces), len(pieces)

    def _send(self, data: bytes, lines: int, pieces: int) -> bool:
        """Give a batch to the sink, whatever it takes; whether to go on."""
        pause = _RETRY_S
        rest = data
        while rest:
            try:
                rest = rest[self._sink.write(rest) :]
            except BatchRefused as error:
                self._failed(error)
                self._done(len(data), pieces)
                self.refused += lines
                return True
            except SinkFailed as error:
                self._failed(error)
                if self._stopping.is_set() and time.monotonic() >= self._stop_at:
                    return False
                self._stopping.wait(pause) if not self._stopping.is_set() else time.sleep(_RETRY_S)
                pause = min(pause * 2, _LONGEST_RETRY_S)
        if self.fault:
            _log.warning("audit-sink-recovered", extra={"sink": self.name})
            self.fault = ""
        self.written += lines
        self._done(len(data), pieces)
        return True

    def _done(self, size: int, pieces: int) -> None:
        with self._lock:
            for _ in range(pieces):
                self._queue.popleft()
            self._held_bytes -= size

    def _failed(self, error: SinkFailed) -> None:
        self.failed += 1
        if not self.fault:
            _log.error("audit-sink-failed", extra={"sink": self.name, "error": str(error)})
        self.fault = str(error)
