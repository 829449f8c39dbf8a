"""Prints docs/reference/audit-log.md. Run it after a change: `python -m openmcp.audit.reference > …`."""

import sys
from typing import Annotated, get_args, get_origin, get_type_hints

import msgspec

from openmcp.audit import record

_HEAD = """\
# The audit log

One JSON object per line, UTF-8, version 1 of the schema. This page is made from the code
(`python -m openmcp.audit.reference`).

Files: `<dataDir>/audit/<node>-<boot>-<worker>-<n>.jsonl`, one writer each, readable by their owner only. A new part
begins when the old one has reached its size, and on SIGHUP. Readers order lines by (`ts`, `writer`, `seq`).

**Integrity.** `seq` has no gaps within a writer, also across its files. `prev` is the SHA-256 of the line before,
without its newline, so that an altered, missing, added or moved line shows at the next one. A `checkpoint` follows at
latest 1,000 lines or 60 s after the last one; a file ends with one. A file without it ended uncleanly (the process
was killed), which is not the same as broken. A checkpoint is signed (Ed25519) with the first of `keys.signing`: `sig`
is its last member, and was made over `openmcp audit checkpoint v1`, a newline, and the line without that member. The
public keys stand in `<dataDir>/keys/signing.pub`; whoever verifies should have them from there, not from the log.

**One exchange** is a request of an agent and all that came back: the `message` that was asked (`agent→gateway`), the
`decision`, each `message` that came from the server, and a last line of type `exchange` with timing and outcome. What
went out is what came in, unless a line of its own says how it was changed. A request that could not be read, or
whose sender is unknown, has only the last line; of one unknown peer at most 20 such lines are written per minute, the
others are counted in a line of type `conn`. What the edge refuses before it is an exchange (no valid HTTP, too large,
too slow, for a foreign host, beyond a limit) leaves one line of type `conn`, within the same 20. An exchange belongs
to the flow of its last line: an `initialize` does not know its session before it is answered.

**What is never written**: session ids, event ids and `requestState` (keyed digests stand for them), credentials,
`Authorization` and identity headers, `Mcp-Param-*` values, query strings. How much of a message is kept says `bodies`
of the server: `none` (not even its size), `metadata` (its size), `full`.

Control characters, bidirectional marks and other invisible characters stand as JSON escapes, so that no line can
disturb a terminal or pass for another.

**When lines cannot be written**, `audit.onFailure` decides: `block` (exchanges wait up to 5 s, then are refused),
`failClosed` (refused at once), `drop` (messages are counted in an `admin` line `lost`; decisions never: without room
for them the exchange is refused).

"""


def page() -> str:
    """Return the whole page."""
    sections = [_section("A line", record.Line)]
    sections += [
        _section(f"`{name}`", part) for name, part in _members(record.Line) if issubclass(part, msgspec.Struct)
    ]
    return _HEAD + "\n".join(sections)


def _members(struct: type[msgspec.Struct]) -> list[tuple[str, type]]:
    """Return the name in JSON and the class of each field that may be absent and has a class."""
    hints = get_type_hints(struct)
    members: list[tuple[str, type]] = []
    for name, json_name in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
        members += [(json_name, variant) for variant in get_args(hints[name]) if isinstance(variant, type)]
    return members


def _section(title: str, struct: type[msgspec.Struct]) -> str:
    doc = (struct.__doc__ or "").strip().partition("\n")[0]
    hints = get_type_hints(struct, include_extras=True)
    rows = [
        f"| `{json_name}` | {_description(hints[name])} |\n"
        for name, json_name in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)
    ]
    return f"## {title}\n\n{doc}\n\n| field | meaning |\n|---|---|\n{''.join(rows)}"


def _description(hint: object) -> str:
    if get_origin(hint) is not Annotated:
        raise TypeError("every field of a line has a description")
    [meta] = [meta for meta in get_args(hint)[1:] if isinstance(meta, msgspec.Meta)]
    return meta.description or ""


if __name__ == "__main__":
    sys.stdout.write(page())
