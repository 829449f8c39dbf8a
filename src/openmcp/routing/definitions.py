"""Definitions out of lists: which subject an entry is about, and the digest by which it is known.

The digest is the SHA-256 of the canonical entry: compact JSON with sorted keys, numbers
and texts as sent, without `_meta`. Of a resource, what tells of its content instead of
what it is (`size`, `annotations.lastModified`) is left out too.
"""

import hashlib
from collections.abc import Iterator

from openmcp.mcp import headers
from openmcp.mcp.message import Json, JsonObject, canonical
from openmcp.mcp.methods import Listing, Subject, SubjectKind
from openmcp.model.catalogue import Definition

DECLARED_BYTES = 1024
"""What is kept of a tool's `annotations`."""


def definitions(listing: Listing, result: Json) -> Iterator[Definition]:
    """Yield the definitions in a list result; entries without a name are passed over."""
    return (definition for definition, _ in entries(listing, result))


def entries(listing: Listing, result: Json) -> Iterator[tuple[Definition, bytes]]:
    """Yield the same, each with the canonical text of which its digest was made."""
    listed = result.get(listing.key) if isinstance(result, dict) else None
    for entry in listed if isinstance(listed, list) else ():
        found = described(listing, entry)
        if found is not None:
            yield found


def described(listing: Listing, entry: Json) -> tuple[Definition, bytes] | None:
    """Return the definition in an entry of a list, and its canonical text; `None` where it has no name."""
    name = entry.get(listing.name_field) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str):
        return None
    text = canonical(_stable(entry, listing.kind))
    schema, output = entry.get("inputSchema"), entry.get("outputSchema")
    definition = Definition(
        subject=Subject(listing.kind, name),
        digest=hashlib.sha256(text).hexdigest(),
        param_headers=headers.param_map(schema) if isinstance(schema, dict) else {},
        output_schema=canonical(output) if isinstance(output, dict) else b"",
        declared=_declared(entry) if listing.kind is SubjectKind.TOOL else {},
    )
    return definition, text


def _declared(entry: JsonObject) -> JsonObject:
    """Return what a tool says of itself to programs: plain values, as far as they are few."""
    said = entry.get("annotations")
    if not isinstance(said, dict):
        return {}
    plain: JsonObject = {key: value for key, value in said.items() if isinstance(value, str | bool | int | float)}
    return plain if plain and len(canonical(plain)) <= DECLARED_BYTES else {}


def _stable(entry: JsonObject, kind: SubjectKind) -> JsonObject:
    if kind is not SubjectKind.RESOURCE:
        return {key: value for key, value in entry.items() if key != "_meta"}
    stable: JsonObject = {key: value for key, value in entry.items() if key not in ("_meta", "size")}
    notes = stable.get("annotations")
    if isinstance(notes, dict) and "lastModified" in notes:
        stable["annotations"] = {key: value for key, value in notes.items() if key != "lastModified"}
    return stable
