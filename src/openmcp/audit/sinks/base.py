"""An `AuditSink`: keeps lines. The contract is tests/contract/test_audit_sink.py.

Called by the writer thread only, so a sink may block; it must not hang for ever where it
can help it. Knows nothing of what is in a line but that it ends with a newline.
"""

from typing import Protocol


class SinkFailed(Exception):
    """The sink took nothing just now; the writer keeps the bytes and tries again."""


class BatchRefused(SinkFailed):
    """The sink says of just these bytes that it will never take them."""


class AuditSink(Protocol):
    """Keeps lines, in order, each once."""

    @property
    def name(self) -> str:
        """The metric label: `file`, `stdout`, …"""
        ...

    def open(self) -> None:
        """Get ready. Raises: SinkFailed."""
        ...

    def write(self, data: bytes) -> int:
        """Take a beginning of `data` and return how many bytes; the writer brings the rest again.

        A call may begin in the middle of a line, namely where the last one ended.
        Raises: SinkFailed when nothing was taken.
        """
        ...

    def sync(self) -> None:
        """Return when all that was taken survives a loss of power, as far as the sink can tell. Raises: SinkFailed."""
        ...

    def is_full(self) -> bool:
        """Whether the writer should close this part with a checkpoint and call `turn`."""
        ...

    def turn(self) -> None:
        """Go on in a new part; only ever called between lines. Raises: SinkFailed, and the old part stays."""
        ...

    def close(self) -> None:
        """Release everything; never raises, may be repeated."""
        ...
