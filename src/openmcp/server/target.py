"""The request target of HTTP: path and query, or a refusal.

A path that two programs read differently is how a rule for one server is made to
miss: so only paths that have one reading pass. Used by the codecs; knows no routes.
"""

import re
from functools import lru_cache

from openmcp.errors import Malformed

# RFC 3986 §3.3: segments of pchar. What is encoded must not be a slash, a backslash, or a control character.
_PATH = re.compile(
    r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%(?!2[Ff]|5[Cc]|7[Ff]|[01][0-9A-Fa-f])[0-9A-Fa-f]{2})*", re.ASCII
)
# Any visible character but the fragment's mark: browsers and tools leave more unencoded here than the RFC allows.
_QUERY = re.compile(r"[!\"$-~]*", re.ASCII)
# Empty and dot segments, also encoded, also with parameters behind the dots.
_AMBIGUOUS = re.compile(r"//|/(?:\.|%2e){1,2}(?:[/;]|$)", re.IGNORECASE)


# Clients ask for the same few targets again and again; others push one another out.
@lru_cache(maxsize=256)
def split_target(target: bytes) -> tuple[str, str]:
    """Return path and query of an origin-form target, as they were sent.

    Raises: Malformed: any other form (RFC 9112 §3.2), a fragment, or a path with more than one reading.
    """
    path, _, query = target.decode("latin-1").partition("?")
    if _PATH.fullmatch(path) is None or _QUERY.fullmatch(query) is None or _AMBIGUOUS.search(path) is not None:
        raise Malformed("The request target is not valid.", detail=f"target {_tellable(target)!r}")
    return path, query


def _tellable(target: bytes) -> bytes:
    """Return what may be recorded of a bad target: queries, fragments and other forms may hold credentials."""
    return re.split(rb"[?#]", target, maxsplit=1)[0][:256] if target.startswith(b"/") else b"(not a path)"
