"""The `Record` of one exchange: the gateway says what happens, and each call becomes a line.

Made by `recorder`; used by one task of the event loop, in the path of every exchange. It
jots notes down and queues them; lines, numbers, digests and disks are the writer's. What
must not be kept of a message is taken out here, before anything is queued.
"""

from collections.abc import Sequence
from typing import Final

from openmcp.audit import tracing
from openmcp.audit.desk import NOTHING, Facts, Sheet
from openmcp.audit.differences import change_parts
from openmcp.audit.notes import DecisionNote, EndNote, EventNote, MessageNote, Steps, StreamNote
from openmcp.audit.office import Answered, Event, Office, Said
from openmcp.audit.record import Direction, TracePart
from openmcp.audit.redacting import Redactor, both, finding_parts, redact_body
from openmcp.audit.writer import Rank
from openmcp.config.snapshot import Durability
from openmcp.errors import AuditUnavailable, InvalidParams, OpenMCPError
from openmcp.mcp import headers, methods
from openmcp.mcp import message as messages
from openmcp.mcp.message import Id, Message
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.content import Finding
from openmcp.model.decision import Decision
from openmcp.model.http import Request
from openmcp.model.server import Bodies, Server
from openmcp.model.session import Session
from openmcp.telemetry.spans import Span

# Looking a member up in its enumeration costs four times as much as a name, and some are asked for with every line.
_FROM_AGENT: Final = Direction.FROM_AGENT
_TO_SERVER: Final = Direction.TO_SERVER
_FROM_SERVER: Final = Direction.FROM_SERVER
_TO_AGENT: Final = Direction.TO_AGENT
_MESSAGE: Final = Rank.MESSAGE
_DECISION: Final = Rank.DECISION
_END: Final = Rank.END
_ASYNC: Final = Durability.ASYNC
_NONE: Final = Bodies.NONE
_FULL: Final = Bodies.FULL
_REDACTED: Final = Bodies.REDACTED
_NOTE_BYTES: Final = 400
"""About what a note weighs in the queue without a body."""


