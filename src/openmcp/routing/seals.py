"""Values that leave the gateway sealed and come back to be opened: the protocol's own affinity.

Session ids (of anonymous agents, and of servers whose sessions no store keeps), event ids, ids of server requests
and `requestState` name the server, session or replica, the principal and the request they belong to. What does not
open, or belongs to somebody else, is refused. Event and request ids are sealed deterministically, so that a replay
gives the same ids. Pure but for the clock; the keys are the keyring's.
"""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import lru_cache

import msgspec

from openmcp.errors import Dropped, InvalidParams, InvalidState, UnknownSession, UpstreamBroken
from openmcp.mcp import message as messages
from openmcp.mcp.digests import params_digest
from openmcp.mcp.message import Id, JsonObject, Message
from openmcp.model.agent import Agent
from openmcp.model.decision import Permitted
from openmcp.model.origin import Origin
from openmcp.model.server import Replica, Server
from openmcp.model.session import Session
from openmcp.state.sealing import Keyring

STATE_LIFE_S = 3600.0
"""How long a round of a multi-round call may take, in seconds: people answer elicitations."""

_MAX_SESSION_ID = 1024
"""Longest sealed session id, in characters: one of 512 characters, the longest that is learned, takes 812."""

_OPENED_LIMIT = 10_000
"""Session ids of anonymous agents remembered as opened, oldest use forgotten first."""

_MAX_EVENT_ID = 8192
"""Longest event id, in characters: it holds the upstream's id and the id and name of the request."""

_MAX_REQUEST_ID = 1024
"""Longest id of a server's request, in characters: it holds the server's own."""

_MAX_NAME = 256
"""Longer names are sealed as their keyed digest: with every event the agent would get them once more."""

_MAX_STATE = 256 << 10
"""Longest `requestState` that is opened, in characters: it holds the upstream's own."""


class _SessionId(msgspec.Struct, array_like=True, frozen=True):
    server: bytes
    upstream_id: str


class _BoundSessionId(msgspec.Struct, array_like=True, frozen=True):
    server: bytes
    replica: bytes
    """Empty = any replica knows the session."""

    binding: bytes
    upstream_id: str
    version: str
    created_at: int
    max_age_s: int


class _Event(msgspec.Struct, array_like=True, frozen=True):
    session: bytes
    upstream_id: str
    origin: tuple[Id, str, str] | None


class ServerRequest(msgspec.Struct, array_like=True, frozen=True):
    """What the sealed id of a server's request says."""

    server: bytes
    """Says whose it is where there is no session to say so."""

    session: bytes
    replica: str
    binding: bytes
    id: Id
    method: str


class State(msgspec.Struct, array_like=True, frozen=True):
    """What a sealed `requestState` says."""

    server: str
    replica: str
    binding: str
    method: str
    name: str
    params: bytes
    """Digest of the parameters that must not change between rounds."""

    round: int
    expires_at: float
    inner: str | None
    """The upstream's own state; `None` if it gave none."""

    nonce: bytes = b""
    """Makes each state another one: it may be used once, and the next call may be just the same."""


