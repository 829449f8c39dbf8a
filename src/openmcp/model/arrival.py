"""A request of an agent as its server shall see it, and where it must go. Made by `routing/`."""

from typing import NamedTuple

import msgspec

from openmcp.mcp import methods
from openmcp.mcp.message import Message
from openmcp.mcp.methods import Subject
from openmcp.mcp.revisions import Revision
from openmcp.model.http import Request
from openmcp.model.origin import Origin
from openmcp.model.session import Session


class Once(NamedTuple):
    """A place in the state store that only the first one gets."""

    namespace: str
    key: str
    life_s: float


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, with the gateway's own seals opened."""

    http_method: str
    """`POST`, `GET` or `DELETE`."""

    revision: Revision
    message: Message | None = None
    """`None` for GET and DELETE, which carry none."""

    method: str = ""
    """What policy decides on: the message's method; for a reply, the method of the request that it answers."""

    subjects: tuple[Subject, ...] = ()
    session: Session | None = None
    origin: Origin | None = None
    """The request that the answer belongs to; `None` where none is at hand (a plain GET stream, a notification)."""

    bound_to: str | None = None
    """URL of the one replica that must serve this; `None` = any."""

    round: int = 0
    """Round of a multi-round call; 0 for its first request."""

    last_event_id: str | None = None
    """The upstream's own event id from which a stream is resumed."""

    once: Once | None = None
    """What may be sent only one time: a reply, a round of a multi-round call; claimed right before forwarding."""

    param_headers: dict[str, str] = {}
    """`Mcp-Param-*` as they came, by lower-case name; those that a tool declares are made anew of the arguments."""

    holder: str = ""
    """Whom limits count: the principal, or the peer address of an anonymous agent."""

    request: Request | None = None
    """The HTTP request; `None` for what the gateway itself asks."""

    calls: int = 0
    """Calls that came in this session before; counted only where a rule reads `session.calls`."""

    @property
    def subject(self) -> Subject | None:
        """The one subject that is accessed; `None` where there is none, or a list of them (subscriptions)."""
        subjects = self.subjects
        return subjects[0] if len(subjects) == 1 and self.method != methods.SUBSCRIPTIONS_LISTEN else None

    def answering(self, message: Message) -> "Arrival":
        """Return the way that an answer of the gateway's own takes to the same session and replica."""
        return Arrival(http_method="POST", revision=self.revision, message=message, session=self.session)
