"""The headers of MCP over HTTP: their names, their encoding, and how they mirror the body.

The body decides; headers are checked against it and made anew from the message that is
sent (MCP 2026-07-28, Streamable HTTP). Used by the gateway and by routing; knows no
catalogue and no policy.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from openmcp.errors import HeaderMismatch, HeadersTooLarge, InvalidParams, Malformed
from openmcp.mcp import methods
from openmcp.mcp.message import Json, JsonObject, Message
from openmcp.mcp.revisions import META_CLIENT_CAPABILITIES, META_PROTOCOL_VERSION, REVISIONS, Revision

# In lower case, as `Request.headers` has them and as HTTP/2 sends them; no reader minds the case.
MCP_SESSION_ID: Final = "mcp-session-id"
MCP_PROTOCOL_VERSION: Final = "mcp-protocol-version"
MCP_METHOD: Final = "mcp-method"
MCP_NAME: Final = "mcp-name"
MCP_PARAM_PREFIX: Final = "mcp-param-"
LAST_EVENT_ID: Final = "last-event-id"
ACCEPT: Final = "accept"
ALLOW: Final = "allow"
CONTENT_TYPE: Final = "content-type"
CACHE_CONTROL: Final = "cache-control"
TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
BAGGAGE: Final = "baggage"
WWW_AUTHENTICATE: Final = "www-authenticate"
RETRY_AFTER: Final = "retry-after"

CANONICAL: Final[Mapping[str, str]] = {
    MCP_SESSION_ID: "Mcp-Session-Id",
    MCP_PROTOCOL_VERSION: "MCP-Protocol-Version",
    MCP_METHOD: "Mcp-Method",
    MCP_NAME: "Mcp-Name",
    MCP_PARAM_PREFIX: "Mcp-Param-",
    LAST_EVENT_ID: "Last-Event-ID",
}
"""Names as the specification spells them, for what people read."""

SINGLE: Final = frozenset({MCP_SESSION_ID, MCP_PROTOCOL_VERSION, MCP_METHOD, MCP_NAME, LAST_EVENT_ID})
"""Headers that mean one value: coming twice, two readers could take different ones."""

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"

PARAM_COUNT: Final = 64
PARAM_BYTES: Final = 16 << 10
"""Bounds on all `Mcp-Param-*` of a request, before anything of them is decoded."""

_MIRRORED: Final[Mapping[str, str]] = {
    methods.TOOLS_CALL: "name",
    methods.PROMPTS_GET: "name",
    methods.RESOURCES_READ: "uri",
}
"""Methods with `Mcp-Name`, and the member of params that it mirrors."""

_MIRRORED_IF_PRESENT: Final[Mapping[str, str]] = {
    methods.TASKS_GET: "taskId",
    methods.TASKS_UPDATE: "taskId",
    methods.TASKS_CANCEL: "taskId",
    methods.TASKS_RESULT: "taskId",
}
"""The tasks extension; some clients leave the header out."""

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})

_VERSIONS: Final = {version: (CANONICAL[MCP_PROTOCOL_VERSION], version) for version in REVISIONS}
_METHOD: Final = CANONICAL[MCP_METHOD]
_NAME: Final = CANONICAL[MCP_NAME]

_SENTINEL = re.compile(r"=\?base64\?(.*)\?=")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
_ANNOTATION: Final = "x-mcp-header"
_ANNOTATED_TYPES: Final = frozenset({"string", "integer", "boolean"})


def encode_value(value: str) -> str:
    """Return `value` as a header can carry it: plain, or `=?base64?…?=` around its UTF-8."""
    is_itself = _is_plain(value) and value[:1] != " " and value[-1:] != " "
    if is_itself and (value[:2] != "=?" or not _SENTINEL.fullmatch(value)):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode('ascii')}?="


def decode_value(value: str) -> str:
    """Return what a header's value means.

    Raises: HeaderMismatch, if it holds anything but visible ASCII, or base64 that no
    encoder writes (two texts for one value would be a way round a comparison).
    """
    if not _is_plain(value):
        raise HeaderMismatch(detail="a header holds control characters or is not ASCII")
    wrapped = _SENTINEL.fullmatch(value)
    if wrapped is None:
        return value
    try:
        decoded = base64.b64decode(wrapped[1], validate=True)
        if base64.b64encode(decoded).decode("ascii") != wrapped[1]:
            raise HeaderMismatch(detail="a header holds base64 that is not canonical")
        return decoded.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise HeaderMismatch(detail="a header holds base64 that does not decode") from None


def check_envelope(headers: Mapping[str, str], message: Message, revision: Revision) -> None:
    """Make sure that the headers and `_meta` say what the body says.

    `headers` have lower-case names. Raises: InvalidParams (`_meta` lacks what the revision
    demands), HeaderMismatch, Malformed (a reply in the modern era).
    """
    kind = message.kind
    if kind.is_reply:
        if revision.is_modern:
            raise Malformed("Replies are not part of this protocol version.")
        return
    params = message.params
    declared = params.get("_meta")
    version = declared.get(META_PROTOCOL_VERSION) if isinstance(declared, dict) else None
    if not revision.is_modern:
        # A modern message under a legacy header would be read by other rules than it was written by.
        if version is not None and version != revision.version and not _is_legacy(version):
            raise HeaderMismatch(detail="_meta names another protocol version than the header")
        return
    if kind.is_request:
        _check_meta(declared)
    # The protocol's own words are plain: where both sides say the same one there is nothing to decode.
    is_same = version == revision.version and headers.get(MCP_PROTOCOL_VERSION) == version
    if not is_same and (kind.is_request or version is not None):
        _check_equal(headers, MCP_PROTOCOL_VERSION, version)
    method = message.method
    is_same = method in methods.METHODS and headers.get(MCP_METHOD) == method
    if not is_same and (kind.is_request or MCP_METHOD in headers):
        _check_equal(headers, MCP_METHOD, method)
    _check_name(headers, method, params)


def param_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the `Mcp-Param-*` headers, names in lower case. Raises: HeadersTooLarge."""
    # Most requests have none, and one search in all names tells so.
    if MCP_PARAM_PREFIX not in "\n".join(headers):
        return {}
    found = {name: value for name, value in headers.items() if name.startswith(MCP_PARAM_PREFIX)}
    if len(found) > PARAM_COUNT or sum(len(name) + len(value) for name, value in found.items()) > PARAM_BYTES:
        raise HeadersTooLarge(detail="too many or too long Mcp-Param headers")
    return found


