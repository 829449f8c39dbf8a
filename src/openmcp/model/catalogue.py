"""What is known of a server's tools, prompts and resources.

Read from lists by `routing/`; used for digests, header maps, metric labels, and to
answer calls to names that do not exist.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from openmcp.mcp.message import Json
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.pin import Offer


@dataclass(frozen=True, slots=True)
class Definition:
    """One listed tool, prompt, resource or resource template."""

    subject: Subject
    """Kind and name; for a template the name is the URI template."""

    digest: str
    """Hex SHA-256 over the canonical JSON of the whole entry without `_meta`."""

    param_headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Tools of 2026-07-28: header name as declared (`Mcp-Param-Region`) → path of the argument."""

    output_schema: bytes = b""
    """What a tool declares of its structured results, as JSON; empty = nothing."""

    declared: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """The server's own `annotations` of a tool, where they are few words: hints that nobody vouches for."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that a server listed, at one moment."""

    definitions: Mapping[Subject, Definition] = field(default_factory=dict[Subject, Definition])
    templates: tuple[str, ...] = ()
    """URI templates (RFC 6570) of resources."""

    complete: frozenset[SubjectKind] = frozenset()
    """Kinds whose last page was seen: a name of these kinds that is absent does not exist."""

    offers: tuple[Offer, ...] = ()
    """Of a server whose definitions are pinned: all that every replica lists. Only there until they were compared."""
