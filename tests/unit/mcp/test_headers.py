"""Mirrored headers agree with the body, or the request is refused; what goes on is made from the body."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmcp.errors import HeaderMismatch, HeadersTooLarge, InvalidParams, Malformed
from openmcp.mcp import headers, methods, revisions
from openmcp.mcp import message as messages
from openmcp.mcp.message import Json, JsonObject, Message
from openmcp.mcp.revisions import LATEST, LATEST_LEGACY, META_CLIENT_CAPABILITIES, META_PROTOCOL_VERSION

META: JsonObject = {META_PROTOCOL_VERSION: "2026-07-28", META_CLIENT_CAPABILITIES: {}}
MIRROR = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "a"}


def call(method: str = methods.TOOLS_CALL, **params: Json) -> Message:
    return messages.request(1, method, {"_meta": META, **(params or {"name": "a"})})


# ---------------------------------------------------------------- values


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@settings(deadline=None)
def test_value_survives_the_way_through_a_header(value: str) -> None:
    encoded = headers.encode_value(value)
    assert headers.decode_value(encoded) == value
    assert encoded.isascii()
    assert encoded == encoded.strip()


@pytest.mark.parametrize("value", ["a", "", "two words", "=?base64?", "x://a?b=c&d", "~!@#"])
def test_plain_value_goes_as_it_is(value: str) -> None:
    assert headers.encode_value(value) == value == headers.decode_value(value)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (" a", "=?base64?IGE=?="),
        ("a ", "=?base64?YSA=?="),
        ("é", "=?base64?w6k=?="),
        ("a\r\nb: c", "=?base64?YQ0KYjogYw==?="),
        ("\t", "=?base64?CQ==?="),
        ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
        ("\x7f", "=?base64?fw==?="),
    ],
)
def test_other_values_are_wrapped(value: str, encoded: str) -> None:
    assert headers.encode_value(value) == encoded
    assert headers.decode_value(encoded) == value


@pytest.mark.parametrize(
    "value",
    [
        *("a\0", "a\x1f", "a\tb", "\x7f", "é", "=?base64?%%%?=", "=?base64?YQ?=", "=?base64?YQ=?=", "=?base64?YR==?="),
        *("=?base64?/w==?=", "=?base64?Y Q==?=", "=?base64?7aCA?="),
    ],
)
def test_value_that_no_encoder_writes_is_refused(value: str) -> None:
    with pytest.raises(HeaderMismatch):
        headers.decode_value(value)


def test_markers_are_exact() -> None:
    assert headers.decode_value("=?BASE64?YQ==?=") == "=?BASE64?YQ==?="


# ---------------------------------------------------------------- envelope


AGREEING: list[tuple[dict[str, str], Message]] = [
    (MIRROR, call()),
    ({**MIRROR, "mcp-name": "=?base64?YQ==?="}, call()),
    ({**MIRROR, "mcp-method": "=?base64?dG9vbHMvY2FsbA==?="}, call()),
    ({**MIRROR, "mcp-name": "=?base64?w6k=?="}, call(name="é")),
    ({**MIRROR, "mcp-method": "tools/list", "mcp-name": "whatever"}, call("tools/list", cursor="x")),
    ({**MIRROR, "mcp-method": "resources/read", "mcp-name": "x://a"}, call("resources/read", uri="x://a")),
    ({**MIRROR, "mcp-method": "prompts/get"}, call("prompts/get", name="a")),
    ({**MIRROR, "mcp-method": "tasks/get", "mcp-name": "t1"}, call("tasks/get", taskId="t1")),
    ({"mcp-protocol-version": "2026-07-28", "mcp-method": "tasks/get"}, call("tasks/get", taskId="t1")),
    ({"mcp-protocol-version": "2026-07-28", "mcp-method": "vendor/x"}, call("vendor/x", a=1)),
    # Without a name the request is refused for that, by who reads the name.
    ({"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call"}, call(arguments={})),
    ({}, messages.notification("notifications/x")),
]

DIFFERING: list[tuple[dict[str, str], Message]] = [
    ({"mcp-method": "tools/call", "mcp-name": "a"}, call()),
    ({**MIRROR, "mcp-protocol-version": "2025-11-25"}, call()),
    ({"mcp-protocol-version": "2026-07-28", "mcp-name": "a"}, call()),
    ({"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call"}, call()),
    ({**MIRROR, "mcp-method": "tools/list"}, call()),
    ({**MIRROR, "mcp-method": "Tools/Call"}, call()),
    ({**MIRROR, "mcp-method": ""}, call()),
    ({**MIRROR, "mcp-name": "b"}, call()),
    ({**MIRROR, "mcp-name": "A"}, call()),
    ({**MIRROR, "mcp-name": "a, a"}, call()),
    ({**MIRROR, "mcp-name": "=?base64?Yg==?="}, call()),
    ({**MIRROR, "mcp-name": "=?base64?YR==?="}, call()),
    ({**MIRROR, "mcp-name": "é"}, call(name="é")),
    ({**MIRROR, "mcp-name": "1"}, call(name=1)),
    ({**MIRROR, "mcp-name": "=?base64?YQ==?="}, call(name="=?base64?YQ==?=")),
    (MIRROR, call(arguments={})),
    ({**MIRROR, "mcp-method": "resources/read"}, call("resources/read", uri="x://a", name="a")),
    ({**MIRROR, "mcp-method": "tasks/get", "mcp-name": "t2"}, call("tasks/get", taskId="t1")),
    (MIRROR, messages.request(1, "tools/call", {"name": "a", "_meta": {**META, META_PROTOCOL_VERSION: None}})),
    (MIRROR, messages.request(1, "tools/call", {"name": "a", "_meta": {**META, META_PROTOCOL_VERSION: "2099-01-01"}})),
    ({"mcp-method": "y"}, messages.notification("notifications/x")),
    (MIRROR, messages.notification("tools/call", {"_meta": {META_PROTOCOL_VERSION: "2025-11-25"}})),
]


@pytest.mark.parametrize(("present", "message"), AGREEING)
def test_agreeing_headers_pass(present: dict[str, str], message: Message) -> None:
    headers.check_envelope(present, message, LATEST)


@pytest.mark.parametrize(("present", "message"), DIFFERING)
def test_differing_headers_are_refused(present: dict[str, str], message: Message) -> None:
    with pytest.raises(HeaderMismatch):
        headers.check_envelope(present, message, LATEST)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"_meta": []},
        {"_meta": {}},
        {"_meta": {META_PROTOCOL_VERSION: "2026-07-28"}},
        {"_meta": {META_CLIENT_CAPABILITIES: {}}},
    ],
)
def test_modern_request_without_its_meta_is_refused(params: JsonObject) -> None:
    with pytest.raises(InvalidParams):
        headers.check_envelope(MIRROR, messages.request(1, "tools/call", {"name": "a", **params}), LATEST)


def test_modern_agents_do_not_reply() -> None:
    with pytest.raises(Malformed):
        headers.check_envelope(MIRROR, messages.result(1, {}), LATEST)


def test_legacy_headers_are_not_compared() -> None:
    plain = messages.request(1, "tools/call", {"name": "a"})
    headers.check_envelope({"mcp-method": "x", "mcp-name": "y"}, plain, LATEST_LEGACY)
    headers.check_envelope({}, messages.result(1, {"_meta": META}), LATEST_LEGACY)


@pytest.mark.parametrize("version", ["2026-07-28", "2099-01-01", 7])
def test_modern_meta_under_a_legacy_header_is_refused(version: Json) -> None:
    message = messages.request(1, "tools/call", {"name": "a", "_meta": {META_PROTOCOL_VERSION: version}})
    with pytest.raises(HeaderMismatch):
        headers.check_envelope({"mcp-protocol-version": "2025-11-25"}, message, LATEST_LEGACY)


# ---------------------------------------------------------------- parameters


SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "limit": {"type": "integer", "x-mcp-header": "Limit"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry-Run"},
        "where": {"type": "object", "properties": {"zone": {"type": "string", "x-mcp-header": "Zone"}}},
        "anything": True,
        "plain": {"type": "string", "default": {"x-mcp-header": "No"}},
    },
}
MAP = {
    "Mcp-Param-Region": ("region",),
    "Mcp-Param-Limit": ("limit",),
    "Mcp-Param-Dry-Run": ("dry",),
    "Mcp-Param-Zone": ("where", "zone"),
}


def test_declared_headers_are_found_along_properties() -> None:
    assert headers.param_map(SCHEMA) == MAP
    assert headers.param_map({}) == {}


@pytest.mark.parametrize(
    "bad",
    [
        {"x-mcp-header": "Root", "type": "string"},
        {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "object", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": ["string", "null"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": ""}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "A B"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "A\r\nX: y"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": 1}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "H"}, "b": {"type": "string", "x-mcp-header": "h"}}},
        {"properties": {"a": {"items": {"type": "string", "x-mcp-header": "A"}}}},
        {"properties": {"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}}},
        {"$defs": {"d": {"type": "string", "x-mcp-header": "A"}}},
        {"items": {"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}},
    ],
)
def test_one_bad_annotation_spoils_the_whole_map(bad: JsonObject) -> None:
    properties: JsonObject = {"ok": {"type": "string", "x-mcp-header": "Ok"}}
    more = bad.get("properties")
    schema: JsonObject = {**bad, "properties": {**properties, **(more if isinstance(more, dict) else {})}}
    assert headers.param_map(schema) == {}


PARAMS_AGREE: list[tuple[dict[str, str], JsonObject]] = [
    ({}, {}),
    ({}, {"region": None, "where": {}}),
    ({"mcp-param-region": "eu"}, {"region": "eu"}),
    ({"mcp-param-region": "=?base64?w6k=?="}, {"region": "é"}),
    ({"mcp-param-region": ""}, {"region": ""}),
    ({"mcp-param-limit": "42"}, {"limit": 42}),
    ({"mcp-param-limit": "42.0"}, {"limit": 42}),
    ({"mcp-param-limit": "42"}, {"limit": 42.0}),
    ({"mcp-param-limit": "-7"}, {"limit": -7}),
    ({"mcp-param-limit": "0"}, {"limit": -0.0}),
    ({"mcp-param-limit": "9007199254740993"}, {"limit": 9007199254740993}),
    ({"mcp-param-limit": "1.5"}, {"limit": 1.5}),
    ({"mcp-param-dry-run": "true"}, {"dry": True}),
    ({"mcp-param-dry-run": "false"}, {"dry": False}),
    ({"mcp-param-zone": "a"}, {"where": {"zone": "a"}}),
    ({"mcp-param-other": "x"}, {}),
    ({}, {"region": ["eu"]}),
]
PARAMS_DIFFER: list[tuple[dict[str, str], JsonObject]] = [
    ({"mcp-param-region": "eu"}, {}),
    ({"mcp-param-region": "null"}, {"region": None}),
    ({}, {"region": "eu"}),
    ({}, {"region": ""}),
    ({"mcp-param-region": "us"}, {"region": "eu"}),
    ({"mcp-param-region": "EU"}, {"region": "eu"}),
    ({"mcp-param-region": "eu, us"}, {"region": "eu"}),
    ({"mcp-param-region": "=?base64?!?="}, {"region": "eu"}),
    ({"mcp-param-region": "eu"}, {"region": ["eu"]}),
    ({"mcp-param-limit": "43"}, {"limit": 42}),
    ({"mcp-param-limit": "42.1"}, {"limit": 42}),
    ({"mcp-param-limit": "4.2e1"}, {"limit": 42}),
    ({"mcp-param-limit": "9007199254740992"}, {"limit": 9007199254740993}),
    ({"mcp-param-limit": "-42"}, {"limit": 42}),
    ({"mcp-param-limit": "1"}, {"limit": True}),
    ({"mcp-param-dry-run": "True"}, {"dry": True}),
    ({"mcp-param-dry-run": "1"}, {"dry": True}),
    ({"mcp-param-zone": "a"}, {"where": "a"}),
    ({"mcp-param-region": "42"}, {"region": "42.0"}),
]


@pytest.mark.parametrize(("present", "arguments"), PARAMS_AGREE)
def test_agreeing_parameters_pass(present: dict[str, str], arguments: JsonObject) -> None:
    headers.check_params(present, arguments, MAP)


@pytest.mark.parametrize(("present", "arguments"), PARAMS_DIFFER)
def test_differing_parameters_are_refused(present: dict[str, str], arguments: JsonObject) -> None:
    with pytest.raises(HeaderMismatch):
        headers.check_params(present, arguments, MAP)


def test_parameters_are_bounded_before_they_are_decoded() -> None:
    with pytest.raises(HeadersTooLarge):
        headers.param_headers({f"mcp-param-{index}": "" for index in range(headers.PARAM_COUNT + 1)})
    with pytest.raises(HeadersTooLarge):
        headers.param_headers({"mcp-param-a": "x" * headers.PARAM_BYTES})


# ---------------------------------------------------------------- what goes on


def test_headers_that_go_on_are_made_from_the_message() -> None:
    message = call(name="é", arguments={"region": "eu ", "limit": 10**20, "dry": False, "where": {"zone": None}})
    assert headers.routing_headers(message, LATEST, MAP, {"mcp-param-region": "evil", "mcp-param-other": "x"}) == (
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "=?base64?w6k=?="),
        ("Mcp-Param-Region", "=?base64?ZXUg?="),
        ("Mcp-Param-Limit", "100000000000000000000"),
        ("Mcp-Param-Dry-Run", "false"),
        ("mcp-param-other", "x"),
    )


def test_modern_exchange_without_a_message_names_its_version_alone() -> None:
    assert headers.routing_headers(None, LATEST) == (("MCP-Protocol-Version", "2026-07-28"),)


def test_headers_that_go_on_agree_with_their_message() -> None:
    for message in (call(), call("tasks/get", taskId="t é"), call("resources/read", uri="x://a"), call("tools/list")):
        made = {name.lower(): value for name, value in headers.routing_headers(message, LATEST)}
        headers.check_envelope(made, message, LATEST)


def test_unknown_parameter_that_cannot_be_decoded_does_not_go_on() -> None:
    with pytest.raises(HeaderMismatch):
        headers.routing_headers(call(), LATEST, {}, {"mcp-param-x": "é"})


def test_legacy_message_has_no_mirror() -> None:
    version = (("MCP-Protocol-Version", "2025-11-25"),)
    assert headers.routing_headers(call(), LATEST_LEGACY, MAP, {"mcp-param-x": "1"}) == version
    assert headers.routing_headers(None, LATEST_LEGACY) == version
    assert headers.routing_headers(messages.request(1, "initialize", {}), LATEST_LEGACY) == ()
    assert headers.routing_headers(call(), revisions.WITHOUT_HEADER) == ()
