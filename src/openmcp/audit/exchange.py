"""The `Record` of one exchange: the gateway says what happens, and each call becomes a line.

Made by `recorder`; used by one task of the event loop, in the path of every exchange. A
line is put together from pieces that are encoded once (who asked, what was asked) and
queued; numbers, digests of bodies and disks are the writer's. Every piece that holds
anything from outside has passed `telemetry.harmless`, and no secret gets this far raw:
session ids and event ids are keyed digests.
"""

from collections.abc import Callable
from typing import Final, Protocol

from openmcp.audit import tracing
from openmcp.audit.bodies import BodyLine
from openmcp.audit.flows import Flows
from openmcp.audit.parts import (
    DETAIL_CHARS,
    NAME_CHARS,
    SHORT_CHARS,
    Ids,
    Parts,
    Pieces,
    agent_part,
    decision_part,
    encoded,
    http_key,
    http_piece,
    mcp_piece,
    mcp_start,
    outcome_piece,
    timing_piece,
)
from openmcp.audit.record import AgentPart, Direction, OutcomePart, StreamPart, encode
from openmcp.audit.refusals import Refusals
from openmcp.audit.writer import Rank, Writer
from openmcp.config.snapshot import Durability
from openmcp.errors import AuditUnavailable, InvalidParams, OpenMCPError
from openmcp.mcp import methods
from openmcp.mcp.message import Id, Kind, Message
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Decision
from openmcp.model.http import Request
from openmcp.model.server import Bodies, Replica, Server
from openmcp.model.session import Session
from openmcp.telemetry.harmless import text
from openmcp.telemetry.spans import Span, Tracer

_HEADS: Final = {
    direction: {kind: f'{{"dir":"{direction.value}","type":"message","kind":"{kind.value}",'.encode() for kind in Kind}
    for direction in Direction
}
_STREAM_HEADS: Final = {d: f'{{"dir":"{d.value}","type":"stream",'.encode() for d in Direction}
_DECISION_HEAD: Final = b'{"type":"decision",'
_END_HEAD: Final = b'{"type":"exchange",'
_OURSELVES: Final = b'"agent":%b,' % encoded(AgentPart(name="gateway", id="gateway", method="own"))
# Looking a member up in its enumeration costs four times as much as a name, and some are asked for with every line.
_FROM_AGENT: Final = Direction.FROM_AGENT
_FROM_SERVER: Final = Direction.FROM_SERVER
_MESSAGE: Final = Rank.MESSAGE
_DECISION: Final = Rank.DECISION
_END: Final = Rank.END
_ASYNC: Final = Durability.ASYNC
_NONE: Final = Bodies.NONE
_FULL: Final = Bodies.FULL


class Observer(Protocol):
    """Is told of each exchange as it goes, for numbers. Must not raise."""

    def began(self, server: Server) -> None:
        """An exchange has found its server."""

    def streaming(self, server: Server) -> None:
        """A stream of events to the agent has begun; it ends with its exchange."""

    def ended(self, record: "Record") -> None:
        """An exchange is over; not called for what found no server."""


class Desk:
    """What all records of one event loop share."""

    def __init__(
        self, writer: Writer, hashing: Callable[[str, bytes], bytes], *, clock_ns: Callable[[], int], refusals: Refusals
    ) -> None:
        self.writer = writer
        self.hashing = hashing
        self.clock_ns = clock_ns
        self.refusals = refusals
        self.flows = Flows(hashing)
        self.ids = Ids()
        self.agents: Parts[Agent] = Parts(lambda agent: b'"agent":%b,' % encoded(agent_part(agent)))
        self.decisions: Parts[Decision] = Parts(lambda decision: encoded(decision_part(decision)))
        self.servers: Pieces[str] = Pieces(lambda name: b'"server":%b,' % encoded(name))
        self.replicas: Pieces[str] = Pieces(lambda url: b'"replica":%b,' % encoded(url))
        self.requests = Pieces(http_piece)
        self.messages = Pieces(mcp_start)
        self.outcomes = Pieces(outcome_piece)
        self.observer: Observer | None = None
        self.tracer: Tracer | None = None


