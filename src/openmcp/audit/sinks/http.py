"""The audit log at a collector of JSON lines: `POST` with `application/x-ndjson`.

Each batch names the lines in it (`Idempotency-Key: <writer>/<first>-<last>`), so that a
collector can tell what it has already: after a lost answer the same lines come again.
"""

import msgspec

from openmcp.audit.posting import Poster, whole_lines
from openmcp.audit.sinks.base import AuditSink


class _Numbered(msgspec.Struct):
    """What says which line it is."""

    seq: int = 0
    writer: str = ""


_read = msgspec.json.Decoder(_Numbered).decode


class HttpSink:
    """Posts lines as they are."""

    name = "http"

    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    def open(self) -> None:
        self._poster.open()

    def write(self, data: bytes) -> int:
        batch = whole_lines(data)
        lines = batch.splitlines()
        first, last = _read(lines[0]), _read(lines[-1])
        key = f"{first.writer}/{first.seq}-{last.seq}"
        self._poster.post(batch, "application/x-ndjson", headers={"Idempotency-Key": key})
        return len(batch)

    def sync(self) -> None:
        """What was taken, the collector has answered for."""

    def is_full(self) -> bool:
        return False

    def turn(self) -> None:
        """A collector has no parts."""

    def close(self) -> None:
        self._poster.close()


_: type[AuditSink] = HttpSink
