"""Composition root: a snapshot in, a `Gateway` out.

Holds what outlives a snapshot (connections, sessions, health, catalogues, the record)
and makes the rest anew with each. A swap is one assignment: exchanges under way keep
the gateway that they began with, and ask the newest one about whatever comes late.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace

from openmcp.approvals.approvals import Approvals, Desk, Holds, Unheard
from openmcp.approvals.compile import compile_flows
from openmcp.approvals.draft import Draft
from openmcp.approvals.grants import Grants
from openmcp.approvals.reviews import Reviews
from openmcp.audit.meter import Meter
from openmcp.audit.recorder import Recorder
from openmcp.audit.writer import Writer
from openmcp.config.snapshot import GatewaySettings, Snapshot
from openmcp.errors import UpstreamBroken
from openmcp.gateway import Gateway, own
from openmcp.identity import published
from openmcp.identity.agents import identity_chain
from openmcp.identity.anchors import TrustAnchors
from openmcp.identity.introduction import Introductions
from openmcp.identity.lasting import Lasting
from openmcp.identity.published import Published
from openmcp.inspection.inspector import Inspector
from openmcp.inspection.redaction import LogRedactor
from openmcp.mcp import methods
from openmcp.mcp.message import Message, ParseLimits
from openmcp.mcp.revisions import Revision
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Permitted
from openmcp.model.http import Request, Wire
from openmcp.model.origin import Origin
from openmcp.model.pin import PinEvent
from openmcp.model.server import Replica, Server
from openmcp.model.session import Session
from openmcp.policy.asking import Surroundings
from openmcp.policy.compile import compile_policies
from openmcp.policy.engine import PolicyEngine
from openmcp.policy.policy import Policy
from openmcp.routing.affinity import Affinity
from openmcp.routing.balancer import Balancer
from openmcp.routing.catalogues import Catalogues
from openmcp.routing.discovery import Discovery, Resolve, resolve
from openmcp.routing.guard import Guard
from openmcp.routing.health import HealthBook
from openmcp.routing.ledger import Ledger
from openmcp.routing.line import Answer
from openmcp.routing.passage import Passage
from openmcp.routing.pinboard import Pinboard
from openmcp.routing.prober import Prober
from openmcp.routing.router import Router
from openmcp.routing.routing import Routing
from openmcp.routing.seals import Seals
from openmcp.routing.sessions import Sessions
from openmcp.routing.streams import Streams
from openmcp.state.sealing import Keyring
from openmcp.state.signing import SEED_BYTES, Signer
from openmcp.state.store import Store
from openmcp.telemetry.metrics import Metrics
from openmcp.telemetry.spans import Tracer
from openmcp.upstream import verdict
from openmcp.upstream.client import Client
from openmcp.upstream.errands import Errands

_FIRST_WORD_S = 5.0


class Runtime:
    """The stages of the newest snapshot, and what they share over snapshots."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        store: Store,
        keyring: Keyring,
        writer: Writer,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        approvals: Approvals | None = None,
        tracer: Tracer | None = None,
        signer: Signer | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._clock = clock
        self.health = HealthBook(clock)
        self._signer = signer or Signer((os.urandom(SEED_BYTES),))
        introductions = Introductions(self._signer, _issuer(snapshot.gateway), clock)
        self.upstream = Client(observe=self.health.observe, introduce=introductions.headers)
        self._errands = Errands(self.upstream)
        self.prober = Prober(self._ask, health=self.health, clock=clock)
        self.prober.know(snapshot.servers)
        self.pinboard = Pinboard(Ledger(store), clock, self._definition_changed)
        self.pinboard.configure(snapshot.servers)
        self.catalogues = Catalogues(self.prober.read, clock, compare=self.pinboard.compare)
        self._guard = Guard(self.pinboard, self.catalogues)
        self._metrics = metrics
        self.sessions = Sessions(store, keyring, clock)
        self._passage = Passage(Seals(keyring, clock), store)
        self._affinity = Affinity(self.sessions, self._passage.seals)
        self._streams = Streams()
        self.recorder = Recorder(writer=writer, hashing=keyring.digest)
        self._redactor = _redactor(snapshot)
        self.recorder.redact_with(self._redactor)
        self.recorder.observe(Meter(metrics, lambda server, subject: subject in self.catalogues.of(server).definitions))
        self._lasting = Lasting(clock)
        if tracer is not None:
            self.recorder.trace(tracer)
        reviews, grants = Reviews(store, clock), Grants(store, clock)
        self.desk = Desk(reviews=reviews, grants=grants, hashing=keyring.digest, opener=Unheard(), clock=clock)
        self._holds = Holds()
        self._given_approvals = approvals
        self._discovery = Discovery(self._rediscovered, resolve)
        self._configured = self.snapshot = self._discovered(snapshot)
        self._gateway = self._compose(self.snapshot)

    @property
    def anchors(self) -> TrustAnchors:
        """The authorities that client certificates may be issued under, for the listeners."""
        return self._lasting.anchors

    @property
    def identity_faults(self) -> list[str]:
        """From whom identity sources cannot hear now; what they said before still counts. Safe from any thread."""
        return self._lasting.faults()

    def newest(self) -> Gateway:
        """Return the gateway of the newest snapshot."""
        return self._gateway

    async def handle(self, request: Request, wire: Wire) -> None:
        """Carry one exchange, under the snapshot that is newest when it begins."""
        if request.path.startswith(published.PREFIX):
            # Before a client can show who it is, it has to find out where it gets a token.
            document = self._published.document(request)
            if document is not None:
                return wire.respond(200, published.HEADERS, document)
        gateway = self._gateway
        # Before anything else, the record included: what a stranger says of who it is must not be seen by anybody.
        await gateway.exchange(gateway.identity.cleansed(request), wire)

    def replicas_up(self) -> dict[tuple[str, str], bool]:
        """Return which replicas take new work, by (server, replica). May be called from any thread."""
        servers = self.snapshot.servers
        return {(s.name, r.url): self.health.is_healthy(r) for s in servers for r in s.replicas}

    async def discover(self) -> None:
        """Find replicas that are known by a name, and hear from SPIFFE agents, before the first exchange.

        For seconds at most: what is not known then is refused until it is.
        """
        await asyncio.gather(self._discovery.first(self._configured.servers), self._lasting.arrived(_FIRST_WORD_S))
        if self._discovered(self._configured) != self.snapshot:
            self._take(self._configured)

    def sessions_by_server(self) -> dict[str, int]:
        """Return how many living sessions each server has here. May be called from any thread."""
        counts = self.sessions.count()
        return {server.name: counts[server.name] for server in self.snapshot.servers}

    def start(self) -> None:
        """Probe the servers of the snapshot and read their lists, beside the exchanges."""
        self._discovery.follow(self._configured.servers)
        self._probe()

    def _probe(self) -> None:
        self.health.configure(
            (replica, server.health) for server in self.snapshot.servers for replica in server.replicas
        )
        self.prober.start(self.snapshot.servers, self.catalogues)

    def swap(self, snapshot: Snapshot) -> None:
        """Put a validated snapshot in force; no exchange is dropped."""
        self._configured = snapshot
        self._take(snapshot)
        self.start()

    def _take(self, snapshot: Snapshot) -> None:
        self.snapshot = self._discovered(snapshot)
        self.pinboard.configure(self.snapshot.servers)
        self._gateway = self._compose(self.snapshot)

    def _discovered(self, snapshot: Snapshot) -> Snapshot:
        return replace(snapshot, servers=self._discovery.applied(snapshot.servers))

    def _rediscovered(self) -> None:
        self._take(self._configured)
        self._probe()

    async def close(self) -> None:
        """Stop probing, close all connections to servers, and tell what was only counted."""
        self.recorder.tell()
        await self._errands.close()
        await self._discovery.stop()
        await self.pinboard.close()
        await self.prober.stop()
        await self._lasting.close()
        await self.upstream.close()

    def _compose(self, snapshot: Snapshot) -> Gateway:
        engine = PolicyEngine(compile_policies(snapshot.policies), revision=snapshot.revision)
        routing = Routing(
            router=Router(snapshot.servers),
            sessions=self.sessions,
            affinity=self._affinity,
            passage=self._passage,
            balancer=Balancer(self.health, self.upstream.in_flight),
            catalogues=self.catalogues,
            guard=self._guard,
            prober=self.prober,
            streams=self._streams,
            counts_calls="session.calls" in engine.reads,
        )
        identity = identity_chain(snapshot.sources, snapshot.agents, lasting=self._lasting)
        self._published = Published(routing.router.at, identity.challenges, self._signer)

        def current(permitted: Permitted) -> tuple[Agent, Server] | None:
            server = routing.router.named(permitted.server.name)
            agent = identity.current(permitted.agent, server) if server and permitted.agent else None
            return (agent, server) if server and agent else None

        policy = Policy(engine, current, self._surroundings(snapshot))
        limits = snapshot.gateway.limits
        self._streams.configure(streams=limits.streams_per_principal, exchanges=limits.concurrent_exchanges)
        return Gateway(
            limits=ParseLimits(depth=limits.json_depth),
            recorder=self.recorder,
            routing=routing,
            identity=identity,
            policy=policy,
            inspector=Inspector(policy.content_rules, schemas=self._output_schema, count=self._metrics.found),
            approvals=self._given_approvals or self._approvals(snapshot),
            upstream=self.upstream,
            errands=self._errands,
            newest=self.newest,
        )

    def _output_schema(self, permitted: Permitted) -> bytes | None:
        """Return what the tool of an exchange declares of its results; `None` = nothing that is known."""
        origin, agent = permitted.arrival.origin, permitted.agent
        subject = methods.subject_of(origin.method, origin.name) if origin is not None else None
        if subject is None or agent is None:
            return None
        definition = self.catalogues.definition(permitted.server, agent, subject=subject)
        return definition.output_schema or None if definition is not None else None

    def _approvals(self, snapshot: Snapshot) -> Approvals:
        draft = Draft(redactor=self._redactor, clock=self._clock, environment=snapshot.gateway.name)
        flows = compile_flows(snapshot.flows, snapshot.groups)
        return Approvals(flows, desk=self.desk, draft=draft, holds=self._holds)

    def _definition_changed(self, event: PinEvent) -> None:
        """A server offers what nobody has accepted, or somebody has accepted it: for all who watch."""
        self._metrics.definition_changed(event.server, event.change.value)
        self.recorder.definition_changed(event)

    def _surroundings(self, snapshot: Snapshot) -> Surroundings:
        return Surroundings(
            clock=self._clock,
            headers=snapshot.gateway.policy_headers,
            session_name=self.recorder.session_name,
            tool=self._guard.tool,
        )

    async def _ask(
        self, server: Server, replica: Replica, *, message: Message | None, revision: Revision, session: Session | None
    ) -> Answer:
        """Send one message of the gateway's own; see `routing.line.Ask`."""
        is_request = message is not None and message.id is not None
        arrival = Arrival(
            http_method="POST" if message is not None else "DELETE",
            revision=revision,
            message=message,
            method=message.method if message is not None else "",
            session=session,
            origin=Origin(message.id, message.method) if message is not None and message.id is not None else None,
            bound_to=replica.url,
        )
        async with self.upstream.send(own(server, arrival), (replica,)) as reply:
            if not is_request:
                return Answer(reply.status, None)
            try:
                answer = await verdict.answer(own(server, arrival), reply)
            except UpstreamBroken:
                # A bare status is an answer too: the line knows what it means for its question.
                answer = None
            return Answer(reply.status, answer, reply.header("mcp-session-id"))


def _redactor(snapshot: Snapshot) -> LogRedactor:
    """Return what takes secrets out of the evidence. It belongs to the process, as all of `audit` does."""
    audit = snapshot.gateway.audit
    return LogRedactor(audit.detect, audit.keys)


def _issuer(settings: GatewaySettings) -> str:
    """Return under which name assertions are signed: the first public URL, where their keys are published, too."""
    return next((listener.public_url for listener in settings.listeners if listener.public_url), settings.name)