class Record:
    """The evidence of one exchange; closed once.

    Methods raise `AuditUnavailable` when a line cannot be kept, `close` excepted: what is not
    recorded must not happen.
    """

    # Defaults stand on the class: most exchanges set few of them.
    server: Server | None = None
    """The server, once it is known."""

    agent: Agent | None = None
    _agent = b""
    _binding = ""
    _version = ""
    _session = ""
    _flow = ""
    _replica = b""
    replica = ""
    """URL of the replica that answered."""

    is_stream = False
    """Whether the answer goes on to the agent as a stream of events."""

    _asked: Message | None = None
    """The request, until its line can name flow and session."""

    _request_id: Id | None = None
    _parent = b""
    """The member that names the request's line; set when that line was made."""

    _request_mcp: bytes | None = None
    """The request as lines name it; decision, answer and end repeat it."""

    method = ""
    """The method that was asked for; empty for GET, DELETE and what could not be read."""

    name: str | None = None
    """The tool, prompt or resource that was named."""

    _shared = b""
    """Members that every line has; made again when one of them changes."""

    _span: Span | None = None
    _seq = 0
    decided: Decision | None = None
    """What policy said of the request."""

    _status = _upstream_status = 0
    _jsonrpc: int | None = None
    _is_error: bool | None = None
    _refusal: OpenMCPError | None = None
    _is_closed = False
    # Unix nanoseconds.
    _authn = _policy = _sent = _first = _last = _end = 0

    def __init__(self, desk: Desk, request: Request | None) -> None:
        """`request` is `None` for what the gateway itself asks."""
        self._desk = desk
        self._request = request
        self._received = (request.received_ns if request is not None else 0) or desk.clock_ns()
        self.id = desk.ids.next(self._received)
        self._id = self.id.encode()
        if request is None:
            self._binding, self._agent = "gateway", _OURSELVES

    # ------------------------------------------------------------ what becomes known

    def routed(self, server: Server) -> None:
        """Which server stands behind the path."""
        if self.server is None and self._desk.observer is not None and self._request is not None:
            self._desk.observer.began(server)
        self.server, self._shared = server, b""

    def identified(self, agent: Agent) -> None:
        """Who asks."""
        self.agent = agent
        self._agent, self._shared = self._desk.agents.of(agent), b""
        self._binding = agent.principal.binding
        self._authn = self._desk.clock_ns()

    def received(self, message: Message | None) -> None:
        """What was asked; `None` for GET and DELETE. The line waits for `arrived`, at latest for `close`."""
        if self._desk.tracer is not None:
            self._trace(message)
        # Asked again under a newer snapshot, it is still the same request.
        if not self._parent:
            self._asked = message

    def arrived(self, arrival: Arrival) -> None:
        """Which revision, session and subject the request is about."""
        self._version = arrival.revision.version
        if arrival.session is not None:
            self.session(arrival.session)
        self.method = arrival.method
        # The first of several stands for all: the body, where it is kept, has the others.
        self.name = arrival.subjects[0].name if arrival.subjects else None
        if self._asked is not None:
            self._ask(_FROM_AGENT, self._asked, self._desk.clock_ns())

    def session(self, session: Session | str | None) -> None:
        """The session, or its raw id, of which only a keyed digest is kept; `None` changes nothing."""
        if session is not None:
            raw = session.id if isinstance(session, Session) else session
            self._session = self._flow = self._desk.flows.digest(raw)
            self._shared, self._request_mcp = b"", None

    async def sending(self) -> None:
        """The request goes to the upstream side as soon as its lines are kept. Raises: AuditUnavailable."""
        writer = self._desk.writer
        if not writer.has_room or writer.durability is not _ASYNC:
            await self.kept()
        self._sent = self._desk.clock_ns()

    def answered(self, replica: Replica, status: int, *, is_stream: bool = False) -> None:
        """The head of a replica's answer has come."""
        desk, self.replica, self.is_stream = self._desk, replica.url, is_stream
        if is_stream and desk.observer is not None and self.server is not None:
            desk.observer.streaming(self.server)
        self._replica = desk.replicas[replica.url]
        self._upstream_status = status
        self._first = self._last = desk.clock_ns()

    # ------------------------------------------------------------ lines

    def message(
        self,
        direction: Direction,
        message: Message,
        *,
        event_id: str | None = None,
        flags: tuple[str, ...] = (),
        size: int = 0,
    ) -> None:
        """One message on one leg. `size`: bytes on the wire; `event_id`: of the event that carried it."""
        kind, now = message.kind, self._desk.clock_ns()
        if direction is _FROM_SERVER:
            self._last = now
        elif self._request is None and kind.is_request and not self._parent:
            self.method, self.name = message.method, _subject_name(message)
            self._ask(direction, message, now)
            return
        if kind.is_reply and message.id == self._request_id and message.id is not None:
            self._judge(message)
            own = b'%b"mcp":%b' % (self._parent, self._request_mcp or self._describe())
        else:
            own = b'"mcp":%b' % self._mcp(message.method, None, message.id)
        if event_id is not None:
            event = self._desk.flows.secret("audit-event", event_id.encode())
            own = b'%b,"stream":%b' % (own, encoded(StreamPart(event=event)))
        if flags:
            own = b'%b,"flags":%b' % (own, encoded(flags))
        self._write(direction, message, now, own=own, size=size)

    def dropped(self, direction: Direction, why: str, message: Message | None = None) -> None:
        """Something on this leg was not sent on."""
        now = self._desk.clock_ns()
        own = b'"outcome":%b,"flags":["dropped"]' % encoded(OutcomePart(kind=text(why, SHORT_CHARS)))
        if message is None:
            self._desk.writer.append(self._line(_STREAM_HEADS[direction], now, own) + b"}", _MESSAGE)
            return
        mcp = self._mcp(message.method, None, message.id)
        self._write(direction, message, now, own=b'"mcp":%b,%b' % (mcp, own), size=0)

    def decision(self, decision: Decision, message: Message | None) -> str:
        """What policy said of the message; return the decision's id, which the agent may be told."""
        now = self._desk.clock_ns()
        self._policy = self._policy or now
        self.decided = decision
        if self._span is not None:
            tracing.decided(self._span, decision, at_ns=now)
        part = self._desk.decisions.of(decision)
        if message is None or message.id == self._request_id:
            own = b'%b"mcp":%b,"decision":%b' % (self._parent, self._request_mcp or self._describe(), part)
        else:
            own = b'"mcp":%b,"decision":%b' % (self._mcp(message.method, None, message.id), part)
        self._desk.writer.append(self._line(_DECISION_HEAD, now, own) + b"}", _DECISION)
        return f"{self.id}.{self._seq}"

    def refused(self, error: OpenMCPError | None, status: int) -> None:
        """The exchange ends with this refusal, if there is one; its line comes with `close`."""
        self._refusal, self._status = error, status
        if error is not None:
            # Tracebacks hold the frames of the exchange, which hold the error: bodies would wait for the collector.
            error.__traceback__ = error.__context__ = error.__cause__ = None

    def close(self, *, status: int = 0, replica: Replica | None = None) -> None:
        """Write the last line. Never raises; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._end = now = self._desk.clock_ns()
        self._status = status or self._status
        if self._desk.observer is not None and self.server is not None and self._request is not None:
            self._desk.observer.ended(self)
        if self._desk.tracer is not None:
            self._end_trace()
        if replica is not None and not self._replica:
            self._replica = self._desk.replicas[replica.url]
        if self._is_only_counted():
            return
        try:
            if self._asked is not None:
                self.method, self.name = self._asked.method, _subject_name(self._asked)
                self._ask(_FROM_AGENT, self._asked, now)
        except AuditUnavailable:
            # The last line tells that it was refused for want of evidence.
            pass
        own = b'"mcp":%b,"timing":%b,"outcome":%b' % (
            self._request_mcp or self._describe(),
            timing_piece(self._received, self._authn, self._policy, self._sent, self._first, self._last, now),
            self._outcome(status or self._status),
        )
        self._desk.writer.append(self._line(_END_HEAD, now, own) + b"}", _END)

    async def room(self) -> None:
        """Wait until evidence can be written. Raises: AuditUnavailable."""
        if not self._desk.writer.has_room:
            await self._desk.writer.room()

    async def kept(self) -> None:
        """Wait until the lines so far count as kept (`audit.durability`), and there is room for more.

        Raises: AuditUnavailable.
        """
        writer = self._desk.writer
        if not writer.has_room:
            await writer.room()
        if writer.durability is not _ASYNC:
            await writer.settled()

    # ------------------------------------------------------------ for metrics

    @property
    def refusal(self) -> OpenMCPError | None:
        """What the exchange was refused with."""
        return self._refusal

    @property
    def outcome(self) -> str:
        """`ok`, `tool-error`, `interrupted`, or the kind of refusal or failure."""
        if self._refusal is not None:
            return self._refusal.kind
        if self._is_error:
            return "tool-error"
        return "ok" if self._status else "interrupted"

    @property
    def request_bytes(self) -> int:
        """Length of the request's body."""
        return len(self._request.body) if self._request is not None else 0

    @property
    def duration_s(self) -> float:
        """Seconds from the head of the request to `close`."""
        return (self._end - self._received) / 1e9

    @property
    def upstream_s(self) -> float | None:
        """Seconds from `sending` to the head of the server's answer; `None` without either."""
        return (self._first - self._sent) / 1e9 if self._first and self._sent else None

    # ------------------------------------------------------------ how a line is made

    def _ask(self, direction: Direction, message: Message, now: int) -> None:
        self._asked = None
        self._request_id = message.id
        own = b'"mcp":%b' % self._describe()
        self._parent = b'"parent":"%b.%d",' % (self._id, self._seq + 1)
        request = self._request
        self._write(direction, message, now, own=own, size=len(request.body) if request is not None else 0)

    def _mcp(self, method: str, name: str | None, id: Id | None) -> bytes:
        # Cut to size: senders choose them, and they are kept.
        key = (method[:SHORT_CHARS], name and name[:NAME_CHARS], self._version, self._session)
        return mcp_piece(self._desk.messages[key], id)

    def _describe(self) -> bytes:
        self._request_mcp = mcp = self._mcp(self.method, self.name, self._request_id)
        return mcp

    def _write(self, direction: Direction, message: Message, now: int, *, own: bytes, size: int) -> None:
        desk, bodies = self._desk, self.server.bodies if self.server is not None else _NONE
        if size and bodies is not _NONE:
            own = b'%b,"bytes":%d' % (own, size)
        line = self._line(_HEADS[direction][message.kind], now, own)
        if bodies is _FULL:
            desk.writer.append(BodyLine(line, message.body, size=size or 1024, hashing=desk.hashing), _MESSAGE)
        else:
            desk.writer.append(line + b"}", _MESSAGE)

    def _line(self, head: bytes, now: int, own: bytes) -> bytes:
        """Return the line without its closing brace; `own` is what no other line has."""
        self._seq = seq = self._seq + 1
        if seq == 1 and self._request is not None:
            own = b'"http":%b,%b' % (self._desk.requests[http_key(self._request)], own)
        shared = self._shared or self._share(now, is_last=head is _END_HEAD)
        return b'%b"id":"%b.%d","ts":%d,"exchangeSeq":%d,%b%b%b' % (
            head,
            self._id,
            seq,
            now,
            seq,
            shared,
            self._replica,
            own,
        )

    def _trace(self, message: Message | None) -> Span | None:
        tracer, request = self._desk.tracer, self._request
        if self._span is None and tracer is not None and request is not None:
            self._span = tracing.begun(tracer, request, message, self.server, at_ns=self._received)
        return self._span

    def _end_trace(self) -> None:
        # Begun only now, where it was refused before anything was read: who watches refusals wants to see it too.
        span, request = self._trace(None), self._request
        if span is not None and request is not None:
            seen = tracing.Seen(request, self.server, self.agent, self.id, self.method, self.name)
            about = tracing.about(seen, version=self._version, session=self._session, status=self._status)
            span.end(seen.span_name, about, fault=seen.fault(self.outcome), at_ns=self._end)

    def _share(self, now: int, *, is_last: bool) -> bytes:
        flow = self._flow or self._begin_flow(now, is_last=is_last)
        server = self._desk.servers[self.server.name] if self.server is not None else b""
        if self._span is not None:
            server = b'%b"trace":%b,' % (server, encode(tracing.part(self._span)))
        if not flow:
            return b'"exchange":"%b",%b%b' % (self._id, self._agent, server)
        self._shared = shared = b'"exchange":"%b","flow":"%b",%b%b' % (self._id, flow.encode(), self._agent, server)
        return shared

    def _begin_flow(self, now: int, *, is_last: bool) -> str:
        """Return the flow of an exchange without a session; none yet while it may open one."""
        is_opening = self.method == methods.INITIALIZE and not is_last
        if is_opening or not self._binding or self.server is None:
            return ""
        self._flow = self._desk.flows.of_principal(self._binding, self.server.name, exchange=self.id, now_ns=now)
        return self._flow

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
        refusal, request = self._refusal, self._request
        if refusal is None or request is None or self._agent:
            return False
        return not self._desk.refusals.admits(request.peer.address, refusal.kind, now_ns=self._end)

    def _outcome(self, status: int) -> bytes:
        refusal = self._refusal
        if refusal is None:
            return self._desk.outcomes[status, self._upstream_status, self._jsonrpc, self._is_error]
        return encoded(
            OutcomePart(
                http=status,
                upstream=self._upstream_status,
                jsonrpc=refusal.code,
                kind=refusal.kind,
                detail=text(refusal.detail, DETAIL_CHARS),
            )
        )


def _subject_name(message: Message) -> str | None:
    try:
        return next((subject.name for subject in methods.subjects(message)), None)
    except InvalidParams:
        return None
