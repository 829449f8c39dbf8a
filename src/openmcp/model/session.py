"""A legacy session: whose it is and where it lives.

Learned by `routing/` from a successful `initialize` only.
"""

import msgspec


class Session(msgspec.Struct, frozen=True):
    """One `Mcp-Session-Id`, bound to the agent that opened it and the replica that holds it."""

    id: str
    """The upstream's id. A bearer secret: never recorded raw."""

    server: str
    replica: str
    """`Replica.url`; empty where the replicas share their sessions."""

    binding: str
    """`Principal.binding` of the opener."""

    version: str
    """Negotiated protocol version."""

    created_at: float
    """Unix seconds."""

    @property
    def bound_to(self) -> str | None:
        """The replica that must serve it; `None` = any."""
        return self.replica or None
