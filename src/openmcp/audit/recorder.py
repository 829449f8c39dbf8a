"""What the gateway writes evidence with: a `Recorder`, and one `Record` per exchange.

The gateway opens a record before anything else and says what happens; each call becomes a
line. Runs on the event loop, in the path of every exchange: a line is built, encoded once
and queued; numbers, digests and disks are the writer's. Nothing raw that is a secret
passes: session ids and event ids leave as keyed digests.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from openmcp.audit.bodies import BodyLine
from openmcp.audit.course import Moments, Outcome
from openmcp.audit.flows import Flows
from openmcp.audit.parts import NAME_CHARS, SHORT_CHARS, Ids, Parts, agent_part, decision_part, http_part, short_id
from openmcp.audit.record import (
    DIR_HEADS,
    AgentPart,
    DecisionPart,
    Direction,
    Line,
    McpPart,
    OutcomePart,
    RefusalsPart,
    StreamPart,
    TimingPart,
    encode,
)
from openmcp.audit.refusals import Refusals
from openmcp.audit.writer import Rank, Writer
from openmcp.errors import AuditUnavailable, InvalidParams, OpenMCPError
from openmcp.mcp import methods
from openmcp.mcp.message import Id, Kind, Message
from openmcp.mcp.message import encode as encode_message
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Decision
from openmcp.model.http import Request
from openmcp.model.server import Bodies, Replica, Server
from openmcp.model.session import Session
from openmcp.telemetry.harmless import json_line, text

__all__ = ["Direction", "Record", "Recorder"]


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
        self.writer = writer
        self.hashing = hashing
        self.flows = Flows(hashing)
        self.clock_ns = clock_ns
        self._node = node
        self._refusals = refusals or Refusals()
        self._agents = Parts(agent_part)
        self._decisions = Parts(decision_part)
        self._ids = Ids(clock_ns)
        self._flush: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"Recorder({self._node!r}, {self.writer.name!r})"

    async def open(self, request: Request) -> "Record":
        """Return the record of a new exchange. Raises: AuditUnavailable when evidence cannot be written."""
        if not self.writer.has_room:
            await self.writer.room()
        return Record(self, request)

    def gateway_record(self, server: Server) -> "Record":
        """Return a record for what the gateway itself asks of a server."""
        record = Record(self, None)
        record.routed(server)
        return record

    def close(self) -> None:
        """Tell what was only counted so far; the writer goes on."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        for tally in self._refusals.take():
            part = RefusalsPart(peer=tally.peer, first=tally.first, last=tally.last, kinds=tally.kinds)
            line = Line(type="conn", kind="refused", ts=self.clock_ns(), refusals=part)
            self.writer.append(json_line(encode(line)), Rank.END)

    # What records ask of their recorder.

    def new_id(self) -> str:
        """Return an id that sorts by time."""
        return self._ids.next()

    def agent_part(self, agent: Agent) -> AgentPart:
        """Return the agent as it stands in lines."""
        return self._agents.of(agent)

    def decision_part(self, decision: Decision) -> DecisionPart:
        """Return the decision as it stands in its line."""
        return self._decisions.of(decision)

    def admits_refusal(self, address: str, kind: str, *, now_ns: int) -> bool:
        """Whether an unknown caller's refusal gets a line of its own."""
        if self._refusals.is_due(now_ns):
            self.close()
        if self._refusals.admits(address, kind, now_ns=now_ns):
            return True
        if self._flush is None:
            # So that the count is told even if nobody ever comes again.
            self._flush = asyncio.get_running_loop().call_later(61.0, self.close)
        return False


