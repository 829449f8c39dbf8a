"""The way of one exchange through OpenMCP, from top to bottom. Read this file first.

An exchange is one HTTP request of an agent and all that comes back for it. Each step asks one question, and the first
"no" ends the exchange as a refusal. The order is a security property; the reason for it stands beside it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from openmcp.approvals.approvals import Approvals
from openmcp.audit.recorder import Record, Recorder
from openmcp.errors import Dropped, Internal, OpenMCPError
from openmcp.identity.chain import IdentityChain
from openmcp.inspection.inspector import Inspector
from openmcp.mcp.message import Message, ParseLimits, parse, read
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Permitted
from openmcp.model.http import Request, Wire
from openmcp.model.responder import Responder
from openmcp.model.server import Replica, Server
from openmcp.policy.policy import Policy
from openmcp.routing.headers import own_headers, upstream_headers
from openmcp.routing.routing import Routing
from openmcp.upstream import verdict
from openmcp.upstream.client import Client
from openmcp.upstream.errands import Errands
from openmcp.upstream.reply import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The stages of one snapshot, in the order in which an exchange meets them."""

    limits: ParseLimits
    recorder: Recorder
    routing: Routing
    identity: IdentityChain
    policy: Policy
    inspector: Inspector
    approvals: Approvals
    upstream: Client
    errands: Errands
    newest: Callable[[], "Gateway"]
    """The gateway of the newest snapshot, which decides on whatever comes late."""

    async def exchange(self, request: Request, wire: Wire) -> None:
        """Carry one request through, and write what comes back to `wire`."""
        responder = Responder(wire, request)
        record = self.recorder.open(request)
        responder.exchange_id = record.id
        try:
            await record.room()  # No record, no exchange.
            permitted = await self.admit(request, responder, record)
            with self.routing.hold(permitted):
                await self._forward(permitted, responder, record)
        except OpenMCPError as error:
            responder.refuse(error)
        except asyncio.CancelledError:
            responder.interrupt()
            raise
        except Exception as fault:
            responder.refuse(Internal(detail=type(fault).__name__))
            raise  # The edge reports it to the people who run this.
        finally:
            record.close(responder)

    async def admit(self, request: Request, responder: Responder, record: Record) -> Permitted:
        """Return the proof that the request may be forwarded; every "no" is raised."""
        # Route before identity: a 401 has to name the metadata of *this* server (RFC 9728).
        server = self.routing.match(request)
        record.routed(server)
        agent = await self.identity.identify(request, server)
        record.identified(agent)

        # What is read here is decided on, and its re-serialisation is sent: there is no second reading.
        message = responder.message = parse(request.body, self.limits) if request.method == "POST" else None
        record.received(message)
        arrival = await self.routing.arrive(request, message, server=server, agent=agent)
        record.arrived(arrival)

        decision = self.policy.authorize(agent, server, arrival)
        responder.decision_id = record.decision(decision, message)
        arrival = self.policy.enforce(decision, agent, server=server, arrival=arrival)
        # Definitions come after authorization: before it, a mismatch would tell what exists.
        definition = await self.routing.definition(request, server, agent=agent, arrival=arrival)

        # Inspect before a human is asked: nobody is woken for what a rule blocks, and what is approved is what is sent.
        inspected = await self.inspector.request(arrival, decision.request_rules, found=record.found)
        record.inspected(inspected)
        if inspected is not arrival:
            decision = self.policy.authorize(agent, server, inspected)
            arrival = self.policy.enforce(decision, agent, server=server, arrival=inspected)

        grants = await self.approvals.obtain(agent, server, arrival, decision, definition, waiter=responder)
        await record.sending(arrival)  # Nothing goes upstream that is not on record.
        if self.newest() is not self:
            # The world has changed while somebody was thinking: every question is asked again.
            return await self.newest().admit(request, responder, record)
        sent = upstream_headers(request, arrival, definition)
        return Permitted(server, arrival, sent, agent=agent, decision=decision, grants=grants)

    async def _forward(self, permitted: Permitted, responder: Responder, record: Record) -> None:
        """Send what is permitted, and pass on what comes back: one body, or a stream event by event."""
        replicas = await self.routing.claim(permitted)
        responder.sending(permitted)
        async with self.approvals.using(permitted), self.upstream.send(permitted, replicas) as reply:
            record.answered(reply, is_stream=reply.is_stream and permitted.may_stream)
            if verdict.ends_session(permitted, reply):
                await self.routing.closed(permitted)
            verdict.check(permitted, reply)
            if reply.is_stream and permitted.may_stream:
                return await self._relay(reply, permitted, responder, record)
            answer = await verdict.answer(permitted, reply)
            message = await self._return(answer, permitted, reply.replica, record) if answer is not None else None
            session_id = await self.routing.opened(permitted, reply, message=message)
            responder.whole(reply.status, message, session_id=session_id, allow=reply.header("allow"))

    async def _relay(self, reply: Reply, permitted: Permitted, responder: Responder, record: Record) -> None:
        responder.open_stream()
        async for event in reply.events():
            self.newest().policy.require_still(permitted)
            record.event(event)
            if event is None:
                responder.comment()
                continue
            came = read(event.data) if event.data and event.event in (None, "message") else None
            message = await self._return(came, permitted, reply.replica, record) if came else None
            await responder.event(message, self.routing.event_id(event.id, permitted), event.retry)
        responder.end()

    async def _return(self, message: Message, permitted: Permitted, replica: Replica, record: Record) -> Message | None:
        """Return what the agent may see of a server's message; `None` if nothing."""
        record.came(message)
        try:
            newest = self.newest()
            reviewed = newest.policy.review(self.routing.expect(message, permitted), permitted)
            inspected = await newest.inspector.response(reviewed, permitted, found=record.found)
            return await record.left(self.routing.leave(inspected, permitted, replica))
        except Dropped as dropped:
            await record.dropped(dropped.detail, dropped.answer if isinstance(dropped.answer, Message) else None)
            if isinstance(dropped.answer, Message):
                no = own(permitted.server, permitted.arrival.answering(dropped.answer))
                self.errands.send(no, replica)
            return None


def own(server: Server, arrival: Arrival) -> Permitted:
    """Return the proof for what the gateway itself sends: probes, a "no" to a server's request, a session's end."""
    return Permitted(server, arrival, own_headers(arrival))
