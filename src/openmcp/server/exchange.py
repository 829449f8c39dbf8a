"""One exchange: the `Wire` that its handler answers on, and the task that runs it.

Made by a connection for each request, whatever the protocol below; it keeps the order
of an answer and knows what becomes of the task when the client leaves. It must not
know codecs or sockets: those are behind the `Outlet`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import Protocol, TypeAlias

from openmcp.errors import Draining, Internal, OpenMCPError
from openmcp.model.http import Request, Wire
from openmcp.server import refusing

_log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[Request, Wire], Awaitable[None]]
"""Answers one request. Refusals are answers; what it raises is a fault."""

CLIENT_LEFT = "client left"
"""Message of the cancellation when the client disconnected."""

DRAINING = "draining"
"""Message of the cancellation when the worker stops: the client is there and wants a clean end."""


class Outlet(Protocol):
    """Where an answer goes: an HTTP/1.1 connection, or one stream of an HTTP/2 connection."""

    def send(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None: ...

    def open(self, status: int, headers: Sequence[tuple[str, str]]) -> None: ...

    def append(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def finish(self) -> None: ...

    def abort(self) -> None:
        """Break off, so that the client sees that the answer is not whole."""

    def turned_away(self, error: OpenMCPError, status: int) -> None:
        """Take note of a refusal that is the edge's own, before it is sent."""

    def exchange_ended(self, exchange: "Exchange") -> None:
        """Take note that the handler has returned."""


class _Answer(Enum):
    NONE = auto()
    BEGUN = auto()
    WHOLE = auto()


# Looking a member up in its enum costs more than all else that is done with it.
_NONE, _BEGUN, _WHOLE = _Answer


class Exchange:
    """One request and everything that comes back."""

    __slots__ = (
        "_answer",
        "_has_started",
        "_outlet",
        "_task",
        "ends_when_draining",
        "is_open",
        "outlives_client",
        "request",
    )

    def __init__(self, request: Request, outlet: Outlet) -> None:
        self.request = request
        self.is_open = True
        """Whether the client is still there."""

        self.outlives_client = False
        self.ends_when_draining = False
        self._outlet = outlet
        self._answer = _NONE
        self._has_started = False
        self._task: asyncio.Task[None] | None = None

    def start(self, handler: Handler, loop: asyncio.AbstractEventLoop) -> None:
        """Run the handler in a task of its own."""
        self._task = loop.create_task(self._run(handler))

    def cancel(self, message: str) -> None:
        """End the task; `CLIENT_LEFT` or `DRAINING` says why."""
        if self._task is None:
            return
        self._task.cancel(message)
        if not self._has_started:
            # A task that is cancelled before its first step never takes one.
            self._has_started = True
            self._settle(_draining())
            self._outlet.exchange_ended(self)

    def client_left(self) -> None:
        """Take note that nobody reads the answer any more."""
        self.is_open = False
        self._end_if_pointless()

    # ---------------------------------------------------------------- the Wire

    def respond(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Write a whole answer."""
        if self.is_open:
            self._expect(_NONE)
            self._outlet.send(status, headers, body)
            self._answer = _WHOLE

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Write the head of an answer of unknown length."""
        if self.is_open:
            self._expect(_NONE)
            self._outlet.open(status, headers)
            self._answer = _BEGUN

    def write(self, data: bytes) -> None:
        """Append to a begun answer."""
        if self.is_open:
            self._expect(_BEGUN)
            self._outlet.append(data)
        else:
            self._end_if_pointless()

    async def drain(self) -> None:
        """Wait until the client has read enough that more may be written."""
        if self.is_open:
            await self._outlet.drain()
        else:
            self._end_if_pointless()

    def end(self) -> None:
        """End a begun answer cleanly; once more does nothing."""
        if self.is_open and self._answer is not _WHOLE:
            self._expect(_BEGUN)
            self._outlet.finish()
            self._answer = _WHOLE

    def _end_if_pointless(self) -> None:
        # Also looked at while writing: the handler may stop outliving a client that has left before.
        if not self.outlives_client:
            self.cancel(CLIENT_LEFT)

    def _expect(self, answer: _Answer) -> None:
        if self._answer is not answer:
            raise RuntimeError(f"an answer that is {self._answer.name} cannot go on like this")

    # ---------------------------------------------------------------- the task

    async def _run(self, handler: Handler) -> None:
        self._has_started = True
        try:
            await handler(self.request, self)
        except asyncio.CancelledError:
            self._settle(_draining())
        except Exception:
            _log.exception("The handler of an exchange failed")
            self._settle(Internal())
        else:
            if self._answer is not _WHOLE:
                self._settle(Internal())
        finally:
            self._outlet.exchange_ended(self)

    def _settle(self, error: OpenMCPError) -> None:
        """Give the client what the handler left undone: a refusal, or a broken connection instead of half an answer."""
        if not self.is_open or self._answer is _WHOLE:
            return
        if self._answer is _BEGUN:
            self._outlet.abort()
        else:
            answer = refusing.answer(error, self.request)
            self._outlet.turned_away(error, answer.status)
            self.respond(*answer)


def _draining() -> Draining:
    return Draining(headers=(("Retry-After", "1"),))


_: type[Wire] = Exchange
