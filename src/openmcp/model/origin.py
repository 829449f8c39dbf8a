"""Which request a stream answers: known at once for a POST, read from the sealed event id when a stream is resumed."""

import msgspec

from openmcp.mcp.message import Id


class Origin(msgspec.Struct, frozen=True):
    """The request that an answer belongs to."""

    id: Id
    method: str
    name: str = ""
    """Tool name, prompt name or resource URI; empty where the method names nothing."""
