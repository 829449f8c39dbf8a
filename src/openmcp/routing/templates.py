"""Whether a URI can come from a URI template (RFC 6570), judged generously.

Used only to tell names that cannot exist from names that might: every expression
stands for any text, so a URI that fits here may still be unknown to the server.
"""

import re
from functools import lru_cache

_EXPRESSION = re.compile(r"\{[^{}]*\}")


@lru_cache(maxsize=4096)
def _pieces(template: str) -> tuple[str, ...]:
    return tuple(_EXPRESSION.split(template))


def fits(template: str, uri: str) -> bool:
    """Whether `uri` has the literal parts of `template`, in order.

    Linear in the length of the URI for every template: parts are searched, nothing backtracks.
    """
    first, *rest = _pieces(template)
    if not rest:
        return uri == first
    *middle, last = rest
    if not uri.startswith(first) or len(uri) < len(first) + len(last) or not uri.endswith(last):
        return False
    position, end = len(first), len(uri) - len(last)
    for piece in middle:
        found = uri.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True
