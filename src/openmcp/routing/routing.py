"""The door of this stage: from a request to the server, the session and the replica that it belongs to, and back.

Called by the gateway; composed of the files beside it, which do one thing each.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from openmcp.errors import (
    BodyTooLarge,
    Dropped,
    HeaderMismatch,
    InvalidState,
    LegacyOnly,
    Malformed,
    MethodNotAllowed,
    NotAcceptable,
    OutcomeUnknown,
    UnknownMethod,
    UnknownSession,
    UnsupportedMedia,
    UpstreamBroken,
)
from openmcp.mcp import headers, methods, results, revisions
from openmcp.mcp.message import Message
from openmcp.model.agent import Agent, Trust
from openmcp.model.arrival import Arrival
from openmcp.model.catalogue import Definition
from openmcp.model.decision import Permitted
from openmcp.model.http import Request
from openmcp.model.origin import Origin
from openmcp.model.pin import Pinning
from openmcp.model.server import Replica, Server
from openmcp.model.session import Session
from openmcp.routing.affinity import Affinity, home
from openmcp.routing.balancer import Balancer
from openmcp.routing.catalogues import Catalogues
from openmcp.routing.guard import Guard
from openmcp.routing.passage import Passage
from openmcp.routing.prober import Prober
from openmcp.routing.router import Router
from openmcp.routing.sessions import Sessions
from openmcp.routing.streams import Streams, peer_holder

_CHANGES = frozenset({methods.TOOLS_CHANGED, methods.PROMPTS_CHANGED, methods.RESOURCES_CHANGED})
_ALLOWED = "GET, POST, DELETE"
_GUARDED = methods.USES | methods.LISTS
"""What shows or uses definitions, which may be pinned."""


class Answered(Protocol):
    """What routing looks at of a server's answer."""

    @property
    def replica(self) -> Replica: ...

    def header(self, name: str) -> str | None:
        """Return the value of a header; `None` = not sent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Routing under one snapshot; only the router is made anew with each."""

    router: Router
    sessions: Sessions
    affinity: Affinity
    passage: Passage
    balancer: Balancer
    catalogues: Catalogues
    guard: Guard
    prober: Prober
    streams: Streams
    counts_calls: bool = False
    """Whether a rule reads how many calls came in a session; only then are they counted."""

    def match(self, request: Request) -> Server:
        """Return the server at the request's path. Raises: UnknownPath, BodyTooLarge by the server's own limit."""
        server = self.router.match(request)
        if len(request.body) > server.request_bytes:
            raise BodyTooLarge(detail=f"{len(request.body)} bytes; {server.name} takes {server.request_bytes}")
        return server

    async def arrive(self, request: Request, message: Message | None, *, server: Server, agent: Agent) -> Arrival:
        """Return what is asked of the server, with the agent's own session and states opened.

        Raises: Malformed and its kind, UnknownSession, InvalidState, MethodNotAllowed, StoreUnavailable.
        """
        if message is None:
            return await self._arrive_bare(request, server, agent)
        if not _is_json(request.headers.get(headers.CONTENT_TYPE, "")):
            # Browsers send other types to any site without asking it first.
            raise UnsupportedMedia
        revision = revisions.of(request.headers.get(headers.MCP_PROTOCOL_VERSION))
        headers.check_envelope(request.headers, message, revision)
        known = methods.lookup(message.method)
        # A request under a notification's name, or the other way round, is not what the rules about it were made for.
        is_odd = known is not None and known.is_notification is not message.kind.is_notification
        if is_odd or (known is not None and not known.is_sent_by(methods.Sender.AGENT, revision.era)):
            raise UnknownMethod(detail=f"{message.method} is not an agent's {message.kind.value} in {revision.version}")
        if server.pinning is not Pinning.NONE and message.method in _GUARDED:
            await self.guard.ready(server)
        session = None
        if revision.has_sessions and message.method != methods.INITIALIZE:
            session = await self._session(request, server, agent)
        subjects = methods.subjects(message)
        calls = 0
        if self.counts_calls and session is not None:
            calls = await self.sessions.calls(server, session, is_call=message.method == methods.TOOLS_CALL)
        name = subjects[0].name if len(subjects) == 1 else ""
        origin = (
            Origin(message.id, message.method, name) if message.kind.is_request and message.id is not None else None
        )
        if message.kind.is_reply:
            opened = self.passage.reply(message, server, agent=agent, session=session)
        else:
            opened = self.passage.open(message, server, agent=agent, session=session, name=name)
        return Arrival(
            http_method=request.method,
            revision=revision,
            message=opened.message,
            method=opened.method,
            subjects=subjects,
            session=session,
            origin=origin,
            bound_to=opened.bound_to,
            round=opened.round,
            once=opened.once,
            param_headers=headers.param_headers(request.headers) if revision.is_modern else {},
            holder=_holder(request, agent),
            request=request,
            calls=calls,
        )

    async def definition(
        self, request: Request, server: Server, *, agent: Agent, arrival: Arrival
    ) -> Definition | None:
        """Return the definition of what is used; `None` where none is needed or can be known.

        Raises: Hidden for a name that does not exist, HeaderMismatch where `Mcp-Param-*` differ from the arguments;
        LegacyOnly for `server/discover` where nobody knows it: which eras a server speaks is for those who may use it.
        """
        subject = arrival.subject
        if subject is None or arrival.method not in methods.USES:
            if arrival.method == methods.SERVER_DISCOVER and self.prober.is_legacy_only(server):
                raise LegacyOnly
            return None
        definition = self.catalogues.definition(server, agent, subject=subject)
        if definition is None:
            definition = await self.catalogues.resolve(server, agent, subject=subject)
        if server.pinning is not Pinning.NONE:
            await self.guard.require(server, subject, definition)
        if definition is None or not definition.param_headers or not arrival.revision.is_modern:
            return definition
        try:
            _check_params(request, arrival, definition)
        except HeaderMismatch:
            # The tool may have changed since its definition was read.
            await self.catalogues.refresh(server)
            definition = self.catalogues.definition(server, agent, subject=subject) or definition
            _check_params(request, arrival, definition)
        return definition

    def hold(self, permitted: Permitted) -> AbstractContextManager[None]:
        """Hold one of the agent's places while inside. Raises: Overloaded."""
        return self.streams.hold(permitted)

    async def claim(self, permitted: Permitted) -> tuple[Replica, ...]:
        """Return the replicas that this may be sent to now, best first.

        A reply, and a round of a multi-round call, may be sent only one time.
        Raises: InvalidState; UnknownSession if the replica that holds the session is gone; StoreUnavailable.
        """
        replicas = self.candidates(permitted)
        if permitted.arrival.once is not None:
            await self.passage.claim(permitted.arrival.once)
        return replicas

    def candidates(self, permitted: Permitted) -> tuple[Replica, ...]:
        """Return the replicas to try, best first.

        Raises: UnknownSession if the one that holds the session is gone; InvalidState if the one that gave a state is.
        """
        try:
            arrival = permitted.arrival
            return self.balancer.candidates(permitted.server, arrival.bound_to, holder=arrival.holder)
        except UnknownSession as gone:
            if permitted.session is not None:
                raise
            raise InvalidState(detail=gone.detail) from None

    async def opened(self, permitted: Permitted, reply: Answered, *, message: Message | None) -> str | None:
        """Bind the session that a successful `initialize` opened; return its id for the agent, `None` if there is none.

        A session that is not handed out is ended at its replica, whatever the reason.

        Raises: UpstreamBroken if the id cannot be used, or the revision is none of ours; OutcomeUnknown if a request
        has got no answer of its own; StoreUnavailable.
        """
        if message is None and permitted.is_request:
            self._give_back(permitted, reply, None)
            raise OutcomeUnknown(detail=f"{reply.replica.url} answered another request than it was asked")
        if not permitted.is_opening:
            return None
        shown: str | None = None
        try:
            shown = await self._opened(permitted, reply, message)
        finally:
            if shown is None:
                self._give_back(permitted, reply, message)
        return shown

    async def _opened(self, permitted: Permitted, reply: Answered, message: Message | None) -> str | None:
        replica = reply.replica
        if permitted.agent is None or message is None or not message.kind.is_result:
            return None
        version = _negotiated(message)
        if version not in revisions.REVISIONS:
            raise UpstreamBroken(detail=f"{replica.url} answered initialize with protocol version {version!r:.64}")
        session_id = reply.header(headers.MCP_SESSION_ID)
        if session_id is None:
            return None
        at = home(replica.url, permitted.server)
        session = self.sessions.made(permitted, session_id, replica=at, version=version)
        return await self.affinity.learn(session, permitted.server, permitted.agent)

    async def closed(self, permitted: Permitted) -> None:
        """Forget the session: it was ended by DELETE, or the upstream does not know it. Raises: StoreUnavailable."""
        if permitted.session is not None:
            await self.affinity.forget(permitted.session, permitted.server)

    def expect(self, message: Message, permitted: Permitted) -> Message:
        """Return a message that may come on this stream.

        Raises: Dropped for a response to anything but the stream's own request.
        """
        origin = permitted.arrival.origin
        if message.kind.is_reply and origin is not None and message.id != origin.id:
            raise Dropped("answers another request than this stream's")
        if not message.kind.is_result or not self.guard.watches(permitted.server):
            return message
        # Before anything of it is redacted: what was accepted is what servers send.
        return self.guard.sift(message, permitted)

    def leave(self, message: Message, permitted: Permitted, replica: Replica) -> Message:
        """Return a message of the server as the agent shall see it, and learn from it.

        Raises: Dropped, UpstreamBroken; see `Passage.leave`.
        """
        if message.method in _CHANGES and message.kind.is_notification:
            self.catalogues.changed(permitted.server)
        if message.kind.is_result:
            message = self._learn(message, permitted)
        return self.passage.leave(message, permitted, replica)

    def event_id(self, upstream_id: str | None, permitted: Permitted) -> str | None:
        """Return the event id that the agent sees; `None` for an event without one."""
        if upstream_id is None or permitted.arrival.revision.is_modern:
            return None
        return self.passage.seals.event_id(upstream_id, permitted.session, permitted.arrival.origin)

    async def _arrive_bare(self, request: Request, server: Server, agent: Agent) -> Arrival:
        """GET opens or resumes a stream, DELETE ends a session; the modern era knows neither."""
        if request.method not in ("GET", "DELETE"):
            raise MethodNotAllowed(headers=(("Allow", _ALLOWED),))
        revision = revisions.of(request.headers.get(headers.MCP_PROTOCOL_VERSION))
        if revision.is_modern:
            raise MethodNotAllowed(headers=(("Allow", "POST"),))
        session = await self._session(request, server, agent)
        if session is None:
            if self.affinity.are_opened_by(server):
                raise Malformed("Missing Mcp-Session-Id.")
            raise MethodNotAllowed(headers=(("Allow", "POST"),))
        if request.method == "DELETE":
            return Arrival(
                http_method="DELETE",
                revision=revision,
                session=session,
                bound_to=session.bound_to,
                holder=_holder(request, agent),
                request=request,
            )
        if "text/event-stream" not in request.headers.get("accept", ""):
            raise NotAcceptable
        last = request.headers.get(headers.LAST_EVENT_ID)
        upstream_id, origin = self.passage.seals.open_event_id(last, session) if last else (None, None)
        return Arrival(
            http_method="GET",
            revision=revision,
            session=session,
            origin=origin,
            bound_to=session.bound_to,
            last_event_id=upstream_id,
            holder=_holder(request, agent),
            request=request,
        )

    def _give_back(self, permitted: Permitted, reply: Answered, message: Message | None) -> None:
        """End a session that was opened for nobody; otherwise it would stay at its server."""
        session_id = reply.header(headers.MCP_SESSION_ID) if permitted.is_opening else None
        if session_id:
            given = _negotiated(message)
            version = given if given in revisions.REVISIONS else revisions.LATEST_LEGACY.version
            session = self.sessions.made(permitted, session_id, replica=reply.replica.url, version=version)
            self.prober.end(session, permitted.server, reply.replica)

    async def _session(self, request: Request, server: Server, agent: Agent) -> Session | None:
        session_id = request.headers.get(headers.MCP_SESSION_ID)
        return await self.affinity.find(session_id, server, agent) if session_id is not None else None

    def _learn(self, message: Message, permitted: Permitted) -> Message:
        origin = permitted.arrival.origin
        if origin is None or permitted.agent is None:
            return message
        if not self.guard.watches(permitted.server):
            self.catalogues.learn_from(message, permitted)
        return results.speakable(message) if origin.method == methods.SERVER_DISCOVER else message


def _negotiated(message: Message | None) -> str:
    """Return the protocol version that an answer to `initialize` names; empty if it names none."""
    result = message.result if message is not None and message.kind.is_result else None
    version = result.get("protocolVersion") if result is not None else None
    return version if isinstance(version, str) else ""


def _is_json(content_type: str) -> bool:
    if content_type == headers.JSON:
        return True
    media, _, parameters = content_type.lower().partition(";")
    return media.strip() == headers.JSON and parameters.replace(" ", "") in ("", "charset=utf-8", 'charset="utf-8"')


def _holder(request: Request, agent: Agent) -> str:
    """Return whom limits count: the principal, or the peer where nobody is known."""
    principal = agent.principal
    return principal.binding if principal.trust is not Trust.ANONYMOUS else peer_holder(request.peer.address)


def _check_params(request: Request, arrival: Arrival, definition: Definition) -> None:
    arguments = arrival.message.params.get("arguments") if arrival.message is not None else None
    headers.check_params(request.headers, arguments if isinstance(arguments, dict) else {}, definition.param_headers)
