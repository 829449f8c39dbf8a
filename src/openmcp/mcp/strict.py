"""The strict reading of JSON: one text, one meaning, within limits.

Used by `mcp.message` only. Most bodies are read by the fast way: if a value that was
decoded leniently encodes to the very bytes it came from, the text is its own canonical
form and can hide nothing (no second key of the same name, no BOM, no odd escape). Every
other body takes the slow way, which checks each of these. Both accept the same texts
with equal values; RFC 8259 and RFC 7493 decide. Knows no methods.
"""

import json
import unicodedata
from functools import cache
from typing import Final, NamedTuple, NoReturn, TypeAlias, TypeGuard, cast

import msgspec

from openmcp.errors import BatchRefused, BodyTooLarge, Malformed, NotJson, UpstreamBroken
from openmcp.mcp import revisions

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
"""Any JSON value; integers are exact."""

JsonObject: TypeAlias = dict[str, Json]


class ParseLimits(NamedTuple):
    """Bounds that hold before any value is built, because values cost up to twenty times their text."""

    depth: int = 64
    """Arrays and objects inside one another."""

    nodes: int = 100_000
    """Commas and containers, which bound the number of values."""

    keys_per_object: int = 10_000


DEFAULT_LIMITS = ParseLimits()

UPSTREAM_DEPTH = 256
"""Depth of a server's message: what is read must also be walked and written without deep recursion."""

UPSTREAM_NODES = 1_000_000
"""Commas and containers of a server's message: a list may be long, and reading it must not hold the loop for long."""

INTEGER_DIGITS = 400
"""Longest integer: more than a float's range has, or any key. Reading and writing one takes quadratic time."""

ID_CHARS = 1024
"""Longest id of a request: ids are kept, sealed and sent back."""

ID_LIMIT = 2**63
"""Ids that are integers are below it, and not below its negative: what 64 bits hold."""

TOP_LEVEL = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})

PARAMS = frozenset(
    {
        *("_meta", "argument", "arguments", "capabilities", "clientInfo", "context", "cursor", "inputResponses"),
        *("level", "message", "name", "notifications", "progress", "progressToken", "protocolVersion", "reason"),
        *("ref", "requestId", "requestState", "status", "statusMessage", "task", "taskId", "taskIds", "total", "uri"),
    }
)
"""Members of `params` that the protocol gives a meaning to, in all revisions."""

RESULT = frozenset(
    {
        *("_meta", "cacheScope", "content", "inputRequests", "isError", "nextCursor", "prompts", "protocolVersion"),
        *("requestState", "resourceTemplates", "resources", "resultType", "structuredContent", "supportedVersions"),
        *("tools", "ttlMs"),
    }
)
"""Members of a result that are decided on, changed, or there in most of them."""

ERROR = frozenset({"code", "message", "data"})
"""Members of an error."""

WITHIN_PARAMS: Final = {
    "ref": frozenset({"type", "name", "uri", "title"}),
    "notifications": frozenset(
        {"toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds"}
    ),
    "_meta": frozenset(
        {"progressToken", "traceparent", "tracestate", "baggage", *revisions.META},
    ),
}
"""The same, of the members of `params` in which subjects, URIs and the revision are named."""


def value(raw: bytes, limits: ParseLimits = DEFAULT_LIMITS) -> Json:
    """Return the only value that `raw` can mean. Raises: NotJson, Malformed, BodyTooLarge."""
    depth, nodes, keys = limits
    brackets = _openings(raw)
    # Counts that include the insides of strings are only too high. A short text cannot break the other two limits.
    is_plain = brackets <= depth and (
        (len(raw) <= nodes and len(raw) <= 4 * keys)
        or (raw.count(b",") + brackets <= nodes and raw.count(b":") <= keys)
    )
    if not is_plain:
        is_plain = _check_shape(raw, limits)
    if is_plain and not _has_long_number(raw):
        try:
            decoded: Json = _decode(raw)
            if _encode(decoded) == raw:
                return decoded
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    return slow_value(raw, limits)