def check_params(headers: Mapping[str, str], arguments: JsonObject, param_map: Mapping[str, tuple[str, ...]]) -> None:
    """Make sure that each declared `Mcp-Param-*` says what its argument says. Raises: HeaderMismatch."""
    present = param_headers(headers)
    for name, path in param_map.items():
        expected, header = _argument(arguments, path), present.get(name.lower())
        if _rendered(expected) is None:
            if header is not None:
                raise HeaderMismatch(f"{name} has no argument that it mirrors.")
        elif header is None:
            raise HeaderMismatch(f"{name} is missing.")
        elif not _agrees(decode_value(header), expected):
            raise HeaderMismatch(f"{name} does not agree with the body.")


def param_map(input_schema: JsonObject) -> Mapping[str, tuple[str, ...]]:
    """Return the headers that a tool declares: name as sent → path of the argument.

    Empty if any annotation is invalid: clients that follow the specification do not use
    such a tool, and none of its headers can be relied on.
    """
    declared: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    stack: list[tuple[tuple[str, ...] | None, Json]] = [((), input_schema)]
    while stack:
        path, schema = stack.pop()
        if not isinstance(schema, dict):
            continue
        if _ANNOTATION in schema:
            token = _annotation(schema)
            if not path or token is None or token.lower() in seen:
                return {}
            seen.add(token.lower())
            declared[CANONICAL[MCP_PARAM_PREFIX] + token] = path
        stack.extend(_subschemas(path, schema))
    return declared


def routing_headers(
    message: Message | None,
    revision: Revision,
    param_map: Mapping[str, tuple[str, ...]] = _NONE,
    unknown_params: Mapping[str, str] = _NONE,
) -> tuple[tuple[str, str], ...]:
    """Return the `Mcp-*` headers that go upstream with this very message, but not the session's.

    Of `unknown_params` only those pass that `param_map` does not declare: what is declared
    is made from the arguments. In the legacy era the version is the only header, and does
    not go with `initialize`, which negotiates it. Raises: HeadersTooLarge, HeaderMismatch.
    """
    version = _VERSIONS[revision.version]
    if not revision.is_modern:
        is_negotiated = message is None or message.method != methods.INITIALIZE
        return (version,) if revision.has_version_header and is_negotiated else ()
    if message is None:
        return (version,)
    method, params = message.method, message.params
    # The protocol's own names are plain.
    made = [version, (_METHOD, method if method in methods.METHODS else encode_value(method))]
    field = _MIRRORED.get(method) or _MIRRORED_IF_PRESENT.get(method, "")
    name = params.get(field)
    if isinstance(name, str):
        made.append((_NAME, encode_value(name)))
    if param_map:
        made += _declared(params.get("arguments"), param_map)
    if unknown_params:
        made += _undeclared(unknown_params, param_map)
    return tuple(made)


