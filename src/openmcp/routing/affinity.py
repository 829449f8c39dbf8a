"""Finds the session behind the id that an agent sends, and makes the id that an agent sees, in the mode of its server.

`stored`: agents see the server's own id, anonymous ones see it sealed, and the state store knows the rest. `sealed`,
`hash` and `none`: the id itself is sealed and says everything, so that no store is asked and any node that has the key
can serve it. Called by `Routing`.
"""

from collections import OrderedDict

from openmcp.errors import StoreConflict, UnknownSession, UpstreamBroken
from openmcp.model.agent import Agent, Trust
from openmcp.model.server import AffinityMode, Server
from openmcp.model.session import Session
from openmcp.routing.seals import Seals
from openmcp.routing.sessions import Sessions, is_usable

_STORED, _NONE = AffinityMode.STORED, AffinityMode.NONE
_ENDED_LIMIT = 10_000
"""Ended sessions with sealed ids remembered in the process, oldest forgotten first; their servers know them all."""


class Affinity:
    """The sessions of all servers, kept or sealed."""

    def __init__(self, sessions: Sessions, seals: Seals) -> None:
        self._sessions = sessions
        self._seals = seals
        self._openers: set[str] = set()
        self._ended: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    async def find(self, text: str, server: Server, agent: Agent) -> Session:
        """Return the session if it lives and is the agent's own.

        Raises: UnknownSession in every other case, so that nobody learns whose it is; StoreUnavailable.
        """
        if server.affinity.mode is not _STORED:
            session = self._seals.open_bound_session_id(text, server, agent)
            if self._ended and _key(session) in self._ended:
                raise UnknownSession(detail="the session was ended")
            self._openers.add(server.name)
            return session
        if agent.principal.trust is Trust.ANONYMOUS:
            text = self._seals.open_session_id(text, server)
        session = await self._sessions.find(server, text, agent)
        self._openers.add(server.name)
        return session

    async def learn(self, session: Session, server: Server, agent: Agent) -> str:
        """Bind a new session, and return the id that its agent shall see.

        Raises: UpstreamBroken if the server's id cannot be used, or is bound already; StoreUnavailable.
        """
        if not is_usable(session.id):
            raise UpstreamBroken(detail="the session id of the upstream is too long or not visible ASCII")
        if server.affinity.mode is _STORED:
            shown = await self._stored(session, server, agent)
        else:
            # A server that begins an id anew has ended the old one.
            self._ended.pop(_key(session), None)
            shown = self._seals.bound_session_id(session, server)
        self._openers.add(server.name)
        return shown

    async def forget(self, session: Session, server: Server) -> None:
        """End the session: DELETE, or the server does not know it any more. Raises: StoreUnavailable."""
        if server.affinity.mode is _STORED:
            await self._sessions.forget(server, session)
            return
        self._ended[_key(session)] = None
        if len(self._ended) > _ENDED_LIMIT:
            self._ended.popitem(last=False)

    def are_opened_by(self, server: Server) -> bool:
        """Whether this server is known to open sessions."""
        return server.name in self._openers

    async def _stored(self, session: Session, server: Server, agent: Agent) -> str:
        try:
            await self._sessions.learn(server, session)
        except StoreConflict:
            # Two agents would share it: nobody keeps what the server mixed up.
            raise UpstreamBroken(detail=f"{session.replica} gave a session id that is bound already") from None
        # All anonymous agents are one principal, so their ids must not be there to guess.
        return self._seals.session_id(session.id, server) if agent.principal.trust is Trust.ANONYMOUS else session.id


def home(replica: str, server: Server) -> str:
    """Return the replica that a new session is bound to; empty where the replicas share their sessions."""
    return "" if server.affinity.mode is _NONE else replica


def _key(session: Session) -> tuple[str, str, str]:
    return (session.server, session.replica, session.id)
