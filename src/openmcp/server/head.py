"""The head of a request: header fields as one mapping, and what its framing says, or a refusal.

The parser below accepts more than is safe to pass on; what it leaves open is decided
here. Used by the codecs; pure.
"""

from collections.abc import Iterable, Mapping
from itertools import chain

from openmcp.errors import BodyTooLarge, ExpectationRefused, Malformed, MethodNotAllowed, UnsupportedMedia

METHODS = {name.encode(): name for name in ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH")}
"""The methods that a handler gets to see. CONNECT and TRACE are not among them."""

_SINGLE = frozenset({
    "authorization", "content-encoding", "content-length", "content-location", "content-range", "content-type",
    "date", "expect", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range",
    "if-unmodified-since", "last-event-id", "max-forwards", "origin", "proxy-authorization", "range", "referer",
    "traceparent", "transfer-encoding", "user-agent", "x-api-key",
})  # fmt: skip
"""One value is meant: two could be read differently by us and by the one behind us."""

_SINGLE_PREFIXES = ("mcp-", "x-openmcp-")
_FREE_FORM_PREFIX = "mcp-param-"

_COMMON = (*_SINGLE, "accept", "accept-encoding", "accept-language", "baggage", "connection", "cookie", "keep-alive",
           "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id", "tracestate", "upgrade",
           "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id")  # fmt: skip
_SPELLINGS = dict(chain.from_iterable(((name.encode(), name), (name.title().encode(), name)) for name in _COMMON))


def read_fields(fields: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], frozenset[str]]:
    """Return the values by lower-case name, repeated ones joined, and the names of those.

    Names with an underscore are left out: many programs behind us read `_` as `-`, so
    `mcp_session_id` would be a second, unchecked session id.

    Raises: Malformed: a field that must be single came twice.
    """
    headers: dict[str, str] = {}
    repeated: set[str] | None = None
    has_underscore = False
    for raw_name, raw_value in fields:
        name = _SPELLINGS.get(raw_name)
        if name is None:
            name = raw_name.decode("latin-1").lower()
            if "_" in name:
                if not name.startswith(_FREE_FORM_PREFIX):
                    continue
                has_underscore = True
        value = raw_value.decode("latin-1").strip(" \t")
        if name in headers:
            repeated = repeated or set()
            repeated.add(_repeatable(name))
            value = f"{headers[name]}, {value}"
        headers[name] = value
    if has_underscore:
        _refuse_twins(headers)
    return headers, frozenset(repeated) if repeated else _NONE


def _repeatable(name: str) -> str:
    if name in _SINGLE or name.startswith(_SINGLE_PREFIXES):
        raise Malformed("A header that must be single came twice.", detail=f"repeated {name!r}")
    return name


_NONE: frozenset[str] = frozenset()


def _refuse_twins(headers: Mapping[str, str]) -> None:
    """Refuse parameters whose names differ only in `_` and `-`; such names are the tool's to choose."""
    for name in headers:
        if "_" in name and any(
            other != name and other.replace("_", "-") == name.replace("_", "-") for other in headers
        ):
            raise Malformed("Two headers have names that are too alike.", detail=f"twins of {name!r}")


def check_method(raw_method: bytes) -> str:
    """Return the method's name.

    Raises: MethodNotAllowed.
    """
    method = METHODS.get(raw_method)
    if method is None:
        raise MethodNotAllowed(headers=(("Allow", "GET, POST, DELETE"),), detail=f"method {raw_method[:32]!r}")
    return method


def check_framing(headers: Mapping[str, str], version: str, body_limit: int) -> None:
    """Return if the head says in exactly one way where the request ends, and asks for nothing unusual.

    Raises: Malformed, BodyTooLarge, UnsupportedMedia, ExpectationRefused.
    """
    if "host" not in headers and version != "1.0":
        raise Malformed("The Host header is missing.")
    length = headers.get("content-length")
    if length is not None:
        _check_length(length, body_limit)
    coding = headers.get("transfer-encoding")
    if coding is not None and (coding.lower() != "chunked" or length is not None or version == "1.0"):
        raise Malformed("The length of the body is not clear.", detail=f"transfer-encoding {coding[:64]!r}")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia()
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise ExpectationRefused()


def _check_length(length: str, limit: int) -> None:
    # The parser took it for a number; but `int` also takes what is none here, and is slow with very many digits.
    if len(length) > 18 or not length.isdecimal():
        raise Malformed("The Content-Length is not valid.")
    if int(length) > limit:
        raise BodyTooLarge(detail=f"announced {length} bytes")