class Seals:
    """Seals and opens."""

    def __init__(self, keyring: Keyring, clock: Callable[[], float]) -> None:
        self._keyring = keyring
        self._clock = clock
        # Agents send the same id with every message. What does not open is not kept: strangers cannot fill this.
        self._open_known = lru_cache(_OPENED_LIMIT)(self._open_session_id)
        self._open_bound = lru_cache(_OPENED_LIMIT)(self._open_bound_id)
        # Replicas are named by configuration or by what it names, so this stays small.
        self._replica_key = lru_cache(_OPENED_LIMIT)(self._make_replica_key)

    def session_id(self, upstream_id: str, server: Server) -> str:
        """Return the session id that an anonymous agent sees: all share one identity, so the id alone says whose."""
        sealed = _SessionId(self._server_key(server.name), upstream_id)
        return self._keyring.seal("session-id", msgspec.msgpack.encode(sealed))

    def open_session_id(self, text: str, server: Server) -> str:
        """Return the upstream's own session id.

        Raises: UnknownSession for everything that was not sealed for this server.
        """
        return self._open_known(text, server.name)

    def _open_session_id(self, text: str, server: str) -> str:
        sealed = _opened_session_id(self._keyring, text)
        if sealed is None or sealed.server != self._server_key(server):
            raise UnknownSession(detail="the session id does not open, or belongs to another server")
        return sealed.upstream_id

    def bound_session_id(self, session: Session, server: Server) -> str:
        """Return a session id that says everything about the session, so that no store has to."""
        sealed = _BoundSessionId(
            server=self._server_key(server.name),
            replica=self._replica_key(session.replica) if session.replica else b"",
            binding=self._binding_key(session.binding),
            upstream_id=session.id,
            version=session.version,
            created_at=int(session.created_at),
            max_age_s=int(server.affinity.max_age_s),
        )
        return self._keyring.seal("bound-session", msgspec.msgpack.encode(sealed))

    def open_bound_session_id(self, text: str, server: Server, agent: Agent) -> Session:
        """Return the session that a sealed id stands for.

        Raises: UnknownSession if it was not sealed for this server and agent, has ended, or its replica is gone.
        """
        sealed = self._open_bound(text)
        if sealed.server != self._server_key(server.name):
            raise UnknownSession(detail="the session id belongs to another server")
        if sealed.binding != self._binding_key(agent.principal.binding):
            raise UnknownSession(detail="the session belongs to another principal")
        if self._clock() - sealed.created_at >= min(sealed.max_age_s, server.affinity.max_age_s):
            raise UnknownSession(detail="the session has reached its maximal age")
        return Session(
            id=sealed.upstream_id,
            server=server.name,
            replica=self._replica_of(sealed.replica, server) if sealed.replica else "",
            binding=agent.principal.binding,
            version=sealed.version,
            created_at=sealed.created_at,
        )

    def _open_bound_id(self, text: str) -> _BoundSessionId:
        opened = self._keyring.open("bound-session", text, max_chars=_MAX_SESSION_ID)
        if opened is None:
            raise UnknownSession(detail="the session id does not open")
        return msgspec.msgpack.decode(opened, type=_BoundSessionId)

    def _replica_of(self, key: bytes, server: Server) -> str:
        for replica in server.replicas:
            if self._replica_key(replica.url) == key:
                return replica.url
        raise UnknownSession(detail="its replica is gone")

    def _make_replica_key(self, url: str) -> bytes:
        return self._keyring.digest("sealed-replica", url.encode())

    def _server_key(self, server: str) -> bytes:
        return self._keyring.digest("sealed-server", server.encode())

    def _binding_key(self, binding: str) -> bytes:
        return self._keyring.digest("sealed-binding", binding.encode())

    def _brief(self, name: str) -> str:
        """Return a name of bounded length, the same for the same name; nobody can make one that looks like another."""
        if len(name) <= _MAX_NAME:
            return name
        return f"digest:{self._keyring.digest('sealed-name', name.encode()).hex()}"

    def event_id(self, upstream_id: str, session: Session | None, origin: Origin | None) -> str | None:
        """Return the event id that the agent sees; `None` for one that would be too long to come back.

        A stream cannot be resumed from an event without an id, but from the last one before it that had one.
        """
        sealed_origin = (origin.id, origin.method, self._brief(origin.name)) if origin is not None else None
        event = msgspec.msgpack.encode(_Event(_session_key(session), upstream_id, sealed_origin))
        # Looked at before it is sealed: clients and servers choose ids, and a long one comes with every event.
        if len(event) > _MAX_EVENT_ID:
            return None
        sealed = self._keyring.seal("event", event)
        return sealed if len(sealed) <= _MAX_EVENT_ID else None

    def open_event_id(self, text: str, session: Session | None) -> tuple[str, Origin | None]:
        """Return the upstream's event id and the request that its stream answers; a long name comes as its digest.

        Raises: InvalidState if it is not this session's.
        """
        opened = self._keyring.open("event", text, max_chars=_MAX_EVENT_ID)
        event = msgspec.msgpack.decode(opened, type=_Event) if opened is not None else None
        if event is None or event.session != _session_key(session):
            raise InvalidState("Unknown event id", detail="Last-Event-ID does not open, or belongs to another session")
        return event.upstream_id, Origin(*event.origin) if event.origin else None

    def request_id(self, message: Message, permitted: Permitted, replica: Replica) -> str:
        """Return the id under which a server's request reaches the agent.

        Raises: Dropped, with the answer to the server, for an id that would be too long to come back.
        """
        binding = permitted.agent.principal.binding if permitted.agent else ""
        assert message.id is not None  # a request has an id
        asked = ServerRequest(
            server=self._server_key(permitted.server.name),
            session=_session_key(permitted.session),
            replica=replica.url,
            binding=self._binding_key(binding),
            id=message.id,
            method=message.method,
        )
        sealed = self._keyring.seal("server-request", msgspec.msgpack.encode(asked))
        if len(sealed) > _MAX_REQUEST_ID:
            no = messages.error(message.id, InvalidParams.code, "The id or the method of the request is too long.")
            raise Dropped(f"the server's request has an id of {len(sealed)} characters when sealed", answer=no)
        return sealed

    def open_request_id(
        self, message_id: Id | None, session: Session | None, agent: Agent, *, server: Server
    ) -> ServerRequest:
        """Return what the id of an agent's reply stands for.

        Raises: InvalidState if the gateway never asked this, or asked somebody else.
        """
        text = message_id if isinstance(message_id, str) else ""
        opened = self._keyring.open("server-request", text, max_chars=_MAX_REQUEST_ID)
        asked = msgspec.msgpack.decode(opened, type=ServerRequest) if opened is not None else None
        expected = (self._server_key(server.name), _session_key(session), self._binding_key(agent.principal.binding))
        if asked is None or (asked.server, asked.session, asked.binding) != expected:
            raise InvalidState("Unknown request id", detail="the reply answers no request of this session")
        return asked

    def seal_state(self, result: JsonObject, permitted: Permitted, replica: Replica) -> JsonObject:
        """Return an `input_required` result whose `requestState` is sealed (added if there was none).

        Raises: UpstreamBroken if it would be too long to come back.
        """
        message = permitted.message
        assert message is not None and permitted.agent is not None  # only requests of agents have results
        inner = result.get("requestState")
        state = State(
            server=permitted.server.name,
            replica=replica.url,
            binding=permitted.agent.principal.binding,
            method=message.method,
            name=self._brief(permitted.arrival.origin.name) if permitted.arrival.origin else "",
            params=params_digest(message),
            round=permitted.arrival.round + 1,
            expires_at=self._clock() + STATE_LIFE_S,
            inner=inner if isinstance(inner, str) else None,
            nonce=secrets.token_bytes(12),
        )
        sealed = self._keyring.seal("state", msgspec.msgpack.encode(state))
        if len(sealed) > _MAX_STATE:
            raise UpstreamBroken(detail=f"{replica.url} gave a requestState of {len(sealed)} characters when sealed")
        return {**result, "requestState": sealed}

    def life_left(self, state: State) -> float:
        """Return for how many more seconds a state opens."""
        return max(0.001, state.expires_at - self._clock())

    def claim_key(self, text: str) -> str:
        """Return the key under which the state store remembers that a sealed text was used."""
        return urlsafe_b64encode(self._keyring.digest("used", text.encode())).rstrip(b"=").decode()

    def open_state(self, message: Message, server: Server, *, agent: Agent, name: str) -> tuple[Message, State | None]:
        """Return the message with the upstream's own state in it, and what the seal said; `None` without a state.

        Raises: InvalidState if it does not open, has ended, or belongs to another agent, server or call.
        """
        if "requestState" not in message.params:
            return message, None
        text = message.params["requestState"]
        opened = self._keyring.open("state", text, max_chars=_MAX_STATE) if isinstance(text, str) else None
        if opened is None:
            raise InvalidState(detail="requestState does not open")
        state = msgspec.msgpack.decode(opened, type=State)
        expected = (server.name, agent.principal.binding, message.method, self._brief(name), params_digest(message))
        if (state.server, state.binding, state.method, state.name, state.params) != expected:
            raise InvalidState(detail="requestState belongs to another agent, server or call")
        if state.expires_at <= self._clock():
            raise InvalidState(detail="requestState has expired")
        params = {key: value for key, value in message.params.items() if key != "requestState"}
        if state.inner is not None:
            params["requestState"] = state.inner
        return message.with_params(params), state


def upstream_session_id(keyring: Keyring, text: str) -> str | None:
    """Return the upstream's own id in a session id that left the gateway sealed; for whoever looks one up in a log."""
    bound = keyring.open("bound-session", text, max_chars=_MAX_SESSION_ID)
    if bound is not None:
        return msgspec.msgpack.decode(bound, type=_BoundSessionId).upstream_id
    sealed = _opened_session_id(keyring, text)
    return sealed.upstream_id if sealed is not None else None


def _opened_session_id(keyring: Keyring, text: str) -> "_SessionId | None":
    opened = keyring.open("session-id", text, max_chars=_MAX_SESSION_ID)
    return msgspec.msgpack.decode(opened, type=_SessionId) if opened is not None else None


def _session_key(session: Session | None) -> bytes:
    if session is None:
        return b""
    return hashlib.sha256(f"{session.server}\0{session.id}".encode()).digest()[:16]