def slow_value(raw: bytes, limits: ParseLimits = DEFAULT_LIMITS) -> Json:
    """Return the value of a text within the limits of shape, checking one by one what could hide in it."""
    try:
        text = raw.decode("utf-8")
        decoded = json.JSONDecoder(
            object_pairs_hook=_Pairs(limits).build,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_no_constant,
        ).decode(text)
        # Escapes can spell half a surrogate pair, which is no character and which UTF-8 cannot carry.
        _encode(decoded)
    except UnicodeError as fault:
        raise NotJson(detail=f"not Unicode: {fault.__class__.__name__}") from None
    except (ValueError, RecursionError) as fault:
        raise NotJson(detail=str(fault)[:200]) from None
    return cast("Json", decoded)


def envelope(decoded: Json) -> JsonObject:
    """Return the value as one JSON-RPC message of an agent. Raises: BatchRefused, Malformed."""
    if isinstance(decoded, list):
        raise BatchRefused
    if not isinstance(decoded, dict):
        raise Malformed(detail="the body is not an object")
    if not TOP_LEVEL.issuperset(decoded):
        raise Malformed(detail="a member at the top level is none of JSON-RPC's")
    if decoded.get("jsonrpc") != "2.0":
        raise Malformed(detail="jsonrpc is not 2.0")
    if not is_id(decoded.get("id")) and ("id" in decoded or "method" not in decoded):
        raise Malformed(detail="the id is neither a short string nor an integer of 64 bits")
    if "method" in decoded:
        _check_call(decoded)
    else:
        _check_reply(decoded)
    return decoded


def is_id(value: Json) -> TypeGuard[str | int]:
    """Return whether a value can be the id of a request."""
    if type(value) is int:
        return -ID_LIMIT <= value < ID_LIMIT
    return type(value) is str and len(value) <= ID_CHARS


def upstream_value(raw: bytes) -> Json:
    """Return the value that a server sent; the last of equal keys counts. Raises: UpstreamBroken."""
    try:
        brackets = _openings(raw)
        # Counts that include the insides of strings are only too high.
        if brackets > UPSTREAM_DEPTH or (len(raw) > UPSTREAM_NODES and brackets + raw.count(b",") > UPSTREAM_NODES):
            _check_shape(raw, _UPSTREAM_LIMITS)
        if _has_long_number(raw) and _has_long_number(_MARK.join(_outside_strings(_unescaped(raw, UPSTREAM_NODES)))):
            raise Malformed("A number has too many digits.")
        return cast("Json", _decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Malformed, BodyTooLarge) as fault:
        raise UpstreamBroken(detail=f"the message is not JSON: {str(fault)[:200]}") from None


_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

_STRUCTURAL = b'"{}[],:'
_NOT_STRUCTURAL = bytes(sorted(set(range(256)) - set(_STRUCTURAL)))
_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
_MARK = b'"'
_DIGITS = b"0123456789"
_AS_ZEROS = bytes(ord("0") if byte in _DIGITS else ord(" ") for byte in range(256))
_TOO_MANY = "The message has too many values."
_LONG_NUMBER = b"0" * (INTEGER_DIGITS + 1)
_UPSTREAM_LIMITS = ParseLimits(UPSTREAM_DEPTH, UPSTREAM_NODES, UPSTREAM_NODES)


def _openings(raw: bytes) -> int:
    """Return how many brackets open, also within strings. Where they are few, removing is much faster than counting."""
    return len(raw) - len(raw.replace(b"{", b"").replace(b"[", b""))


def _check_shape(raw: bytes, limits: ParseLimits) -> bool:
    """Return whether no object can have too many keys. Raises: NotJson, Malformed, BodyTooLarge."""
    marked = _unescaped(raw, limits.nodes).translate(None, _NOT_STRUCTURAL)
    structure = b"".join(_outside_strings(marked))
    commas, brackets = structure.count(b","), structure.translate(_AS_ARRAYS, b",:")
    if commas + len(brackets) // 2 > limits.nodes:
        raise BodyTooLarge(_TOO_MANY)
    _check_depth(brackets, limits.depth)
    return structure.count(b":") <= limits.keys_per_object