def _declared(arguments: Json, param_map: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    rendered = ((name, _rendered(_argument(arguments, path))) for name, path in param_map.items())
    return [(name, encode_value(text)) for name, text in rendered if text is not None]


def _undeclared(headers: Mapping[str, str], param_map: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    declared = {name.lower() for name in param_map}
    # Encoded anew: what cannot be decoded is refused, and nothing but visible ASCII leaves.
    return [
        (name, encode_value(decode_value(value)))
        for name, value in param_headers(headers).items()
        if name not in declared
    ]


def _is_plain(text: str) -> bool:
    """Whether it holds nothing but the visible characters of ASCII, and spaces."""
    return text.isascii() and text.isprintable()


def _is_legacy(version: Json) -> bool:
    """Whether the version, wrongly put into `_meta`, is one that no reader takes for the modern era."""
    known = REVISIONS.get(version) if isinstance(version, str) else None
    return known is not None and not known.is_modern


def _check_meta(declared: Json) -> None:
    if not isinstance(declared, dict):
        raise InvalidParams("params._meta is missing.")
    if META_PROTOCOL_VERSION not in declared or META_CLIENT_CAPABILITIES not in declared:
        missing = [key for key in (META_PROTOCOL_VERSION, META_CLIENT_CAPABILITIES) if key not in declared]
        raise InvalidParams(f"params._meta lacks {', '.join(missing)}.")


def _check_equal(headers: Mapping[str, str], key: str, expected: Json) -> None:
    value = headers.get(key)
    if value is None:
        raise HeaderMismatch(f"The header {CANONICAL[key]} is missing.")
    # Most values are plain and stand for themselves.
    is_itself = value[:2] != "=?" and _is_plain(value)
    if value != expected if is_itself else decode_value(value) != expected:
        raise HeaderMismatch(f"The header {CANONICAL[key]} does not agree with the body.")


def _check_name(headers: Mapping[str, str], method: str, params: JsonObject) -> None:
    field = _MIRRORED.get(method)
    if field is not None:
        expected = params.get(field)
        # Without the name the request is refused for that; there is nothing to compare.
        if expected is not None or MCP_NAME in headers:
            _check_equal(headers, MCP_NAME, expected)
    elif method in _MIRRORED_IF_PRESENT and MCP_NAME in headers:
        _check_equal(headers, MCP_NAME, params.get(_MIRRORED_IF_PRESENT[method]))


def _annotation(schema: JsonObject) -> str | None:
    """Return the declared token; `None` = the annotation is invalid."""
    token, kind = schema[_ANNOTATION], schema.get("type")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return None
    return token if isinstance(kind, str) and kind in _ANNOTATED_TYPES else None


def _subschemas(path: tuple[str, ...] | None, schema: JsonObject) -> list[tuple[tuple[str, ...] | None, Json]]:
    """Return the schemas below, with their path where only `properties` lead to them."""
    below: list[tuple[tuple[str, ...] | None, Json]] = []
    for keyword, value in schema.items():
        if keyword == "properties" and isinstance(value, dict):
            below += [((*path, name) if path is not None else None, item) for name, item in value.items()]
        elif keyword in _SCHEMA_MAPS and isinstance(value, dict):
            below += [(None, item) for item in value.values()]
        elif keyword in _SCHEMAS:
            below += [(None, item) for item in value] if isinstance(value, list) else [(None, value)]
    return below


# JSON Schema 2020-12, §10 and §11. Data (`default`, `enum`, `examples`) are no schemas.
_SCHEMA_MAPS: Final = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})
_SCHEMAS: Final = frozenset(
    {
        *("allOf", "anyOf", "oneOf", "prefixItems", "items", "contains", "not", "if", "then", "else"),
        *("additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema"),
    }
)


def _argument(arguments: Json, path: tuple[str, ...]) -> Json:
    value = arguments
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _rendered(value: Json) -> str | None:
    """Return how a client writes an argument into a header; `None` = it sends no header."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _agrees(text: str, value: Json) -> bool:
    decimal = _DECIMAL.fullmatch(text)
    if isinstance(value, bool | str) or decimal is None:
        return text == _rendered(value)
    if isinstance(value, float) and not value.is_integer():
        return float(text) == value
    # Exact for integers of any size: `42`, `42.0` and `042` are one number.
    sign, whole, fraction = decimal.groups(default="")
    digits = whole.lstrip("0") or "0"
    expected = str(int(value)) if isinstance(value, int | float) else ""
    return not fraction.strip("0") and (f"-{digits}" if sign and digits != "0" else digits) == expected
