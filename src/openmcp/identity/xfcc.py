"""The nearest element of `X-Forwarded-Client-Cert`, as Envoy writes the header.

Elements stand behind one another, separated by `,`: each proxy appends its own, so that the
last is what the nearest one says. An element is `Key=value` pairs separated by `;`, a value
in quotes where it holds separators, with `\\` before a quote (Envoy, HTTP header manipulation,
"x-forwarded-client-cert"). Pure; knows nothing of whom to believe.
"""

from collections.abc import Mapping

KEYS = frozenset({"by", "hash", "cert", "chain", "subject", "uri", "dns"})

_ESCAPED_QUOTE = '\\"'


def nearest(value: str) -> Mapping[str, tuple[str, ...]]:
    """Return the pairs of the last element, with keys in lower case; a key may come several times.

    Everything before it is read as strictly: one open quote in a foreign element could swallow what stands behind.

    Raises: ValueError for anything that Envoy does not write.
    """
    found: dict[str, tuple[str, ...]] = {}
    at, end = 0, len(value)
    while True:
        key, at = _key(value, at)
        text, at = _quoted(value, at) if value.startswith('"', at) else _bare(value, at)
        found[key] = (*found.get(key, ()), text)
        if at == end:
            return found
        if value[at] == ",":
            found = {}
        elif value[at] != ";":
            raise ValueError("something follows a quoted value")
        at += 1
        # The list syntax of HTTP allows a space behind the comma that joins two lines.
        while value.startswith(" ", at):
            at += 1


def _key(value: str, at: int) -> tuple[str, int]:
    end = value.find("=", at)
    key = value[at:end].lower() if end >= 0 else ""
    if key not in KEYS:
        raise ValueError("an element does not begin with a known key")
    return key, end + 1


def _bare(value: str, at: int) -> tuple[str, int]:
    comma, semicolon = value.find(",", at), value.find(";", at)
    end = min((one for one in (comma, semicolon) if one >= 0), default=len(value))
    text = value[at:end]
    if '"' in text:
        raise ValueError("a quote stands inside a value that is not quoted")
    return text, end


def _quoted(value: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    at += 1
    while True:
        end = value.find('"', at)
        if end < 0:
            raise ValueError("a quoted value does not end")
        if not _is_escaped(value, at, end):
            parts.append(value[at:end])
            return "".join(parts), end + 1
        parts.append(value[at : end + 1].replace(_ESCAPED_QUOTE, '"'))
        at = end + 1


def _is_escaped(value: str, start: int, at: int) -> bool:
    """Whether an odd number of backslashes stands before `at`, from `start` on."""
    slashes = at
    while slashes > start and value[slashes - 1] == "\\":
        slashes -= 1
    return (at - slashes) % 2 == 1
