"""Notes: what a record jots down on the event loop, and how the writer's thread makes lines of them.

A note holds values as they were at its moment and is never changed once it is queued. To
make one costs less than a microsecond; everything that takes time (encoding, digests,
differences in words) happens in `encoded`, which never raises.
"""

from typing import Final

import msgspec

from openmcp.audit.bodies import body_members, changes_member, digest_of, links
from openmcp.audit.desk import Facts, Sheet
from openmcp.audit.parts import DETAIL_CHARS, NAME_CHARS, SHORT_CHARS, decision_part, encoded, mcp_piece, timing_piece
from openmcp.audit.record import (
    ChangePart,
    Direction,
    FindingPart,
    OutcomePart,
    RedactionPart,
    StreamPart,
    encode,
)
from openmcp.errors import OpenMCPError
from openmcp.mcp.message import Id, JsonObject, Kind, Message
from openmcp.model.decision import Decision
from openmcp.telemetry.harmless import text

_HEADS: Final = {
    direction: {kind: f'{{"dir":"{direction.value}","type":"message","kind":"{kind.value}",'.encode() for kind in Kind}
    for direction in Direction
}
_EVENT_HEAD: Final = b'{"dir":"%b","type":"stream","kind":"event",' % Direction.FROM_SERVER.value.encode()
_DECISION_HEAD: Final = b'{"type":"decision",'
_END_HEAD: Final = b'{"type":"exchange",'


class EventNote(msgspec.Struct, frozen=True, gc=False):
    """The event that a message came in."""

    n: int
    id: str | None = None
    """The server's own; it may be a secret, so lines have its keyed digest."""

    retry: int | None = None

    def part(self, sheet: Sheet) -> bytes:
        """Return the place in the stream as lines have it."""
        event = sheet.desk.flows.secret("audit-event", self.id.encode(errors="replace")) if self.id else ""
        return encoded(StreamPart(n=self.n, event=event, retry=self.retry))


class MessageNote(msgspec.Struct, gc=False):
    """One message on one leg."""

    sheet: Sheet
    facts: Facts
    seq: int
    ts: int
    direction: Direction
    message: Message
    method: str = ""
    name: str | None = None
    parent: int = 0
    """Number of the line that this one answers; 0 = none."""

    base: int = 0
    """Number of the line whose message this is, changed; 0 = none."""

    size: int = 0
    kept: JsonObject | None = None
    """What may be written of the body; `None` = nothing."""

    redactions: tuple[RedactionPart, ...] = ()
    changes: tuple[ChangePart, ...] = ()
    findings: tuple[FindingPart, ...] = ()
    event: EventNote | None = None
    flags: tuple[str, ...] = ()
    why: str = ""
    """Why it was not sent on."""

    is_tied: bool = False
    """Whether states and tasks in it tie exchanges together: on the legs towards the agent."""

    def encoded(self) -> bytes:
        """Return the line."""
        sheet, message = self.sheet, self.message
        tied = self._links() if self.is_tied else ()
        own = b'"mcp":%b' % _mcp(sheet, self.facts, self.method, name=self.name, id=message.id, tied=tied)
        if self.parent:
            own = b'"parent":"%b.%d",%b' % (sheet.id, self.parent, own)
        if self.size:
            own = b'%b,"bytes":%d' % (own, self.size)
        if self.event is not None:
            own = b'%b,"stream":%b' % (own, self.event.part(sheet))
        if self.kept is not None:
            own += body_members(sheet.desk, message.body, self.kept)
        elif self.redactions and not self.base:
            # It could not be looked through, so that nothing of it may be written.
            own += b',"bodyState":"unredactable"'
        if self.base or self.flags or self.redactions or self.findings:
            own += self._marks()
        line = sheet.line(_HEADS[self.direction][message.kind], self.facts, seq=self.seq, ts=self.ts, own=own)
        if tied and self.direction is Direction.TO_AGENT:
            sheet.ties(tied)
        return line + b"}"

    def _links(self) -> tuple[str, ...]:
        tied = links(self.sheet.desk.hashing, self.message.body)
        if tied and self.direction is Direction.FROM_AGENT:
            self.sheet.belongs(tied)
        return tied

    def _marks(self) -> bytes:
        """Return what few lines have."""
        marks = b""
        if self.base:
            marks += b',"base":"%b.%d"' % (self.sheet.id, self.base)
            if self.kept is None and self.changes:
                marks += digest_of(self.sheet.desk, self.message.body)
            marks += changes_member(self.sheet.desk, self.changes)
        if self.redactions:
            marks += b',"redactions":%b' % encoded(self.redactions)
        if self.findings:
            marks += b',"findings":%b' % encoded(self.findings)
        if self.why:
            marks += b',"outcome":%b' % encoded(OutcomePart(kind=text(self.why, SHORT_CHARS)))
        if self.flags:
            marks += b',"flags":%b' % encoded(self.flags)
        return marks


class StreamNote(msgspec.Struct, gc=False):
    """An event without a message: it carries what a client resumes from."""

    sheet: Sheet
    facts: Facts
    seq: int
    ts: int
    event: EventNote

    def encoded(self) -> bytes:
        """Return the line."""
        own = b'"stream":%b' % self.event.part(self.sheet)
        return self.sheet.line(_EVENT_HEAD, self.facts, seq=self.seq, ts=self.ts, own=own) + b"}"


