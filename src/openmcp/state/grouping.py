"""A thread that runs many small writes in one transaction each time it gets to it.

For stores whose driver blocks and whose commits cost more than their writes. Knows
deadlines and futures; what a transaction is, says the `Session` it is given.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from openmcp.errors import OpenMCPError, StoreConflict, StoreUnavailable

_GROUP: Final = 500
_CLOSE_S: Final = 5.0

T = TypeVar("T")
S = TypeVar("S", bound="Session")

Write: TypeAlias = Callable[[S], T]
"""One write, inside a transaction. Raises: StoreConflict, which undoes nothing of the others; StoreUnavailable."""


class Session(Protocol):
    """A connection to the backend, used on the thread only. Every method raises: StoreUnavailable."""

    def begin(self, *, is_durable: bool, deadline: float) -> None:
        """Begin a transaction, by `deadline` (`time.monotonic()`); `is_durable`: it must survive a loss of power."""
        ...

    def commit(self) -> None:
        """Make all of it hold."""
        ...

    def roll_back(self) -> None:
        """Undo all of it; never raises."""
        ...

    def tidy(self) -> None:
        """Do some housekeeping, if it is time; never raises."""
        ...

    def close(self) -> None:
        """Release the connection; never raises."""
        ...


@dataclass(slots=True)
class _Job(Generic[S]):
    write: Write[S, Any]
    is_durable: bool
    deadline: float
    future: "asyncio.Future[Any]"
    value: object = None
    fault: OpenMCPError | None = None


class Grouping(Generic[S]):
    """Runs writes; `submit` is called on the event loop that called `start`."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job[S] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, session: S) -> None:
        """Begin to run writes on this session, which belongs to the thread from now on."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(session,), name="openmcp-state", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Finish what was submitted, as long as it does not take too long."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join, _CLOSE_S)

    async def submit(self, write: Write[S, T], *, deadline_s: float, is_durable: bool = False) -> T:
        """Return what the write returns, once it is committed. Raises: StoreConflict, StoreUnavailable."""
        if self._thread is None or not self._thread.is_alive():
            raise StoreUnavailable(detail="the store is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(write, is_durable, time.monotonic() + deadline_s, future))
        try:
            async with asyncio.timeout(deadline_s):
                return await future
        except TimeoutError:
            raise StoreUnavailable(detail=f"no answer within {deadline_s} s") from None

    # ------------------------------------------------------------ the thread's side

    def _run(self, session: S) -> None:
        group: list[_Job[S]] = []
        try:
            is_last = False
            while not is_last and (first := self._jobs.get()) is not None:
                group = [first]
                is_last = self._gather(group)
                self._commit(session, group)
                self._answer(group)
                group = []
                session.tidy()
        finally:
            # Only something unforeseen leaves a group behind: those who wait learn it now, not by the deadline.
            self._fail(group, StoreUnavailable(detail="the store failed"))
            self._answer(group)
            session.close()

    def _gather(self, group: list[_Job[S]]) -> bool:
        """Add what waits already; return whether the end was among it."""
        while len(group) < _GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return False
            if job is None:
                return True
            group.append(job)
        return False

    def _commit(self, session: S, group: list[_Job[S]]) -> None:
        try:
            session.begin(is_durable=any(job.is_durable for job in group), deadline=max(job.deadline for job in group))
            for job in group:
                self._apply(session, job)
            session.commit()
        except StoreUnavailable as error:
            session.roll_back()
            self._fail(group, error)

    def _apply(self, session: S, job: _Job[S]) -> None:
        # What nobody waits for any more is not begun, so that "no answer" rarely means "done all the same".
        if time.monotonic() >= job.deadline or job.future.cancelled():
            job.fault = StoreUnavailable(detail="not begun in time")
            return
        try:
            job.value = job.write(session)
        except StoreConflict as conflict:
            job.fault = conflict

    def _fail(self, group: list[_Job[S]], error: StoreUnavailable) -> None:
        for job in group:
            # An exception of its own for each who waits: a shared one would grow by every traceback.
            job.fault = StoreUnavailable(detail=error.detail)

    def _answer(self, group: list[_Job[S]]) -> None:
        if self._loop is None or not group:
            return
        try:
            self._loop.call_soon_threadsafe(_resolve, group)
        except RuntimeError:
            # The loop has closed, nobody waits.
            return


def _resolve(group: list[_Job[Any]]) -> None:
    for job in group:
        if job.future.done():
            continue
        if job.fault is not None:
            job.future.set_exception(job.fault)
        else:
            job.future.set_result(job.value)
