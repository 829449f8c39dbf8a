"""The audit log at an OpenTelemetry collector: log records over OTLP/HTTP, in the JSON form that every collector takes.

The whole line is the body of its record, byte for byte, so that the chain can be verified
there as well; a few attributes beside it are for searching.
"""

import logging
from pathlib import Path

import msgspec

from openmcp import __version__
from openmcp.audit.posting import Poster, whole_lines
from openmcp.audit.reading.entries import Entry
from openmcp.audit.reading.otlp import requests
from openmcp.audit.record import decode
from openmcp.audit.sinks.base import AuditSink

_log = logging.getLogger(__name__)

_NOWHERE = Path()


class _Partial(msgspec.Struct, rename="camel"):
    """What a collector did not take of a batch that it took."""

    rejected_log_records: int | str = 0
    error_message: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    partial_success: _Partial | None = None


class OtlpSink:
    """Posts lines as log records."""

    name = "otlp"

    def __init__(self, poster: Poster) -> None:
        self._poster = poster

    def open(self) -> None:
        self._poster.open()

    def write(self, data: bytes) -> int:
        batch = whole_lines(data)
        entries = [Entry(decode(line), line, _NOWHERE, 0) for line in batch.splitlines()]
        # One request holds a part of the batch only: what fails half-way is sent again from the beginning.
        for request in requests(entries, version=__version__):
            self._told(self._poster.post(request, "application/json"))
        return len(batch)

    def _told(self, answer: bytes) -> None:
        try:
            partial = msgspec.json.decode(answer, type=_Answer).partial_success if answer else None
        except msgspec.MsgspecError:
            # It said that all is well, in words of its own.
            return
        if partial is not None and int(partial.rejected_log_records):
            _log.error("audit-records-rejected", extra={"sink": self.name, "why": partial.error_message[:500]})

    def sync(self) -> None:
        """What was taken, the collector has answered for."""

    def is_full(self) -> bool:
        return False

    def turn(self) -> None:
        """A collector has no parts."""

    def close(self) -> None:
        self._poster.close()


_: type[AuditSink] = OtlpSink
