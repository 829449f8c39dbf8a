"""Pinned definitions: what a server is known to offer, and what somebody has accepted of it.

Made and kept by `routing/`; `openmcp pin` shows and accepts. A pin is a set of digests,
since replicas of one server may run different versions.
"""

from enum import Enum
from typing import NamedTuple

import msgspec

from openmcp.mcp.methods import Listing


class Pinning(Enum):
    """What happens where a server offers a definition that nobody has accepted."""

    NONE = "none"
    """Nothing is remembered."""

    WARN = "warn"
    """It is told and recorded, and goes on."""

    BLOCK = "block"
    """It is told and recorded, and neither listed nor used."""


class PinKey(NamedTuple):
    """What is pinned."""

    kind: str
    """`tool`, `prompt`, `resource` or `template`."""

    name: str
    """Name; URI of a resource; URI template of a template."""


PIN_KINDS = {"tools": "tool", "prompts": "prompt", "resources": "resource", "resourceTemplates": "template"}
"""The member of a list result → the kind of what it holds."""


def pin_key(listing: Listing, name: str) -> PinKey:
    """Return the key of an entry of a list."""
    return PinKey(PIN_KINDS[listing.key], name)


class Sight(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of a definition, and how it came to be known."""

    digest: str
    """Hex SHA-256 of the canonical definition."""

    at: float
    """Unix seconds: when it was first seen, or accepted."""

    by: str = ""
    """The replica that showed it; of an accepted one, who accepted it (`first sight`: nobody had to)."""


class Pin(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is known of one definition."""

    kind: str
    name: str
    accepted: tuple[Sight, ...] = ()
    seen: tuple[Sight, ...] = ()
    """Versions that were offered and nobody has accepted, oldest first."""

    @property
    def key(self) -> PinKey:
        """What is pinned."""
        return PinKey(self.kind, self.name)

    @property
    def state(self) -> str:
        """`accepted`, `changed` (another version was offered) or `new` (no version was ever accepted)."""
        if not self.accepted:
            return "new"
        return "changed" if self.seen else "accepted"


class Offer(NamedTuple):
    """A definition as a replica listed it."""

    key: PinKey
    digest: str
    text: bytes
    """Canonical JSON, of which the digest was made."""

    replica: str = ""


class Change(Enum):
    """What has happened to a definition."""

    NEW = "new"
    """It is offered, and no version of it was ever accepted."""

    CHANGED = "changed"
    """Another version is offered than the accepted ones."""

    ACCEPTED = "accepted"
    """Somebody has accepted a version."""


class PinEvent(NamedTuple):
    """What people who watch a server's definitions want to know."""

    server: str
    change: Change
    key: PinKey
    digest: str
    by: str
    """The replica that offers it, or who has accepted it."""

    is_held: bool = False
    """Whether it is kept from agents."""