def _unescaped(raw: bytes, nodes: int) -> bytes:
    """Return the text with no quotation mark but those that begin and end strings. Raises: BodyTooLarge.

    A backslash stands only inside strings: without the escaped backslashes, and then the
    escaped quotation marks, each remaining mark begins or ends a string.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Each comma or container comes with two strings at most: far too many need not be looked at.
    if raw.count(_MARK) > 4 * (nodes + 1):
        raise BodyTooLarge(_TOO_MANY)
    return raw


def _outside_strings(marked: bytes) -> list[bytes]:
    return marked.split(_MARK)[::2]


def _has_long_number(raw: bytes) -> bool:
    """Return whether more digits than an integer may have stand in a row, also within strings."""
    # Wherever such a row stands, one of these bytes belongs to it; mostly there are few, and none is a digit.
    sample = raw[INTEGER_DIGITS :: INTEGER_DIGITS + 1]
    if not sample or len(sample.translate(None, _DIGITS)) == len(sample):
        return False
    return _LONG_NUMBER in raw.translate(_AS_ZEROS)


def _check_depth(brackets: bytes, depth: int) -> None:
    """Peel the innermost pairs off, once per level. Raises: NotJson, Malformed."""
    if brackets.count(b"[") != brackets.count(b"]"):
        raise NotJson(detail="brackets do not match")
    for _ in range(depth):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise Malformed("The message is nested too deeply.")


class _Pairs:
    """Builds objects, refusing a name that comes twice (RFC 7493 §2.3)."""

    def __init__(self, limits: ParseLimits) -> None:
        self._most = limits.keys_per_object

    def build(self, pairs: list[tuple[str, Json]]) -> JsonObject:
        if len(pairs) > self._most:
            raise BodyTooLarge("An object in the request body has too many members.")
        built = dict(pairs)
        if len(built) != len(pairs):
            raise ValueError("a name occurs twice in an object")
        return built


def _integer(text: str) -> int:
    # The bound is ours, not the interpreter's, which an environment variable can lift.
    if len(text) - text.startswith("-") > INTEGER_DIGITS:
        raise ValueError("an integer has too many digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is out of range")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_call(body: JsonObject) -> None:
    method, params = body["method"], body.get("params")
    if not isinstance(method, str) or not method:
        raise Malformed(detail="the method is not a name")
    if "result" in body or "error" in body:
        raise Malformed(detail="a message is a call or a reply, not both")
    if isinstance(params, dict):
        if not PARAMS.issuperset(params):
            _check_lookalikes(params, _KNOWN, _FOLDED)
        for member, known, lookalikes in _WITHIN:
            inner = params.get(member)
            if isinstance(inner, dict) and not known.issuperset(inner):
                _check_lookalikes(inner, known, lookalikes)
    elif "params" in body:
        raise Malformed(detail="params is not an object")


def _check_reply(body: JsonObject) -> None:
    if ("result" in body) == ("error" in body):
        raise Malformed(detail="a reply has either a result or an error")
    if "params" in body:
        raise Malformed(detail="a reply has no params")
    if not isinstance(body.get("result", body.get("error")), dict):
        raise Malformed(detail="a result, or an error, is an object")


def _check_lookalikes(holder: JsonObject, known: frozenset[str], lookalikes: frozenset[str]) -> None:
    """Refuse names that a lenient reader takes for the protocol's (CVE-2026-27896)."""
    for key in holder:
        if key not in known and folded(key) in lookalikes:
            raise Malformed(detail="a member of params looks like one of the protocol's and is not")


def without_lookalikes(holder: JsonObject, names: frozenset[str]) -> JsonObject:
    """Return what a server sent without names that a lenient agent takes for `names`, which are what is decided on."""
    if names.issuperset(holder):
        return holder
    lookalikes = _lookalikes(names)
    dropped = [key for key in holder if key not in names and folded(key) in lookalikes]
    return {key: item for key, item in holder.items() if key not in dropped} if dropped else holder


@cache
def _lookalikes(names: frozenset[str]) -> frozenset[str]:
    return frozenset(map(folded, names))


def folded(name: str) -> str:
    """Return the name as a lenient reader knows it: whatever the case, the width, and underscores between words."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).replace("_", "")


_KNOWN = PARAMS | TOP_LEVEL
_FOLDED = _lookalikes(_KNOWN)
_WITHIN = tuple((member, names, _lookalikes(names)) for member, names in WITHIN_PARAMS.items())
