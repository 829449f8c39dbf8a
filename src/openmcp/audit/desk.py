"""What the writer's thread knows when it makes lines: pieces that come back, and one `Sheet` per exchange.

A line is put together from pieces that are encoded once (who asked, what was asked). Every
piece that holds anything from outside has passed `telemetry.harmless`, and session ids
and event ids become keyed digests here. Used by `notes`; nothing here runs on the loop but
the constructors.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from openmcp.audit.flows import Flows
from openmcp.audit.inputs import Inputs
from openmcp.audit.parts import (
    Parts,
    Pieces,
    agent_part,
    decision_part,
    encoded,
    http_key,
    http_piece,
    mcp_start,
    outcome_piece,
)
from openmcp.audit.record import TracePart
from openmcp.audit.redacting import Redactor
from openmcp.audit.spool import Spool
from openmcp.mcp import methods
from openmcp.model.agent import Agent
from openmcp.model.decision import Decision
from openmcp.model.http import Request
from openmcp.model.server import Server

Hashing = Callable[[str, bytes], bytes]
"""Purpose and data → keyed digest (`Keyring.digest`)."""


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What is known of an exchange at one moment; a new one is made when something is learnt."""

    agent: Agent | None = None
    server: Server | None = None
    session: str = ""
    """The raw id: it is a secret, and lines have its keyed digest only."""

    version: str = ""
    replica: str = ""
    method: str = ""
    trace: TracePart | None = None
    parent: str = ""
    """Trace id that the agent named, where it may; empty = none."""


NOTHING: Final = Facts()


class Desk:
    """What all lines of one process have in common."""

    def __init__(self, hashing: Hashing) -> None:
        self.hashing = hashing
        self.flows = Flows(hashing)
        self.agents: Parts[Agent] = Parts(lambda agent: b'"agent":%b,' % encoded(agent_part(agent)))
        self.decisions: Parts[Decision] = Parts(lambda decision: encoded(decision_part(decision)))
        self.servers: Pieces[str] = Pieces(lambda name: b'"server":%b,' % encoded(name))
        self.replicas: Pieces[str] = Pieces(lambda url: b'"replica":%b,' % encoded(url) if url else b"")
        self.requests = Pieces(http_piece)
        self.messages = Pieces(mcp_start)
        self.outcomes = Pieces(outcome_piece)
        self.spool: Spool | None = None
        """Where long bodies go; `None` = nowhere."""

        self.redactor: Redactor | None = None
        """What takes secrets out; `None` while nothing can, and then no body is kept but with `full`."""

        self.inputs = Inputs()


class Sheet:
    """What the lines of one exchange have in common; filled by the thread as it writes them."""

    __slots__ = ("_facts", "_flow", "_request", "_shared", "desk", "id", "peer")

    def __init__(self, desk: Desk, id: str, request: Request) -> None:
        self.desk = desk
        self.id = id.encode()
        self.peer = request.peer.address
        self._request: Request | None = request
        self._facts = NOTHING
        self._shared = b""
        self._flow = ""

    def line(self, head: bytes, facts: Facts, *, seq: int, ts: int, own: bytes, is_last: bool = False) -> bytes:
        """Return a line without its closing brace; `own` is what no other line has, and ends without a comma."""
        if self._request is not None:
            own = b'"http":%b,%b' % (self.desk.requests[http_key(self._request)], own)
            self._request = None
        shared = self._shared
        if facts is not self._facts or not shared:
            shared = self._share(facts, ts, is_last=is_last)
        return b'%b"id":"%b.%d","ts":%d,"exchangeSeq":%d,%b%b' % (head, self.id, seq, ts, seq, shared, own)

    def belongs(self, links: tuple[str, ...]) -> None:
        """Learn what ties the exchange to an earlier one; the flow goes on from there."""
        self._flow = self._flow or self.desk.flows.linked(links)

    def ties(self, links: tuple[str, ...]) -> None:
        """Remember what a later exchange may present to go on with this flow."""
        if self._flow:
            self.desk.flows.link(links, self._flow)

    def _share(self, facts: Facts, ts: int, *, is_last: bool) -> bytes:
        desk, server = self.desk, facts.server
        flow = self._name_flow(facts, ts, is_last=is_last)
        shared = b'"exchange":"%b",%b%b%b%b%b' % (
            self.id,
            b'"flow":"%b",' % flow.encode() if flow else b"",
            desk.agents.of(facts.agent) if facts.agent is not None else b"",
            desk.servers[server.name] if server is not None else b"",
            desk.replicas[facts.replica],
            b'"trace":%b,' % encoded(facts.trace) if facts.trace is not None else b"",
        )
        # An exchange that may still open a session has no flow yet, and looks again with its next line.
        self._facts, self._shared = facts, shared if flow else b""
        return shared

    def _name_flow(self, facts: Facts, ts: int, *, is_last: bool) -> str:
        """Return the flow: the session, else a trace or lineage, else what this principal does here without a pause."""
        if facts.session:
            self._flow = self.desk.flows.digest(facts.session)
        elif self._flow or facts.agent is None or facts.server is None:
            return self._flow
        elif facts.method != methods.INITIALIZE or is_last:
            binding, server = facts.agent.principal.binding, facts.server.name
            if facts.parent:
                self._flow = self.desk.flows.of_trace(binding, facts.parent)
            else:
                self._flow = self.desk.flows.of_principal(binding, server, exchange=self.id.decode(), now_ns=ts)
        return self._flow
