"""What the gateway writes evidence with: a `Recorder` opens one `Record` per exchange.

Runs on the event loop. No record, no exchange: when evidence cannot be written, `open`
says no, or waits, as `audit.onFailure` demands.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from openmcp.audit.desk import Desk
from openmcp.audit.exchange import Record
from openmcp.audit.office import Observer, Office
from openmcp.audit.parts import DETAIL_CHARS, NAME_CHARS, encoded
from openmcp.audit.record import Direction, HttpPart, Line, OutcomePart, PinPart, RefusalsPart
from openmcp.audit.redacting import Redactor
from openmcp.audit.refusals import Refusals
from openmcp.audit.writer import Rank, Writer
from openmcp.errors import OpenMCPError
from openmcp.model.http import Peer, Request
from openmcp.model.pin import PinEvent
from openmcp.telemetry.harmless import text
from openmcp.telemetry.spans import Tracer

__all__ = ["Direction", "Observer", "Record", "Recorder"]

_TELL_S: Final = 60.0


class Recorder:
    """Opens records; one per event loop."""

    def __init__(
        self,
        *,
        writer: Writer,
        hashing: Callable[[str, bytes], bytes],
        node: str = "",
        clock_ns: Callable[[], int] = time.time_ns,
        refusals: Refusals | None = None,
    ) -> None:
        """`hashing` is the keyed digest (`Keyring.digest`); `node` is for people, the log has the writer's name."""
        self._writer = writer
        self._node = node
        self._office = Office(writer, desk=Desk(hashing), clock_ns=clock_ns, refusals=refusals or Refusals())
        self._office.desk.spool = writer.spool
        self._flush: asyncio.TimerHandle | None = None

    def trace(self, tracer: Tracer) -> None:
        """Begin a span for every exchange from now on."""
        self._office.tracer = tracer

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of every exchange from now on."""
        self._office.observer = observer

    def redact_with(self, redactor: Redactor | None) -> None:
        """Take out of every body what `redactor` finds, from now on; without one `bodies: redacted` keeps none."""
        desk = self._office.desk
        desk.redactor = desk.inputs.redactor = redactor

    def __repr__(self) -> str:
        return f"Recorder({self._node!r}, {self._writer.name!r})"

    def session_name(self, session_id: str) -> str:
        """Return the keyed digest by which records name a session."""
        return self._office.desk.flows.digest(session_id)

    def open(self, request: Request) -> Record:
        """Return the record of a new exchange, which asks for `room` before anything else."""
        self._tell_later()
        return Record(self._office, request)

    def turned_away(self, peer: Peer, listener: str, error: OpenMCPError, status: int) -> None:
        """Record a refusal of the edge itself, to what never became an exchange, or count it. Never raises."""
        office = self._office
        now = office.clock_ns()
        if not self._writer.has_room:
            # The answer is a refusal anyway, so that it need not wait; and callers must not fill a queue that is stuck.
            office.refusals.count(peer.address, error.kind, now_ns=now)
        elif office.refusals.admits(peer.address, error.kind, now_ns=now):
            http = HttpPart(peer=peer.address, listener=listener)
            outcome = OutcomePart(http=status, kind=error.kind, detail=text(error.detail, DETAIL_CHARS))
            line = Line(type="conn", kind="refused", ts=now, http=http, outcome=outcome)
            self._write(line)
        self._tell_later()

    def definition_changed(self, event: PinEvent) -> None:
        """Record that a server offers what nobody has accepted, or that somebody has accepted it. Never raises."""
        part = PinPart(
            change=event.change.value,
            kind=event.key.kind,
            name=text(event.key.name, NAME_CHARS),
            digest=event.digest,
            by=text(event.by, NAME_CHARS),
            is_held=event.is_held,
        )
        line = Line(type="admin", kind="pin", ts=self._office.clock_ns(), server=event.server, pin=part)
        self._write(line)

    def _tell_later(self) -> None:
        if self._flush is None and self._office.refusals.has_counted:
            # So that what was only counted is told even if nobody ever comes again.
            self._flush = asyncio.get_running_loop().call_later(_TELL_S, self.tell)

    def tell(self) -> None:
        """Write down the refusals that were only counted, and begin to count anew; also to be called at the end."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        for tally in self._office.refusals.take():
            part = RefusalsPart(peer=tally.peer, first=tally.first, last=tally.last, kinds=tally.kinds)
            line = Line(type="conn", kind="refused", ts=self._office.clock_ns(), refusals=part)
            self._write(line)

    def _write(self, line: Line) -> None:
        whole = encoded(line)
        self._writer.append(whole, Rank.END, len(whole))
