"""`structuredContent` and the text beside it say the same twice: what is taken out of one is taken out of both.

MCP 2025-06-18 and later, Tools: a tool that returns structured content should return
its serialised JSON in a text block too.
"""

from enum import Enum

from openmcp.mcp.content import Path


class Side(Enum):
    """One of the twins."""

    STRUCTURED = "structured"
    TEXT = "text"

    @property
    def other(self) -> "Side":
        """The other one."""
        return Side.TEXT if self is Side.STRUCTURED else Side.STRUCTURED


def side_of(path: Path) -> Side | None:
    """Return the twin that a place belongs to; `None` = neither."""
    if path[:2] == ("result", "structuredContent"):
        return Side.STRUCTURED
    if path[:2] == ("result", "content") and path[3:] == ("text",):
        return Side.TEXT
    return None