class DecisionNote(msgspec.Struct, gc=False):
    """What policy said."""

    sheet: Sheet
    facts: Facts
    seq: int
    ts: int
    decision: Decision
    method: str = ""
    name: str | None = None
    id: Id | None = None
    parent: int = 0

    def encoded(self) -> bytes:
        """Return the line."""
        sheet, decision = self.sheet, self.decision
        if decision.input is None:
            part = sheet.desk.decisions.of(decision)
        else:
            # It was made for this message alone.
            part = encoded(decision_part(decision))
        looked_at, redactions = self._looked_at()
        own = b'"mcp":%b,"decision":%b%b}%b' % (
            _mcp(sheet, self.facts, self.method, name=self.name, id=self.id),
            part[:-1],
            looked_at,
            b',"redactions":%b' % encoded(redactions) if redactions else b"",
        )
        if self.parent:
            own = b'"parent":"%b.%d",%b' % (sheet.id, self.parent, own)
        return sheet.line(_DECISION_HEAD, self.facts, seq=self.seq, ts=self.ts, own=own) + b"}"

    def _looked_at(self) -> tuple[bytes, tuple[RedactionPart, ...]]:
        facts, sheet = self.facts, self.sheet
        if facts.agent is None or facts.server is None:
            return b"", ()
        name = self.name and self.name[:NAME_CHARS]
        asked = (self.method[:SHORT_CHARS], name, facts.version, sheet.peer)
        return sheet.desk.inputs.member(facts.agent, facts.server, self.decision, asked=asked, ts=self.ts)


class Steps(msgspec.Struct, gc=False):
    """When each step of an exchange was reached, in Unix nanoseconds; 0 = never."""

    received: int = 0
    authn: int = 0
    policy: int = 0
    sent: int = 0
    first: int = 0
    last: int = 0
    end: int = 0

    @property
    def duration_s(self) -> float:
        """Seconds from the head of the request to the end."""
        return (self.end - self.received) / 1e9

    @property
    def head_s(self) -> float | None:
        """Seconds from sending to the head of the server's answer; `None` without either."""
        return (self.first - self.sent) / 1e9 if self.first and self.sent else None

    @property
    def waited_s(self) -> float | None:
        """Seconds from sending to the last that came from the server; `None` without either."""
        return (self.last - self.sent) / 1e9 if self.last and self.sent else None

    def part(self) -> bytes:
        """Return them as lines have them."""
        return timing_piece(self.received, self.authn, self.policy, self.sent, self.first, self.last, self.end)


class EndNote(msgspec.Struct, gc=False):
    """The end of an exchange, and what came of it."""

    sheet: Sheet
    facts: Facts
    seq: int
    ts: int
    steps: Steps
    method: str = ""
    name: str | None = None
    id: Id | None = None
    http: int = 0
    upstream: int = 0
    jsonrpc: int | None = None
    is_error: bool | None = None
    refusal: OpenMCPError | None = None
    unread: bytes = b""
    """The body of a request that could not be read."""

    resumes: str | None = None
    events: int = 0
    comments: int = 0

    def encoded(self) -> bytes:
        """Return the line."""
        sheet = self.sheet
        own = b'"mcp":%b,"timing":%b,"outcome":%b' % (
            _mcp(sheet, self.facts, self.method, name=self.name, id=self.id),
            self.steps.part(),
            self._outcome(),
        )
        if self.events or self.comments or self.resumes:
            secret = sheet.desk.flows.secret
            resumes = secret("audit-event", self.resumes.encode(errors="replace")) if self.resumes else ""
            own += b',"stream":%b' % encoded(StreamPart(n=self.events, resumes=resumes, comments=self.comments))
        if self.unread:
            # Nobody knows what is in it, so not even its plain digest is told.
            digest = sheet.desk.flows.secret("audit-body", self.unread)
            own += b',"bytes":%d,"bodyHmac":"%b"' % (len(self.unread), digest.encode())
        return sheet.line(_END_HEAD, self.facts, seq=self.seq, ts=self.ts, own=own, is_last=True) + b"}"

    def _outcome(self) -> bytes:
        refusal = self.refusal
        if refusal is None:
            return self.sheet.desk.outcomes[self.http, self.upstream, self.jsonrpc, self.is_error]
        return encoded(
            OutcomePart(
                http=self.http,
                upstream=self.upstream,
                jsonrpc=self.jsonrpc,
                is_error=self.is_error,
                kind=refusal.kind,
                detail=text(refusal.detail, DETAIL_CHARS),
            )
        )


def _mcp(
    sheet: Sheet, facts: Facts, method: str, *, name: str | None, id: Id | None, tied: tuple[str, ...] = ()
) -> bytes:
    desk = sheet.desk
    session = desk.flows.digest(facts.session) if facts.session else ""
    # Cut to size: senders choose them, and they are kept.
    piece = mcp_piece(desk.messages[method[:SHORT_CHARS], name and name[:NAME_CHARS], facts.version, session], id)
    if not tied:
        return piece
    return b'%b%b"links":%b}' % (piece[:-1], b"," if len(piece) > 2 else b"", encode(tied))
