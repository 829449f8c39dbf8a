"""Definitions out of lists: which subject an entry is about, and the digest by which it is known."""

import hashlib
from collections.abc import Iterator

from openmcp.mcp import headers
from openmcp.mcp.definitions import canonical_text, declared
from openmcp.mcp.message import Json, canonical
from openmcp.mcp.methods import Listing, Subject
from openmcp.model.catalogue import Definition


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
    text = canonical_text(entry, listing.kind)
    schema, output = entry.get("inputSchema"), entry.get("outputSchema")
    definition = Definition(
        subject=Subject(listing.kind, name),
        digest=hashlib.sha256(text).hexdigest(),
        param_headers=headers.param_map(schema) if isinstance(schema, dict) else {},
        output_schema=canonical(output) if isinstance(output, dict) else b"",
        declared=declared(entry, listing.kind),
    )
    return definition, text