class Record:
    """The evidence of one exchange; closed once.

    Methods raise `AuditUnavailable` when a line cannot be kept, `close` excepted: what is not
    recorded must not happen.
    """

    # Defaults stand on the class: most exchanges set few of them.
    server: Server | None = None
    """The server, once it is known."""

    agent: Agent | None = None
    method = ""
    """The method that was asked for; empty for GET, DELETE and what could not be read."""

    name: str | None = None
    """The tool, prompt or resource that was named."""

    replica = ""
    """URL of the replica that answered."""

    _also: Redactor | None = None
    """Takes out what content rules found in the message at hand."""

    decided: Decision | None = None
    """What policy said of the request."""

    is_stream = False
    """Whether the answer goes on to the agent as a stream of events."""

    refusal: OpenMCPError | None = None
    """What the exchange was refused with."""

    _facts: Facts | None = NOTHING
    """`None` = something was learnt since the last line."""

    _version = ""
    _session = ""
    _span: Span | None = None
    _trace: TracePart | None = None
    _parent = ""
    _asked: Message | None = None
    """The request as the agent sent it."""

    _sent: Message | None = None
    """The request as the server was to get it."""

    _ask = 0
    """Number of the request's line."""

    _held: MessageNote | None = None
    """The request's line, as long as the request was not inspected."""

    _came: MessageNote | None = None
    """The line of a server's message that was not yet inspected."""

    _event: EventNote | None = None
    _reply: Answered | None = None
    _resumes: str | None = None
    _size = 0
    _events = 0
    _seq = 0
    _http = 0
    _jsonrpc: int | None = None
    _is_error: bool | None = None
    _is_closed = False

    def __init__(self, office: Office, request: Request) -> None:
        self._office = office
        self._request = request
        received = request.received_ns or office.clock_ns()
        self.steps = Steps(received)
        self.id = office.ids.next(received)
        self._sheet = Sheet(office.desk, self.id, request)
        self._waiting: list[DecisionNote] = []
        """Decisions on a request that was not yet inspected: its own line stands before them."""

    # ------------------------------------------------------------ what becomes known

    def routed(self, server: Server) -> None:
        """Which server stands behind the path."""
        if self.server is None and self._office.observer is not None:
            self._office.observer.began(server)
        self.server, self._facts = server, None

    def identified(self, agent: Agent) -> None:
        """Who asks."""
        self.agent, self._facts = agent, None
        self.steps.authn = self._office.clock_ns()

    def received(self, message: Message | None) -> None:
        """What was asked; `None` for GET and DELETE. The line waits for `inspected`, at latest for `close`."""
        if self._office.tracer is not None:
            self._begin_trace(message)
        # Asked again under a newer snapshot, it is still the same request.
        if not self._ask:
            self._asked = message

    def arrived(self, arrival: Arrival) -> None:
        """Which revision, session and subject the request is about."""
        self._version, self._facts = arrival.revision.version, None
        if arrival.session is not None:
            self._session = arrival.session.id
        self.method = arrival.method
        # The first of several stands for all: the body, where it is kept, has the others.
        self.name = arrival.subjects[0].name if arrival.subjects else None
        self._resumes = arrival.last_event_id
        if not self._ask and self._asked is not None:
            self._hold(self._asked)

    def session(self, session: Session) -> None:
        """The session that the exchange opened; of its id only a keyed digest is written."""
        self._session, self._facts = session.id, None

    def inspected(self, arrival: Arrival) -> Arrival:
        """Return what was inspected; from here on the request's own line may be written."""
        if self._held is not None:
            self._let_go(self._held)
        return arrival

    async def sending(self, arrival: Arrival) -> None:
        """The request goes to the upstream side as soon as its lines are kept. Raises: AuditUnavailable."""
        self.inspected(arrival)
        message = arrival.message
        if message is not None and message is not (self._sent or self._asked) and self._asked is not None:
            self._sent = message
            self._changed(_TO_SERVER, self._asked, message, base=self._ask)
        writer = self._office.writer
        if not writer.has_room or writer.durability is not _ASYNC:
            await self.kept()
        self.steps.sent = self._office.clock_ns()

    def answered(self, reply: Answered, *, is_stream: bool = False) -> None:
        """The head of a replica's answer has come, or the whole of what is no stream.

        `is_stream`: it goes on to the agent as events.
        """
        self._reply, self.replica, self._facts = reply, reply.replica.url, None
        self.is_stream = is_stream
        if is_stream and self._office.observer is not None and self.server is not None:
            self._office.observer.streaming(self.server)
        self._size = reply.body_bytes
        if self.method == methods.INITIALIZE:
            self._session = reply.header(headers.MCP_SESSION_ID) or self._session
        self.steps.first = self.steps.last = self._office.clock_ns()

    def event(self, event: Event | None) -> None:
        """An event of the server's stream; its message, if it has one, is recorded by `came`."""
        if event is None:
            return
        self._events += 1
        self._size, self._event = len(event.data), EventNote(self._events, event.id, event.retry)
        if not event.data:
            note = StreamNote(self._sheet, self._known(), self._next(), self._office.clock_ns(), self._event)
            self._office.writer.append(note, _MESSAGE, _NOTE_BYTES)

    # ------------------------------------------------------------ messages

    def came(self, message: Message) -> None:
        """A message of the server; its line waits until it was inspected: for `left` or `dropped`."""
        if self._held is not None:
            self._let_go(self._held)
        if self._came is not None:
            self._let_out()
        if self._office.observer is not None and self.server is not None:
            self._office.observer.came(self.server, self._size)
        method, name, parent = message.method, None, 0
        asked = self._asked
        if message.kind.is_reply and asked is not None and message.id == asked.id:
            self._judge(message)
            method, name, parent = self.method, self.name, self._ask
        self.steps.last = now = self._office.clock_ns()
        note = MessageNote(self._sheet, self._known(), self._next(), now, _FROM_SERVER, message, method, name, parent)
        note.size, note.event = self._size, self._event
        self._came, self._event, self._also = note, None, None

    def found(self, findings: Sequence[Finding], redactor: Redactor) -> None:
        """What content rules saw in the message at hand; `redactor` takes it out, whatever became of the message."""
        note = self._came or self._held
        if note is not None:
            note.findings, self._also = finding_parts(findings), redactor

    async def left(self, message: Message) -> Message:
        """Return what goes to the agent of the message that came, when its lines are kept. Raises: AuditUnavailable."""
        came = self._came
        if came is not None:
            self._let_out()
            if message is not came.message:
                self._changed(_TO_AGENT, came.message, message, base=came.seq)
        await self.kept()
        return message

    async def dropped(self, why: str, answer: Message | None = None) -> None:
        """The message that came was not sent on; `answer` is what its server is told instead."""
        came = self._came
        if came is None:
            return
        came.flags, came.why = ("dropped",), why
        self._let_out()
        if answer is not None:
            self._own(_TO_SERVER, answer, parent=came.seq, method=came.message.method)
        await self.kept()

    def decision(self, decision: Decision, message: Message | None) -> str:
        """What policy said of the request; return the decision's id, which the agent may be told."""
        now = self._office.clock_ns()
        self.steps.policy = self.steps.policy or now
        self.decided = decision
        if self._span is not None:
            tracing.decided(self._span, decision, at_ns=now)
        id = message.id if message is not None else None
        seq = self._next()
        note = DecisionNote(self._sheet, self._known(), seq, now, decision, self.method, self.name, id, self._ask)
        if self._held is not None:
            self._waiting.append(note)
        else:
            self._office.writer.append(note, _DECISION, _NOTE_BYTES)
        return f"{self.id}.{seq}"

    # ------------------------------------------------------------ the end

    def close(self, said: Said) -> None:
        """Write the last line. Never raises; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        office = self._office
        self.steps.end = now = office.clock_ns()
        self._http, self.refusal = said.status, said.refusal
        if office.observer is not None and self.server is not None:
            office.observer.ended(self)
        if office.tracer is not None:
            self._end_trace()
        if self._is_only_counted():
            return
        try:
            self._finish(said)
        except AuditUnavailable:
            # The last line tells that it was refused for want of evidence.
            pass
        end = EndNote(self._sheet, self._known(), self._next(), now, self.steps, self.method, self.name)
        end.http, end.upstream = self._http, self._reply.status if self._reply is not None else 0
        end.jsonrpc, end.is_error, end.refusal = self._jsonrpc, self._is_error, self.refusal
        end.events, end.resumes = self._events, self._resumes
        if self._asked is not None:
            end.id = self._asked.id
        if self.refusal is not None:
            # Tracebacks hold the frames of the exchange, which hold the error: bodies would wait for the collector.
            self.refusal.__traceback__ = self.refusal.__context__ = self.refusal.__cause__ = None
            end.unread = self._request.body if self._asked is None else b""
        if self._events and self._reply is not None:
            end.comments = self._reply.comments
        office.writer.append(end, _END, _NOTE_BYTES)

    def _finish(self, said: Said) -> None:
        """Write what still waits, and what the gateway itself has told the agent. Raises: AuditUnavailable."""
        if self._asked is not None and not self._ask:
            self.method, self.name = self._asked.method, _subject_name(self._asked)
            self._hold(self._asked)
        if self._held is not None:
            self._let_go(self._held)
        if self._came is not None:
            self._came.flags = ("dropped",)
            self._let_out()
        if self.refusal is None:
            return
        self._jsonrpc, self._is_error = self.refusal.code, None
        if said.said:
            own = messages.read(said.said)
            self._judge(own)
            if self.agent is not None:
                self._own(_TO_AGENT, own, parent=self._ask, method=self.method)

    async def room(self) -> None:
        """Wait until evidence can be written. Raises: AuditUnavailable."""
        if not self._office.writer.has_room:
            await self._office.writer.room()

    async def kept(self) -> None:
        """Wait until the lines so far count as kept (`audit.durability`), and there is room for more.

        Raises: AuditUnavailable.
        """
        writer = self._office.writer
        if not writer.has_room:
            await writer.room()
        if writer.durability is not _ASYNC:
            await writer.settled()

    # ------------------------------------------------------------ for metrics

    @property
    def outcome(self) -> str:
        """`ok`, `tool-error`, `interrupted`, or the kind of refusal or failure."""
        if self.refusal is not None:
            return self.refusal.kind
        if self._is_error:
            return "tool-error"
        return "ok" if self._http else "interrupted"

    @property
    def request_bytes(self) -> int:
        """Length of the request's body."""
        return len(self._request.body)

    # ------------------------------------------------------------ how notes are made

    def _known(self) -> Facts:
        facts = self._facts
        if facts is None:
            facts = Facts(
                self.agent,
                self.server,
                self._session,
                self._version,
                self.replica,
                self.method,
                self._trace,
                self._parent,
            )
            self._facts = facts
        return facts

    def _next(self) -> int:
        self._seq = seq = self._seq + 1
        return seq

    def _hold(self, message: Message) -> None:
        if not self._session and self.server is not None and self.server.is_trace_continued:
            self._parent, self._facts = tracing.named(self._request, message), None
        self._ask = seq = self._next()
        now = self._office.clock_ns()
        note = MessageNote(self._sheet, self._known(), seq, now, _FROM_AGENT, message, self.method, self.name)
        note.size, note.is_tied = len(self._request.body), not self._session
        self._held = note

    def _let_go(self, held: MessageNote) -> None:
        """Queue the request's line, and the decisions that waited for it."""
        self._held = None
        self._queue(held)
        for note in self._waiting:
            self._office.writer.append(note, _DECISION, _NOTE_BYTES)
        self._waiting.clear()

    def _let_out(self) -> None:
        """Queue the line of the server's message that came last."""
        came, self._came = self._came, None
        if came is not None:
            self._queue(came)

    def _changed(self, direction: Direction, before: Message, after: Message, *, base: int) -> None:
        """Write how what goes out differs from what came in, if it does."""
        bodies = self._bodies
        if bodies is _NONE:
            return
        redactor = self._redactor if bodies is _REDACTED else None
        changes, redactions = change_parts(before.body, after.body, redactor, has_values=bodies is _FULL)
        if changes:
            note = MessageNote(self._sheet, self._known(), self._next(), self._office.clock_ns(), direction, after)
            note.method, note.name = (self.method, self.name) if after.id == self._request_id else (after.method, None)
            note.base, note.changes, note.redactions = base, changes, redactions
            note.is_tied = not self._session
            self._office.writer.append(note, _MESSAGE, _NOTE_BYTES)

    def _own(self, direction: Direction, message: Message, *, parent: int, method: str) -> None:
        """Write what the gateway itself says."""
        note = MessageNote(self._sheet, self._known(), self._next(), self._office.clock_ns(), direction, message)
        note.method, note.parent, note.flags = method, parent, ("own",)
        note.name = self.name if method == self.method else None
        self._queue(note)

    def _queue(self, note: MessageNote) -> None:
        """Take out of a message what may not be kept, and queue its line. Raises: AuditUnavailable."""
        bodies, size = self._bodies, note.size
        if bodies is _FULL:
            note.kept = note.message.body
        elif bodies is _REDACTED:
            redactor = self._redactor
            if redactor is not None:
                note.kept, note.redactions = redact_body(note.message.body, redactor)
        elif bodies is _NONE:
            note.size = 0
        self._office.writer.append(note, _MESSAGE, _NOTE_BYTES + (size if note.kept is not None else 0))

    @property
    def _redactor(self) -> Redactor | None:
        return both(self._office.desk.redactor, self._also)

    @property
    def _bodies(self) -> Bodies:
        return self.server.bodies if self.server is not None else _NONE

    @property
    def _request_id(self) -> Id | None:
        return self._asked.id if self._asked is not None else None

    # ------------------------------------------------------------ traces

    def _begin_trace(self, message: Message | None) -> Span | None:
        tracer = self._office.tracer
        if self._span is None and tracer is not None:
            self._span = tracing.begun(tracer, self._request, message, self.server, at_ns=self.steps.received)
            self._trace, self._facts = tracing.part(self._span), None
        return self._span

    def _end_trace(self) -> None:
        # Begun only now, where it was refused before anything was read: who watches refusals wants to see it too.
        span = self._begin_trace(None)
        if span is not None:
            seen = tracing.Seen(self._request, self.server, self.agent, self.id, self.method, self.name)
            # Not `digest`, whose table is the writer's thread's.
            session = self._office.desk.flows.secret("audit-session", self._session.encode()) if self._session else ""
            about = tracing.about(seen, version=self._version, session=session, status=self._http)
            span.end(seen.span_name, about, fault=seen.fault(self.outcome), at_ns=self.steps.end)

    # ------------------------------------------------------------ how it ends

    def _judge(self, answer: Message) -> None:
        result = answer.body.get("result")
        if isinstance(result, dict):
            verdict = result.get("isError")
            self._is_error, self._jsonrpc = verdict if isinstance(verdict, bool) else None, None
            return
        code = (answer.error or {}).get("code")
        # A server may send any number; readers of the log know 64 bits.
        self._jsonrpc = code if isinstance(code, int) and abs(code) < 2**53 else -32603
        self._is_error = None

    def _is_only_counted(self) -> bool:
        """Whether it was refused before anybody knew who asks, and is one of very many."""
        refusal = self.refusal
        if refusal is None or self.agent is not None:
            return False
        peer = self._request.peer.address
        return not self._office.refusals.admits(peer, refusal.kind, now_ns=self.steps.end)


def _subject_name(message: Message) -> str | None:
    try:
        return next((subject.name for subject in methods.subjects(message)), None)
    except InvalidParams:
        return None