class Record:
    """The evidence of one exchange; used by one task, closed once.

    Methods raise `AuditUnavailable` when a line cannot be kept, `close` excepted: what is not
    recorded must not happen.
    """

    __slots__ = (
        "_agent",
        "_asked",
        "_at",
        "_binding",
        "_flow",
        "_is_closed",
        "_mcp",
        "_outcome",
        "_recorder",
        "_replica",
        "_request",
        "_request_id",
        "_request_line",
        "_seq",
        "_server",
        "_session",
        "_version",
        "id",
    )

    def __init__(self, recorder: Recorder, request: Request | None) -> None:
        """`request` is `None` for what the gateway itself asks."""
        self.id = recorder.new_id()
        self._recorder = recorder
        self._request = request
        self._at = Moments((request.received_ns if request is not None else 0) or recorder.clock_ns())
        self._agent: AgentPart | None = None
        self._binding = "" if request is not None else "gateway"
        self._server: Server | None = None
        self._session = self._flow = self._version = self._replica = self._request_line = ""
        self._asked: Message | None = None
        """The request; its line is written when flow and session are known."""

        self._request_id: Id | None = None
        self._mcp: McpPart | None = None
        """The request as lines name it; answers repeat it."""

        self._outcome = Outcome()
        self._seq = 0
        self._is_closed = False

    # ------------------------------------------------------------ what becomes known

    def routed(self, server: Server) -> None:
        """Which server stands behind the path."""
        self._server = server

    def identified(self, agent: Agent) -> None:
        """Who asks."""
        self._agent = self._recorder.agent_part(agent)
        self._binding = agent.principal.binding
        self._at.authn = self._recorder.clock_ns()

    def received(self, message: Message | None) -> None:
        """What was asked; `None` for GET and DELETE. The line waits for `arrived`, at latest for `close`."""
        # Asked again under a newer snapshot, it is still the same request.
        if not self._request_line:
            self._asked = message

    def arrived(self, arrival: Arrival) -> None:
        """Which revision, session and subject the request is about."""
        self._version = arrival.revision.version
        self.session(arrival.session)
        subject = arrival.subject
        if self._asked is not None:
            self._ask(Direction.AGENT_TO_GATEWAY, arrival.method, subject.name if subject is not None else None)

    def session(self, session: Session | str | None) -> None:
        """The session, or its raw id, of which only a keyed digest is kept; `None` changes nothing."""
        if session is not None:
            raw = session.id if isinstance(session, Session) else session
            self._session = self._flow = self._recorder.flows.digest(raw)
            if self._mcp is not None:
                self._mcp = msgspec.structs.replace(self._mcp, session=self._session)

    def sending(self) -> None:
        """The request goes to the upstream side now."""
        self._at.upstream_sent = self._recorder.clock_ns()

    def answered(self, replica: Replica, status: int) -> None:
        """The head of a replica's answer has come."""
        self._replica = replica.url
        self._outcome.upstream = status
        self._at.upstream_first = self._at.upstream_last = self._recorder.clock_ns()

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
        now = self._recorder.clock_ns()
        is_answer = message.kind.is_reply and message.id is not None and message.id == self._request_id
        if direction is Direction.SERVER_TO_GATEWAY:
            self._at.upstream_last = now
        elif self._request is None and message.kind is Kind.REQUEST:
            self._asked = message
            self._ask(direction, message.method, _subject_name(message))
            return
        if is_answer:
            self._outcome.judge(message)
        mcp = self._mcp if is_answer else self._named(message, message.method, None)
        stream = StreamPart(event=self._recorder.flows.secret("audit-event", event_id.encode())) if event_id else None
        parent = self._request_line if is_answer else ""
        self._write(direction, message, now=now, parent=parent, mcp=mcp, stream=stream, flags=flags, size=size)

    def dropped(self, direction: Direction, why: str, message: Message | None = None) -> None:
        """Something on this leg was not sent on."""
        outcome, now = OutcomePart(kind=text(why, SHORT_CHARS)), self._recorder.clock_ns()
        if message is None:
            line = self._line("stream", now, outcome=outcome, flags=("dropped",))
            self._recorder.writer.append(DIR_HEADS[direction] + json_line(encode(line))[1:], Rank.MESSAGE)
            return
        mcp = self._named(message, message.method, None)
        self._write(direction, message, now=now, mcp=mcp, outcome=outcome, flags=("dropped",))

    def decision(self, decision: Decision, message: Message | None) -> str:
        """What policy said of the message; return the decision's id, which the agent may be told."""
        now = self._recorder.clock_ns()
        if not self._at.policy:
            self._at.policy = now
        mcp = self._mcp
        if mcp is None or (message is not None and message.id != mcp.id):
            mcp = self._named(message, message.method if message is not None else "", None)
        line = self._line(
            "decision", now, mcp=mcp, parent=self._request_line, decision=self._recorder.decision_part(decision)
        )
        self._recorder.writer.append(json_line(encode(line)), Rank.DECISION)
        return line.id

    def refused(self, error: OpenMCPError, status: int) -> None:
        """The exchange ends with this refusal; its line comes with `close`."""
        self._outcome.refusal = error
        self._outcome.http = status

    def close(self, *, status: int = 0, replica: Replica | None = None) -> None:
        """Write the last line. Never raises; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        now = self._recorder.clock_ns()
        refusal = self._outcome.refusal
        peer = self._request.peer.address if self._request is not None and self._agent is None else None
        # Refused before anybody knew who it is, so it may be one of very many.
        if refusal and peer is not None and not self._recorder.admits_refusal(peer, refusal.kind, now_ns=now):
            return
        try:
            if self._asked is not None:
                self._ask(Direction.AGENT_TO_GATEWAY, self._asked.method, _subject_name(self._asked))
        except AuditUnavailable:
            # The last line tells that it was refused for want of evidence.
            pass
        if replica is not None:
            self._replica = replica.url
        line = self._line("exchange", now, mcp=self._mcp, timing=self._at.part(now), outcome=self._outcome.part(status))
        self._recorder.writer.append(json_line(encode(line)), Rank.END)

    @property
    def has_room(self) -> bool:
        """Whether more lines of a long stream may be written without waiting."""
        return self._recorder.writer.has_room

    async def room(self) -> None:
        """Wait until more lines may be written. Raises: AuditUnavailable."""
        await self._recorder.writer.room()

    async def settled(self) -> None:
        """Wait until all lines of this exchange count as written (`audit.durability`). Raises: AuditUnavailable."""
        await self._recorder.writer.settled()

    # ------------------------------------------------------------ how a line is made

    def _ask(self, direction: Direction, method: str, name: str | None) -> None:
        message, self._asked = self._asked, None
        if message is None:
            return
        self._request_id, self._mcp = message.id, self._named(message, method, name)
        size = len(self._request.body) if self._request is not None else 0
        self._request_line = f"{self.id}.{self._seq + 1}"
        self._write(direction, message, now=self._recorder.clock_ns(), mcp=self._mcp, size=size)

    def _named(self, message: Message | None, method: str, name: str | None) -> McpPart:
        id = short_id(message.id) if message is not None else None
        if len(method) > SHORT_CHARS or (name is not None and len(name) > NAME_CHARS):
            method, name = method[:SHORT_CHARS], name and name[:NAME_CHARS]
        return McpPart(method=method, name=name, version=self._version, id=id, session=self._session)

    def _write(
        self,
        direction: Direction,
        message: Message,
        *,
        now: int,
        mcp: McpPart | None,
        parent: str = "",
        stream: StreamPart | None = None,
        outcome: OutcomePart | None = None,
        flags: tuple[str, ...] = (),
        size: int = 0,
    ) -> None:
        bodies = self._server.bodies if self._server is not None else Bodies.NONE
        if bodies is Bodies.NONE:
            size = 0
        elif bodies is Bodies.FULL:
            size = size or len(encode_message(message))
        line = self._line(
            "message",
            now,
            kind=message.kind.value,
            parent=parent,
            mcp=mcp,
            stream=stream,
            outcome=outcome,
            flags=flags,
            size=size,
        )
        entry: bytes | BodyLine
        if bodies is Bodies.FULL:
            entry = BodyLine(line, direction, message=message, size=size, hashing=self._recorder.hashing)
        else:
            entry = DIR_HEADS[direction] + json_line(encode(line))[1:]
        self._recorder.writer.append(entry, Rank.MESSAGE)

    def _line(
        self,
        type: str,
        now: int,
        *,
        kind: str = "",
        parent: str = "",
        mcp: McpPart | None = None,
        stream: StreamPart | None = None,
        decision: DecisionPart | None = None,
        timing: TimingPart | None = None,
        outcome: OutcomePart | None = None,
        flags: tuple[str, ...] = (),
        size: int = 0,
    ) -> Line:
        self._seq = seq = self._seq + 1
        request = self._request
        return Line(
            type=type,
            id=f"{self.id}.{seq}",
            ts=now,
            flow=self._flow or self._begin_flow(now, type),
            exchange=self.id,
            exchange_seq=seq,
            parent=parent,
            kind=kind,
            agent=self._agent,
            server=self._server.name if self._server is not None else "",
            replica=self._replica,
            http=http_part(request) if seq == 1 and request is not None else None,
            mcp=mcp,
            stream=stream,
            bytes=size,
            decision=decision,
            timing=timing,
            outcome=outcome,
            flags=flags if request is not None else (*flags, "own"),
        )

    def _begin_flow(self, now: int, type: str) -> str:
        """Return the flow of an exchange without a session; none yet while it may open one."""
        is_opening = self._mcp is not None and self._mcp.method == methods.INITIALIZE and type != "exchange"
        if is_opening or not self._binding or self._server is None:
            return ""
        self._flow = self._recorder.flows.of_principal(self._binding, self._server.name, exchange=self.id, now_ns=now)
        return self._flow


def _subject_name(message: Message) -> str | None:
    try:
        return next((subject.name for subject in methods.subjects(message)), None)
    except InvalidParams:
        return None
