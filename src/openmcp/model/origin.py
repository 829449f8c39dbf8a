"""Which request a stream answers: known at once for a POST, read from the sealed event id when a stream is resumed."""

from typing import NamedTuple

from openmcp.mcp.message import Id


class Origin(NamedTuple):
    """The request that an answer belongs to."""

    id: Id
    method: str
    name: str = ""
    """Tool name, prompt name or resource URI; empty where the method names nothing."""
