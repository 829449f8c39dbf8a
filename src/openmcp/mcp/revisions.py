"""The revisions of the protocol, and everything in which they differ.

One row per revision: a new one is one more row. Read by all who speak with agents or
servers. Knows no methods and no headers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final

from openmcp.errors import UnsupportedVersion


class Era(StrEnum):
    """The two ways of speaking, in the words of the specification."""

    LEGACY = "legacy"
    """`initialize`, sessions, requests of the server to the agent."""

    MODERN = "modern"
    """Stateless: each request describes itself."""


@dataclass(frozen=True)
class Revision:
    """One revision, and what it differs in from the others."""

    version: str
    era: Era
    has_version_header: bool = True
    """Whether `MCP-Protocol-Version` exists; without it the header's absence means this revision."""

    has_structured_content: bool = True
    has_tasks: bool = False
    """Whether requests may carry `params.task` (2025-11-25 only; later an extension)."""

    @cached_property
    def is_modern(self) -> bool:
        """Whether a disconnect cancels, no session exists and results carry `resultType`."""
        return self.era is Era.MODERN

    @cached_property
    def has_sessions(self) -> bool:
        """Whether `Mcp-Session-Id`, and ending a session by DELETE, exist."""
        return self.era is Era.LEGACY

    @property
    def has_get(self) -> bool:
        """Whether a stream is opened, and resumed, by GET."""
        return self.era is Era.LEGACY

    @property
    def unknown_method_status(self) -> int:
        """HTTP status that goes with JSON-RPC -32601."""
        return 404 if self.is_modern else 200

    @property
    def resource_not_found_code(self) -> int:
        """JSON-RPC code for a resource that does not exist; -32002 must not be used since 2026-07-28."""
        return -32602 if self.is_modern else -32002


def _table(*rows: Revision) -> Mapping[str, Revision]:
    return MappingProxyType({row.version: row for row in rows})


REVISIONS: Final = _table(
    Revision("2026-07-28", Era.MODERN),
    Revision("2025-11-25", Era.LEGACY, has_tasks=True),
    Revision("2025-06-18", Era.LEGACY),
    Revision("2025-03-26", Era.LEGACY, has_version_header=False, has_structured_content=False),
)
"""By version, newest first."""

SUPPORTED: Final = tuple(REVISIONS)
"""Versions, newest first."""

LATEST: Final = REVISIONS["2026-07-28"]
LATEST_LEGACY: Final = REVISIONS["2025-11-25"]
WITHOUT_HEADER: Final = REVISIONS["2025-03-26"]
"""What the absence of the header means (MCP 2025-06-18, Streamable HTTP, protocol version header)."""

META_PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
META_CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
META_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
META_SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"
META_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
META: Final = frozenset(
    {META_PROTOCOL_VERSION, META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_SERVER_INFO}
    | {META_SUBSCRIPTION_ID, META_LOG_LEVEL}
)
"""Members of `_meta` by which a modern message describes itself."""


def of(header: str | None) -> Revision:
    """Return the revision that a `MCP-Protocol-Version` header names; `None` = the header is absent.

    The header alone decides, as it does for servers. Raises: UnsupportedVersion.
    """
    if header is None:
        return WITHOUT_HEADER
    revision = REVISIONS.get(header)
    if revision is None:
        # The legacy revisions are not asked for by this header, but negotiated by `initialize`.
        spoken = [version for version, row in REVISIONS.items() if row.is_modern]
        raise UnsupportedVersion(data={"supported": spoken, "requested": header})
    return revision
