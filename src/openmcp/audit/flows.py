"""`Flows`: what a person replays as one.

In the legacy era the session; else what one principal does on one server without a long
pause. Used by the recorder only. Raw session ids are bearer secrets: they are looked up
here and leave as keyed digests.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Final

IDLE_S: Final = 300.0
_CAPACITY: Final = 20_000
"""Entries of each table; the oldest go first. A lost flow only splits in two, a lost digest is made again."""

TRACE: Final = "trace-"
"""How the name of a flow begins that is a trace."""

_MAX_CACHED_CHARS: Final = 512
"""Longer ids are no session's: they are not worth the memory."""


def keyed(hashing: Callable[[str, bytes], bytes], purpose: str, data: bytes) -> str:
    """Return the keyed digest of anything that must not be written raw; `hashing`: `Keyring.digest`."""
    return urlsafe_b64encode(hashing(purpose, data)).rstrip(b"=").decode()


def session_digest(hashing: Callable[[str, bytes], bytes], session_id: str) -> str:
    """Return the keyed digest by which records name a session."""
    return keyed(hashing, "audit-session", session_id.encode())


class Flows:
    """Names flows; called from one thread."""

    def __init__(
        self, hashing: Callable[[str, bytes], bytes], *, idle_s: float = IDLE_S, capacity: int = _CAPACITY
    ) -> None:
        self._hashing = hashing
        self._idle_ns = int(idle_s * 1e9)
        self._capacity = capacity
        self._digests: dict[str, str] = {}
        self._running: dict[tuple[str, str], tuple[str, int]] = {}
        self._links: dict[str, str] = {}

    def digest(self, session_id: str) -> str:
        """Return the keyed digest by which records name a session."""
        digest = self._digests.get(session_id)
        if digest is None and len(session_id) > _MAX_CACHED_CHARS:
            return session_digest(self._hashing, session_id)
        if digest is None:
            if len(self._digests) >= self._capacity:
                del self._digests[next(iter(self._digests))]
            digest = self._digests[session_id] = session_digest(self._hashing, session_id)
        return digest

    def secret(self, purpose: str, data: bytes) -> str:
        """Return the keyed digest of anything that must not be written raw."""
        return keyed(self._hashing, purpose, data)

    def of_trace(self, binding: str, trace: str) -> str:
        """Return the flow of a trace: that of one principal, so that nobody joins another's by naming its trace."""
        # A NUL is in no trace id, so no two pairs run together.
        return TRACE + self.secret("audit-trace", f"{binding}\0{trace}".encode())

    def link(self, links: Iterable[str], flow: str) -> None:
        """Remember that whoever presents one of these goes on with the flow."""
        for link in links:
            if len(self._links) >= self._capacity:
                del self._links[next(iter(self._links))]
            self._links[link] = flow

    def linked(self, links: Iterable[str]) -> str:
        """Return the flow that goes on with one of these; empty if none does."""
        return next((self._links[link] for link in links if link in self._links), "")

    def of_principal(self, binding: str, server: str, *, exchange: str, now_ns: int) -> str:
        """Return the flow of an exchange without a session; the first one gives it its name."""
        key = (binding, server)
        # Taken out and put back, so that the first entry is always the one idle for longest.
        flow, last_ns = self._running.pop(key, (exchange, now_ns))
        if now_ns - last_ns > self._idle_ns:
            flow = exchange
        if len(self._running) >= self._capacity:
            del self._running[next(iter(self._running))]
        self._running[key] = (flow, now_ns)
        return flow
