"""What of a listed definition is the definition: the canonical text by which it is pinned, granted and recognised.

Compact JSON with sorted keys, numbers and texts as sent, without the entry's own `_meta`. Of
a resource, what tells of its content instead of what it is (`size`,
`annotations.lastModified`) is left out too.
"""

from openmcp.mcp.message import JsonObject, canonical
from openmcp.mcp.methods import SubjectKind

DECLARED_BYTES = 1024
"""What is kept of a tool's `annotations`."""


def canonical_text(entry: JsonObject, kind: SubjectKind) -> bytes:
    """Return the text of which the digest is made (SHA-256)."""
    if kind is not SubjectKind.RESOURCE:
        return canonical({key: value for key, value in entry.items() if key != "_meta"})
    stable: JsonObject = {key: value for key, value in entry.items() if key not in ("_meta", "size")}
    notes = stable.get("annotations")
    if isinstance(notes, dict) and "lastModified" in notes:
        stable["annotations"] = {key: value for key, value in notes.items() if key != "lastModified"}
    return canonical(stable)


def declared(entry: JsonObject, kind: SubjectKind) -> JsonObject:
    """Return what a tool says of itself to programs: plain values, as far as they are few."""
    said = entry.get("annotations")
    if kind is not SubjectKind.TOOL or not isinstance(said, dict):
        return {}
    plain: JsonObject = {key: value for key, value in said.items() if isinstance(value, str | bool | int | float)}
    return plain if plain and len(canonical(plain)) <= DECLARED_BYTES else {}
