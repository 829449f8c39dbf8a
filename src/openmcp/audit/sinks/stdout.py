"""The audit log on standard output, for whoever collects it there.

A reader that stalls is felt by the writer thread, never by the event loop. A reader that
has gone makes the sink fail, and `audit.onFailure` says what that means.
"""

import os
import select
from typing import Final

from openmcp.audit.sinks.base import AuditSink, SinkFailed

STALL_S: Final = 1.0


class StdoutSink:
    """Writes to file descriptor 1, or to another one."""

    name = "stdout"

    def __init__(self, descriptor: int = 1, *, stall_s: float = STALL_S) -> None:
        self._descriptor = descriptor
        self._stall_s = stall_s

    def open(self) -> None:
        try:
            os.fstat(self._descriptor)
        except OSError as error:
            raise SinkFailed(str(error)) from error

    def write(self, data: bytes) -> int:
        # A blocking pipe would hold the thread as long as its reader likes; asking first keeps
        # it able to stop. PIPE_BUF bytes fit without blocking when a pipe says it is writable.
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        try:
            if not poll.poll(self._stall_s * 1000):
                raise SinkFailed("the reader of the output stalls")
            return os.write(self._descriptor, data[: select.PIPE_BUF])
        except OSError as error:
            raise SinkFailed(str(error)) from error

    def sync(self) -> None:
        """Nothing more can be promised of a pipe."""

    def is_full(self) -> bool:
        return False

    def turn(self) -> None:
        """A stream has no parts."""

    def close(self) -> None:
        """The descriptor belongs to the process."""


_: type[AuditSink] = StdoutSink
