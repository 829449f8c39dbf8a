"""What records share, and what they are told: the `Office` of one event loop, and the shapes of what others hand in.

The shapes are protocols, so that a record knows no stage and no socket.
"""

from collections.abc import Callable
from typing import Protocol

from openmcp.audit.desk import Desk
from openmcp.audit.parts import Ids
from openmcp.audit.refusals import Refusals
from openmcp.audit.writer import Writer
from openmcp.errors import OpenMCPError
from openmcp.model.agent import Agent
from openmcp.model.decision import Decision
from openmcp.model.server import Replica, Server
from openmcp.telemetry.spans import Tracer


class Times(Protocol):
    """How long an exchange took, in seconds (`notes.Steps`)."""

    @property
    def duration_s(self) -> float: ...

    @property
    def head_s(self) -> float | None: ...

    @property
    def waited_s(self) -> float | None: ...


class Ended(Protocol):
    """What is known of an exchange in the end (`exchange.Record`)."""

    @property
    def server(self) -> Server | None: ...

    @property
    def agent(self) -> Agent | None: ...

    @property
    def decided(self) -> Decision | None: ...

    @property
    def method(self) -> str: ...

    @property
    def name(self) -> str | None: ...

    @property
    def replica(self) -> str: ...

    @property
    def outcome(self) -> str: ...

    @property
    def refusal(self) -> OpenMCPError | None: ...

    @property
    def is_stream(self) -> bool: ...

    @property
    def steps(self) -> Times: ...

    @property
    def request_bytes(self) -> int: ...


class Observer(Protocol):
    """Is told of each exchange as it goes, for numbers. Must not raise."""

    def began(self, server: Server) -> None:
        """An exchange has found its server."""

    def streaming(self, server: Server) -> None:
        """A stream of events to the agent has begun; it ends with its exchange."""

    def came(self, server: Server, size: int) -> None:
        """A message of the server has come, of so many bytes."""

    def ended(self, record: "Ended") -> None:
        """An exchange is over; not called for what found no server."""


class Answered(Protocol):
    """What is told of a server's answer (`upstream.reply.Reply`)."""

    @property
    def replica(self) -> Replica: ...

    @property
    def status(self) -> int: ...

    @property
    def body_bytes(self) -> int: ...

    @property
    def comments(self) -> int: ...

    def header(self, name: str) -> str | None: ...


class Event(Protocol):
    """One event of a server's stream (`mcp.sse.Event`)."""

    @property
    def data(self) -> bytes: ...

    @property
    def id(self) -> str | None: ...

    @property
    def retry(self) -> int | None: ...


class Said(Protocol):
    """What the agent was told in the end (`model.responder.Responder`)."""

    @property
    def status(self) -> int: ...

    @property
    def refusal(self) -> OpenMCPError | None: ...

    @property
    def said(self) -> bytes: ...


class Office:
    """What all records of one event loop share."""

    def __init__(self, writer: Writer, *, desk: Desk, clock_ns: Callable[[], int], refusals: Refusals) -> None:
        self.writer = writer
        self.desk = desk
        self.clock_ns = clock_ns
        self.refusals = refusals
        self.ids = Ids()
        self.observer: Observer | None = None
        self.tracer: Tracer | None = None
