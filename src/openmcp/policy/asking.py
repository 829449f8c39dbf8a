"""From an exchange to the input of a decision: made only where a rule looks at more than names.

What conditions may look at comes from the arrival itself, and from the `Surroundings` that
the runtime hands in: the clock, the catalogue, the pins. Time is read here and nowhere below.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from openmcp.mcp import methods
from openmcp.mcp.definitions import canonical_text, declared
from openmcp.mcp.message import Json, JsonObject, Message
from openmcp.mcp.methods import Subject
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.facts import (
    AgentFacts,
    DecisionInput,
    McpFacts,
    RequestFacts,
    ServerFacts,
    SessionFacts,
    ToolFacts,
)
from openmcp.model.server import Server
from openmcp.policy.engine import Asked

_WITH_ARGUMENTS = frozenset({methods.TOOLS_CALL, methods.PROMPTS_GET})
_NO_HEADERS: Mapping[str, str] = {}


def _unknown(server: Server, agent: Agent, subject: Subject) -> ToolFacts:
    return ToolFacts(subject.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known beside a message."""

    clock: Callable[[], float] = lambda: 0.0
    """Unix seconds."""

    headers: tuple[str, ...] = ()
    """Request headers that rules may read: `policy.headers`, in lower case."""

    session_name: Callable[[str], str] = lambda _: ""
    """The keyed digest by which records name a session."""

    tool: Callable[[Server, Agent, Subject], ToolFacts] = _unknown
    """What is known of the definition that this agent saw, else of the gateway's own reading."""


class Asking:
    """One message that a rule may want to know more of. Made for each message, so it only takes notes."""

    __slots__ = ("_agent", "_around", "_arrival", "_entry", "_message", "_method", "_server", "_subject", "_tool")

    def __init__(
        self,
        around: Surroundings,
        agent: Agent,
        server: Server,
        *,
        arrival: Arrival,
        method: str,
        subject: Subject | None,
        message: JsonObject | None,
        entry: JsonObject | None = None,
    ) -> None:
        """`message`: the parameters; `entry`: the definition itself, where a list shows it."""
        self._around = around
        self._agent = agent
        self._server = server
        self._arrival = arrival
        self._method = method
        self._subject = subject
        self._message = message
        self._entry = entry
        self._tool: ToolFacts | None = None

    def tool(self) -> ToolFacts:
        """Return the definition of what is used."""
        if self._tool is None:
            self._tool = self._defined()
        return self._tool

    def input(self, agent: AgentFacts, server: ServerFacts) -> DecisionInput:
        """Return all that a decision may look at."""
        arrival = self._arrival
        return DecisionInput(
            agent=agent,
            server=server,
            mcp=McpFacts.of(self._method, self._subject, arrival.revision.version),
            tool=self.tool(),
            args=arguments(self._method, self._message or {}),
            request=self._request(),
            session=self._session(),
            now=self._around.clock(),
        )

    def _defined(self) -> ToolFacts:
        if self._subject is None:
            return ToolFacts()
        known = self._around.tool(self._server, self._agent, self._subject)
        if self._entry is None:
            return known
        # What a list shows now counts, and is accepted only if it is what was.
        digest = hashlib.sha256(canonical_text(self._entry, self._subject.kind)).hexdigest()
        is_pinned = known.pinned and known.digest == digest
        return ToolFacts(self._subject.name, digest, is_pinned, declared(self._entry, self._subject.kind))

    def _request(self) -> RequestFacts:
        request = self._arrival.request
        if request is None:
            return RequestFacts()
        names = self._around.headers
        sent = {name: request.headers[name] for name in names if name in request.headers} if names else _NO_HEADERS
        return RequestFacts(request.peer.address, sent)

    def _session(self) -> SessionFacts:
        session = self._arrival.session
        if session is None:
            return SessionFacts()
        age_s = max(0.0, self._around.clock() - session.created_at)
        return SessionFacts(self._around.session_name(session.id), age_s, self._arrival.calls)


_: type[Asked] = Asking


def of_arrival(around: Surroundings, agent: Agent, server: Server, arrival: Arrival) -> Asking:
    """Return what an agent asks."""
    message = arrival.message
    return Asking(
        around,
        agent,
        server,
        arrival=arrival,
        method=arrival.method,
        subject=arrival.subject,
        message=_params(message) if message is not None else None,
    )


def arguments(method: str, params: JsonObject) -> Json:
    """Return what `args` stands for: arguments; nothing for resources; else the parameters without `_meta`."""
    if method in _WITH_ARGUMENTS:
        given = params.get("arguments")
        return {} if given is None else given
    known = methods.lookup(method)
    if known is not None and known.group is methods.Group.ACCESS:
        return {}
    return {name: value for name, value in params.items() if name != "_meta"}


def _params(message: Message) -> JsonObject:
    held = message.params if not message.kind.is_reply else message.result
    return held or {}
