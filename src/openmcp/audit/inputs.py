"""What a decision looked at, for the log: enough to put the same question again, to these rules or to others.

The arguments are not here: they stand in the message that the decision's `parent` names. Who
asked is told with every group, label and attribute, whether the rules of that day looked at
them or not, because those of tomorrow may. Runs on the writer's thread.
"""

from typing import Final, TypeAlias

import msgspec

from openmcp.audit.parts import Pieces, encoded
from openmcp.audit.record import RedactionPart, encode
from openmcp.audit.redacting import Redactor, redact_body
from openmcp.mcp import methods
from openmcp.mcp.message import JsonObject
from openmcp.model.agent import Agent
from openmcp.model.decision import Decision
from openmcp.model.facts import AgentFacts, McpFacts, RequestFacts, ServerFacts
from openmcp.model.server import Bodies, Server

_PLACE: Final = "$.decision.input"
_CACHED: Final = 4096

Taken: TypeAlias = tuple[RedactionPart, ...]
AskedKey: TypeAlias = tuple[str, str | None, str, str]
"""Method, name, version and peer."""


class Inputs:
    """Encodes who asks and whom once; both come back in many decisions."""

    def __init__(self) -> None:
        self.redactor: Redactor | None = None
        """What takes secrets out; `None` while nothing can, and then only `bodies: full` keeps attributes."""

        self._asked = Pieces(_asked)
        # By identity, since comparing costs more than encoding; holding the object keeps its identity its own.
        self._askers: dict[tuple[int, int], tuple[Agent, Server, bytes, Taken]] = {}

    def member(
        self, agent: Agent, server: Server, decision: Decision, *, asked: AskedKey, ts: int
    ) -> tuple[bytes, Taken]:
        """Return the member `input` with a comma in front, and what is not in it."""
        who, taken = self._asker(agent, server)
        looked_at = decision.input
        if looked_at is None:
            return b',"input":{%b,%b,"now":%b}' % (who, self._asked[asked], encode(ts / 1e9)), taken
        request, more = self._request(looked_at.request, server.bodies)
        told = {"mcp": looked_at.mcp, "tool": looked_at.tool, "request": request, "session": looked_at.session}
        return b',"input":{%b,%b,"now":%b}' % (who, encoded(told)[1:-1], encode(looked_at.now)), (*taken, *more)

    def _asker(self, agent: Agent, server: Server) -> tuple[bytes, Taken]:
        key = (id(agent), id(server))
        known = self._askers.get(key)
        if known is not None:
            return known[2], known[3]
        facts, taken = self._agent(agent, server.bodies)
        piece = encoded({"agent": facts, "server": ServerFacts.of(server)})[1:-1]
        if len(self._askers) >= _CACHED:
            self._askers.clear()
        self._askers[key] = (agent, server, piece, taken)
        return piece, taken

    def _agent(self, agent: Agent, bodies: Bodies) -> tuple[AgentFacts | JsonObject, Taken]:
        """Return who asks; attributes of the credential may be personal, and are kept as bodies are."""
        facts = AgentFacts.of(agent)
        if not facts.attributes or bodies is Bodies.FULL:
            return facts, ()
        if bodies is not Bodies.REDACTED or self.redactor is None:
            taken = RedactionPart(path=f"{_PLACE}.agent.attributes", detector="bodies")
            return msgspec.structs.replace(facts, attributes={}), (taken,)
        return _redacted(facts, self.redactor, f"{_PLACE}.agent")

    def _request(self, request: RequestFacts, bodies: Bodies) -> tuple[RequestFacts | JsonObject, Taken]:
        if not request.headers or bodies is Bodies.FULL:
            return request, ()
        if bodies is not Bodies.REDACTED or self.redactor is None:
            taken = RedactionPart(path=f"{_PLACE}.request.headers", detector="bodies")
            return RequestFacts(ip=request.ip), (taken,)
        return _redacted(request, self.redactor, f"{_PLACE}.request")


def _asked(key: AskedKey) -> bytes:
    method, name, version, peer = key
    asked = McpFacts.of(method, methods.subject_of(method, name or ""), version)
    return encoded({"mcp": asked, "request": RequestFacts(ip=peer)})[1:-1]


def _redacted(facts: AgentFacts | RequestFacts, redactor: Redactor, place: str) -> tuple[JsonObject, Taken]:
    plain: JsonObject = msgspec.to_builtins(facts)
    kept, taken = redact_body(plain, redactor)
    return kept or {}, tuple(msgspec.structs.replace(part, path=place + part.path[1:]) for part in taken)
