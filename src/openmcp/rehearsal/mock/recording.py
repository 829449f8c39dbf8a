"""What a log says that servers answered: one `Recorded` per exchange, its messages in a spool."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from openmcp.audit.reading.calls import Call
from openmcp.audit.reading.spool import Spool
from openmcp.audit.record import OutcomePart
from openmcp.mcp.message import JsonObject, Kind, Message

_decode: Final[Callable[[bytes], JsonObject]] = msgspec.json.decode


@dataclass(slots=True)
class Recorded:
    """One request that an agent made, and what it got."""

    server: str
    http_method: str
    method: str
    name: str
    version: str
    has_session: bool
    asked: int | None
    """Place of the request; `None` for GET, and where the log has no body."""

    hidden: tuple[str, ...]
    """JSONPaths of the request that the log does not have."""

    said: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """Kind and place of each message that the agent got."""

    is_redacted: bool = False
    """Whether something of an answer is not in the log."""

    is_denied: bool = False
    decision_reason: str = ""
    outcome: OutcomePart | None = None

    @property
    def has_reply(self) -> bool:
        """Whether the request was answered: a cancelled one was not."""
        return any(kind in ("result", "error") for kind, _ in self.said)


class Recording:
    """All that can be served, by server."""

    def __init__(self, calls: Iterable[Call], spool: Spool) -> None:
        self._spool = spool
        self.servers: dict[str, list[Recorded]] = {}
        self.without_body = 0
        """Exchanges that the log keeps no bodies of: there is nothing to answer with."""

        self.missing: list[str] = []
        for call in calls:
            self._take(call)

    @property
    def redacted(self) -> Sequence[Recorded]:
        """The exchanges whose answers are not in the log as they were."""
        return [one for recorded in self.servers.values() for one in recorded if one.is_redacted]

    def message(self, place: int) -> Message:
        """Return a message; its body may be changed by nobody."""
        body = _decode(self._spool.raw(place))
        return message_of(body)

    def _take(self, call: Call) -> None:
        self.missing += call.missing
        is_stream = call.http_method == "GET"
        if call.is_gateways or not call.server or (call.kind != "request" and not is_stream):
            return
        bodies = [said for said in call.said if said.body]
        if not is_stream and (not call.asked or len(bodies) < len(call.said)):
            self.without_body += 1
            return
        self.servers.setdefault(call.server, []).append(
            Recorded(
                server=call.server,
                http_method=call.http_method,
                method=call.method,
                name=call.name,
                version=call.version,
                has_session=bool(call.session),
                asked=self._spool.add(call.asked) if call.asked else None,
                hidden=call.hidden,
                said=[(said.kind, self._spool.add(said.body)) for said in bodies],
                is_redacted=any(said.is_redacted for said in bodies),
                is_denied=call.decision.startswith("deny"),
                decision_reason=call.reason,
                outcome=call.outcome,
            )
        )


def message_of(body: JsonObject) -> Message:
    """Return a message that the gateway has read or written before; nothing is checked again."""
    method, id = body.get("method"), body.get("id")
    known = id if isinstance(id, str | int) else None
    if isinstance(method, str):
        return Message(Kind.NOTIFICATION if known is None else Kind.REQUEST, method, known, body)
    return Message(Kind.RESULT if "result" in body else Kind.ERROR, "", known, body)
