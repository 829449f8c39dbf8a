"""Keeps the legacy sessions of servers with `affinity: stored`: whose each is, and which replica holds it.

Sessions go by the upstream's own id, which named agents see as it is and anonymous
ones sealed; a keyed digest of it leads to the binding in the state store, with a copy
in the process, so that the hot path asks no store. A session is learned only from a
successful `initialize`, belongs to the principal that opened it, and is never moved
to another replica.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable

import msgspec

from openmcp.errors import StoreConflict, UnknownSession
from openmcp.model.agent import Agent
from openmcp.model.decision import Permitted
from openmcp.model.server import Server
from openmcp.model.session import Session
from openmcp.state import keys
from openmcp.state.sealing import Keyring
from openmcp.state.store import ABSENT, Expected, Store, Version

MAX_ID_LENGTH = 512
"""Longest upstream session id that is taken, in characters."""

_CACHE_LIMIT = 200_000
"""Sessions remembered in the process, oldest use forgotten first; the store knows them all."""

_TOUCH_FRACTION = 0.1
"""The end of an idle session is moved at most once in this part of its idle timeout."""


class _Cached(msgspec.Struct):
    session: Session
    version: Version
    idle_timeout_s: float
    touched_at: float
    expires_at: float


class _LookUp:
    """One question to the store that is under way."""

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        self.is_ended = False
        """Whether the session was ended since the question was asked: then the answer is too old."""


class Sessions:
    """The bindings of all legacy sessions that this process has met, over the shared store."""

    def __init__(self, store: Store, keyring: Keyring, clock: Callable[[], float]) -> None:
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._cache: OrderedDict[tuple[str, str], _Cached] = OrderedDict()
        self._look_ups: set[_LookUp] = set()

    async def find(self, server: Server, session_id: str, agent: Agent) -> Session:
        """Return the session if it lives and is the agent's own.

        Raises: UnknownSession in every other case, so that nobody learns whose it is; StoreUnavailable.
        """
        now = self._clock()
        cached = self._cache.get((server.name, session_id))
        if cached is None or cached.expires_at <= now:
            cached = await self._load(server, session_id)
        session = cached.session
        if session.binding != agent.principal.binding:
            raise UnknownSession(detail="the session belongs to another principal")
        if now - cached.touched_at >= cached.idle_timeout_s * _TOUCH_FRACTION:
            await self._touch(server, cached)
        return session

    def made(self, permitted: Permitted, session_id: str, *, replica: str, version: str) -> Session:
        """Return the session that a permitted `initialize` opened at `replica`; empty = at all of them."""
        agent = permitted.agent
        return Session(
            id=session_id,
            server=permitted.server.name,
            replica=replica,
            binding=agent.principal.binding if agent is not None else "",
            version=version,
            created_at=self._clock(),
        )

    async def learn(self, server: Server, session: Session) -> None:
        """Bind a new session.

        Raises: StoreConflict if the id is bound already; StoreUnavailable.
        """
        self._remember(server, session, await self._write(server, session, ABSENT))

    async def forget(self, server: Server, session: Session) -> None:
        """End the binding: DELETE, or the upstream does not know the session any more."""
        self._cache.pop((server.name, session.id), None)
        await self._store.delete(keys.SESSIONS, self._key(server, session.id))
        # Whoever looked it up meanwhile may have found it still, and must not keep it.
        self._cache.pop((server.name, session.id), None)
        for look_up in self._look_ups:
            look_up.is_ended |= look_up.key == (server.name, session.id)

    async def calls(self, server: Server, session: Session, *, is_call: bool) -> int:
        """Return how many calls came in the session before, and count this one if it is one. Raises: StoreUnavailable.

        The count ends with the session's greatest age.
        """
        more = 1 if is_call else 0
        counted = await self._store.add(
            keys.CALLS, self._key(server, session.id), more, ttl_s=server.affinity.max_age_s
        )
        return counted - more

    def count(self) -> Counter[str]:
        """Return how many living sessions this process knows, by server. May be called from any thread."""
        now = self._clock()
        return Counter(key[0] for key, cached in tuple(self._cache.items()) if cached.expires_at > now)

    async def _load(self, server: Server, session_id: str) -> _Cached:
        self._cache.pop((server.name, session_id), None)
        if not is_usable(session_id):
            raise UnknownSession(detail="no session has such an id")
        look_up = _LookUp((server.name, session_id))
        self._look_ups.add(look_up)
        try:
            item = await self._store.get(keys.SESSIONS, self._key(server, session_id))
        finally:
            self._look_ups.discard(look_up)
        if item is None or look_up.is_ended:
            raise UnknownSession(detail="no such session")
        return self._remember(server, msgspec.msgpack.decode(item.value, type=Session), item.version)

    async def _touch(self, server: Server, cached: _Cached) -> None:
        try:
            version = await self._write(server, cached.session, cached.version)
        except StoreConflict:
            # Another process touched it, which is as good, or ended it, which the look-up tells.
            await self._load(server, cached.session.id)
        else:
            # Only what is there is changed: the session may have been ended meanwhile, and must not come back.
            now = self._clock()
            cached.version, cached.touched_at = version, now
            cached.expires_at = now + self._life(server, cached.session)
            cached.idle_timeout_s = server.affinity.idle_timeout_s
            if (server.name, cached.session.id) in self._cache:
                self._cache.move_to_end((server.name, cached.session.id))

    async def _write(self, server: Server, session: Session, version: Expected) -> Version:
        return await self._store.put(
            keys.SESSIONS,
            self._key(server, session.id),
            msgspec.msgpack.encode(session),
            ttl_s=self._life(server, session),
            if_version=version,
        )

    def _remember(self, server: Server, session: Session, version: Version) -> _Cached:
        now = self._clock()
        life = self._life(server, session)
        cached = _Cached(session, version, server.affinity.idle_timeout_s, now, now + life)
        self._cache[server.name, session.id] = cached
        self._cache.move_to_end((server.name, session.id))
        if len(self._cache) > _CACHE_LIMIT:
            self._cache.popitem(last=False)
        return cached

    def _life(self, server: Server, session: Session) -> float:
        """Return the seconds until the session ends if nobody uses it: by idleness or by age."""
        age = self._clock() - session.created_at
        return max(0.001, min(server.affinity.idle_timeout_s, server.affinity.max_age_s - age))

    def _key(self, server: Server, session_id: str) -> str:
        return keys.session_key(self._keyring.digest, server.name, session_id)


def is_usable(session_id: str) -> bool:
    """Whether the id is visible ASCII of a sane length (MCP 2025-11-25, session management)."""
    return 0 < len(session_id) <= MAX_ID_LENGTH and all("!" <= char <= "~" for char in session_id)
