"""Chooses the recorded exchange that answers a request.

By server, method, name and a keyed digest of what was asked (as the digests of approvals
and rounds: without progress token, trace context, state and what belongs to the
protocol); else by order among those of the same method and name. When all were served,
it begins again, so that a client can be run twice.
"""

import hmac
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from openmcp.audit.reading.changes import changed
from openmcp.audit.record import ChangePart
from openmcp.mcp.digests import params_digest
from openmcp.mcp.message import Json, Message
from openmcp.rehearsal.mock.recording import Recorded, Recording, message_of

_ROUND: Final = frozenset({"requestState", "inputResponses"})


class Found(NamedTuple):
    """An answer, and how it was found."""

    recorded: Recorded
    is_exact: bool
    """Whether just this was asked in the recording."""


@dataclass(slots=True)
class _Shelf:
    """The recorded exchanges of one method and name, in order."""

    recorded: list[Recorded] = field(default_factory=list[Recorded])
    exact: dict[bytes, list[Recorded]] = field(default_factory=dict[bytes, list[Recorded]])
    hidden: dict[tuple[str, ...], None] = field(default_factory=dict[tuple[str, ...], None])
    """Which paths the log does not have: a request is compared without them."""


Key: TypeAlias = tuple[str, str, str, bool]
"""Server, method (of a stream: `GET`), name, and whether it is a later round of a call."""


class Shelves:
    """Everything that can be answered."""

    def __init__(self, recording: Recording) -> None:
        self._key = secrets.token_bytes(32)
        self._shelves: dict[Key, _Shelf] = {}
        for server, all_of_it in recording.servers.items():
            for recorded in all_of_it:
                asked = recording.message(recorded.asked) if recorded.asked is not None else None
                self._put(server, recorded, asked)

    def find(self, server: str, method: str, name: str, asked: Message | None, turn: "Turn") -> Found | None:
        """Return the answer; `None` if nothing of the kind was recorded."""
        key = (server, method, name, _is_round(asked))
        shelf = self._shelves.get(key)
        if shelf is None:
            return None
        if asked is not None:
            for hidden in shelf.hidden:
                digest = self._digest(asked, hidden)
                same = shelf.exact.get(digest)
                if same:
                    return Found(turn.next(digest, same), is_exact=True)
        return Found(turn.next(key, shelf.recorded), is_exact=asked is None)

    def _put(self, server: str, recorded: Recorded, asked: Message | None) -> None:
        key = (server, recorded.method or recorded.http_method, recorded.name, _is_round(asked))
        shelf = self._shelves.setdefault(key, _Shelf())
        shelf.recorded.append(recorded)
        if asked is not None:
            shelf.hidden[recorded.hidden] = None
            shelf.exact.setdefault(self._digest(asked, recorded.hidden), []).append(recorded)

    def _digest(self, asked: Message, hidden: tuple[str, ...]) -> bytes:
        if hidden:
            body: Json = changed(asked.body, [ChangePart(op="removed", path=path) for path in hidden])
            asked = message_of(body) if isinstance(body, dict) else asked
        what = "\0".join((asked.method, *hidden)).encode()
        return hmac.digest(self._key, what + params_digest(asked), "sha256")


class Turn:
    """How far one client has come: each session begins the recording anew."""

    def __init__(self) -> None:
        self._served: Counter[Key | bytes] = Counter()

    def next(self, key: Key | bytes, recorded: list[Recorded]) -> Recorded:
        """Return the next of these."""
        place = self._served[key]
        self._served[key] += 1
        return recorded[place % len(recorded)]


def _is_round(asked: Message | None) -> bool:
    return asked is not None and not _ROUND.isdisjoint(asked.params)
