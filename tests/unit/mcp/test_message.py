"""What is read, what is refused, and that messages are never changed in place."""

import json

import pytest

from openmcp.errors import BatchRefused, BodyTooLarge, Malformed, NotJson, UpstreamBroken
from openmcp.mcp import message as messages
from openmcp.mcp import strict
from openmcp.mcp.message import Json, Kind, ParseLimits, canonical, encode, parse, read

CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{}}}'


def call(params: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + params.encode() + b"}"


NOT_JSON = {
    "empty": b"",
    "white space": b"  \n",
    "cut": b'{"jsonrpc":"2.0","id":1,"method":"x"',
    "trailing": CALL + b"{}",
    "two messages": CALL + b"\n" + CALL,
    "comment": b"/*x*/" + CALL,
    "trailing comma": b'{"jsonrpc":"2.0","id":1,"method":"x",}',
    "single quotes": b"{'jsonrpc':'2.0','id':1,'method':'x'}",
    "byte order mark": b"\xef\xbb\xbf" + CALL,
    "utf-16 little": CALL.decode().encode("utf-16-le"),
    "utf-16 with mark": CALL.decode().encode("utf-16"),
    "utf-32": CALL.decode().encode("utf-32"),
    "latin-1": call('{"name":"é"}').decode().encode("latin-1"),
    "overlong": b'{"jsonrpc":"2.0","id":1,"method":"\xc0\xaf"}',
    "surrogate bytes": b'{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}',
    "beyond unicode": b'{"jsonrpc":"2.0","id":1,"method":"\xf5\x80\x80\x80"}',
    "high surrogate": call('{"a":"\\ud800"}'),
    "low surrogate": call('{"a":"\\udc00"}'),
    "surrogates reversed": call('{"a":"\\udc00\\ud800"}'),
    "surrogate in key": call('{"\\ud83d":1}'),
    "NaN": call('{"a":NaN}'),
    "Infinity": call('{"a":Infinity}'),
    "-Infinity": call('{"a":-Infinity}'),
    "1e400": call('{"a":1e400}'),
    "-1e400": call('{"a":-1e400}'),
    "too long for a float": call('{"a":' + "1" * 400 + ".5}"),
    "leading zero": call('{"a":01}'),
    "leading plus": call('{"a":+1}'),
    "bare point": call('{"a":1.}'),
    "hex": call('{"a":0x10}'),
    "arabic digit": call('{"a":١}'),
    "too many digits": call('{"a":' + "9" * 401 + "}"),
    "too many digits, negative": call('{"a":-' + "9" * 401 + "}"),
    "duplicate id": b'{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}',
    "duplicate method": b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
    "duplicate by escape": b'{"jsonrpc":"2.0","id":1,"method":"ping","meth\\u006fd":"tools/call"}',
    "duplicate name": call('{"name":"a","name":"b"}'),
    "duplicate name, equal": call('{"name":"a","name":"a"}'),
    "duplicate argument": call('{"arguments":{"x":[{"y":1,"y":1}]}}'),
    "duplicate empty key": call('{"":1,"":2}'),
    "raw newline in string": call('{"a":"x\ny"}'),
    "raw NUL in string": call('{"a":"x\0y"}'),
    "NUL behind": CALL + b"\0",
    "bad escape": call('{"a":"\\x41"}'),
    "cut escape": call('{"a":"\\u00"}'),
    "form feed around": b"\f" + CALL,
    "no-break space around": b"\xc2\xa0" + CALL,
    "brackets that do not match": b"[" * 100,
}

MALFORMED = {
    "null": b"null",
    "string": b'"x"',
    "number": b"1",
    "too deep": call('{"a":' + "[" * 64 + "]" * 64 + "}"),
    "too deep in objects": call('{"a":' * 70 + "1" + "}" * 70),
    "no version": b'{"id":1,"method":"x"}',
    "version 1.0": b'{"jsonrpc":"1.0","id":1,"method":"x"}',
    "version as number": b'{"jsonrpc":2.0,"id":1,"method":"x"}',
    "unknown top-level member": b'{"jsonrpc":"2.0","id":1,"method":"x","extra":1}',
    "top-level lookalike, case": b'{"jsonrpc":"2.0","id":1,"method":"x","Method":"y"}',
    "top-level lookalike, width": '{"jsonrpc":"2.0","id":1,"method":"x","ｍethod":"y"}'.encode(),
    "id null": b'{"jsonrpc":"2.0","id":null,"method":"x"}',
    "id float": b'{"jsonrpc":"2.0","id":1.0,"method":"x"}',
    "id true": b'{"jsonrpc":"2.0","id":true,"method":"x"}',
    "id object": b'{"jsonrpc":"2.0","id":{},"method":"x"}',
    "id too big": b'{"jsonrpc":"2.0","id":9223372036854775808,"method":"x"}',
    "id too small": b'{"jsonrpc":"2.0","id":-9223372036854775809,"method":"x"}',
    "id too long": f'{{"jsonrpc":"2.0","id":"{"i" * 1025}","method":"x"}}'.encode(),
    "id of a reply too big": b'{"jsonrpc":"2.0","id":9223372036854775808,"result":{}}',
    "method missing": b'{"jsonrpc":"2.0","id":1}',
    "method null": b'{"jsonrpc":"2.0","id":1,"method":null}',
    "method empty": b'{"jsonrpc":"2.0","id":1,"method":""}',
    "method number": b'{"jsonrpc":"2.0","id":1,"method":7}',
    "params array": b'{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}',
    "params null": b'{"jsonrpc":"2.0","id":1,"method":"x","params":null}',
    "params string": b'{"jsonrpc":"2.0","id":1,"method":"x","params":"a"}',
    "call and result": b'{"jsonrpc":"2.0","id":1,"method":"x","result":{}}',
    "call and error": b'{"jsonrpc":"2.0","id":1,"method":"x","error":{}}',
    "result and error": b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
    "reply with params": b'{"jsonrpc":"2.0","id":1,"result":{},"params":{}}',
    "reply without id": b'{"jsonrpc":"2.0","result":{}}',
    "error with id null": b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
    "result null": b'{"jsonrpc":"2.0","id":1,"result":null}',
    "result list": b'{"jsonrpc":"2.0","id":1,"result":[]}',
    "error string": b'{"jsonrpc":"2.0","id":1,"error":"x"}',
    "params lookalike Name": call('{"name":"a","Name":"b"}'),
    "params lookalike alone": call('{"NAME":"b"}'),
    "params lookalike long s": call('{"argument\u017f":{}}'),
    "params lookalike kelvin": call('{"tas\u212a":{}}'),
    "params lookalike by escape": call('{"\\u004eame":"b"}'),
    "params lookalike fullwidth": call('{"ｕｒｉ":"b"}'),
    "params lookalike in bold": call('{"\U0001d40dame":"b"}'),
    "params lookalike _META": call('{"_META":{}}'),
    "params lookalike requeststate": call('{"requeststate":"x"}'),
    "params lookalike of the envelope": call('{"Method":"x"}'),
    "ref lookalike Uri": call('{"ref":{"type":"ref/resource","uri":"x://a","Uri":"x://b"}}'),
    "ref lookalike fullwidth": call('{"ref":{"type":"ref/prompt","name":"a","ｎame":"b"}}'),
    "ref lookalike TYPE": call('{"ref":{"TYPE":"ref/prompt","name":"a"}}'),
    "subscription lookalike": call('{"notifications":{"resourcesubscriptions":["x://a"]}}'),
    "subscription lookalike long s": call('{"notifications":{"reſourceSubscriptions":["x://a"]}}'),
    "subscription lookalike taskids": call('{"notifications":{"taskids":["a"]}}'),
    "meta lookalike version": call('{"_meta":{"IO.modelcontextprotocol/protocolVersion":"2026-07-28"}}'),
    "params lookalike request_state": call('{"request_state":"x"}'),
    "params lookalike meta": call('{"meta":{}}'),
    "subscription lookalike in words": call('{"notifications":{"resource_subscriptions":["x://a"]}}'),
    "subscription lookalike in wide words": call('{"notifications":{"resource＿subscriptions":["x://a"]}}'),
    "meta lookalike token": call('{"_meta":{"ProgressToken":1}}'),
}

BATCHES = {"empty": b"[]", "one": b"[" + CALL + b"]", "two": b"[" + CALL + b"," + CALL + b"]"}


@pytest.mark.parametrize("raw", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_text_that_is_not_one_json_value_is_refused(raw: bytes) -> None:
    with pytest.raises(NotJson):
        parse(raw)


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
def test_json_that_is_not_one_message_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        parse(raw)
    assert refused.value.kind == "malformed"


@pytest.mark.parametrize("raw", BATCHES.values(), ids=BATCHES.keys())
def test_batch_is_refused_as_a_batch(raw: bytes) -> None:
    with pytest.raises(BatchRefused):
        parse(raw)


ACCEPTED = {
    "call": (CALL, Kind.REQUEST, "tools/call", 1),
    "string id": (b'{"jsonrpc":"2.0","id":"a","method":"ping"}', Kind.REQUEST, "ping", "a"),
    "empty string id": (b'{"jsonrpc":"2.0","id":"","method":"ping"}', Kind.REQUEST, "ping", ""),
    "negative id": (b'{"jsonrpc":"2.0","id":-1,"method":"ping"}', Kind.REQUEST, "ping", -1),
    "biggest id": (b'{"jsonrpc":"2.0","id":9223372036854775807,"method":"ping"}', Kind.REQUEST, "ping", 2**63 - 1),
    "smallest id": (b'{"jsonrpc":"2.0","id":-9223372036854775808,"method":"ping"}', Kind.REQUEST, "ping", -(2**63)),
    "longest id": (
        f'{{"jsonrpc":"2.0","id":"{"i" * 1024}","method":"ping"}}'.encode(),
        Kind.REQUEST,
        "ping",
        "i" * 1024,
    ),
    "notification": (b'{"jsonrpc":"2.0","method":"notifications/initialized"}', Kind.NOTIFICATION, "", None),
    "result": (b'{"jsonrpc":"2.0","id":1,"result":{}}', Kind.RESULT, "", 1),
    "error": (b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}', Kind.ERROR, "", 1),
    "white space": (b' {\n"jsonrpc" : "2.0", "id": 1,\t"method":"ping"}\r\n', Kind.REQUEST, "ping", 1),
    "escapes": (b'{"jsonrpc":"2.0","id":1,"method":"p\\u0069ng"}', Kind.REQUEST, "ping", 1),
    "other keys in params": (call('{"nom":1,"ID-":2,"method":3}'), Kind.REQUEST, "x", 1),
    "other keys deeper": (
        *(call('{"ref":{"types":1},"notifications":{"x":1},"_meta":{"com.example/name":1,"Uri":2}}'), Kind.REQUEST),
        *("x", 1),
    ),
    "lookalike deeper": (call('{"arguments":{"Name":1,"NAME":2,"name":3}}'), Kind.REQUEST, "x", 1),
}


@pytest.mark.parametrize(("raw", "kind", "method", "id"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_message_is_read_as_what_it_is(raw: bytes, kind: Kind, method: str, id: messages.Id | None) -> None:
    message = parse(raw)
    assert (message.kind, message.id) == (kind, id)
    assert message.method == (method or ("notifications/initialized" if kind is Kind.NOTIFICATION else ""))
    assert message.body == json.loads(raw)


@pytest.mark.parametrize(
    "text",
    ["1e2", "-0", "0.1", "1E+2", "18446744073709551616", "-0.0", "1e-400", "9" * 400, '"\\ud83d\\ude00"', '"/\\/"'],
)
def test_values_are_kept_exactly(text: str) -> None:
    value = parse(call('{"a":' + text + "}")).params["a"]
    assert value == json.loads(text)
    assert type(value) is type(json.loads(text))


def test_what_was_read_is_what_is_written() -> None:
    spaced = parse(b'{ "jsonrpc":"2.0", "id":1, "method":"m\\u00e9", "params":{"n":1e2} }')
    assert encode(spaced) == '{"jsonrpc":"2.0","id":1,"method":"mé","params":{"n":100.0}}'.encode()
    assert encode(parse(CALL)) == CALL


@pytest.mark.parametrize("depth", [1, 5, 64])
def test_depth_is_counted_exactly_and_not_inside_strings(depth: int) -> None:
    limits = ParseLimits(depth=depth + 2)
    nested = "[" * depth + '"[[[{{{\\"[[["' + "]" * depth
    assert encode(parse(call('{"a":' + nested + "}"), limits)) == call('{"a":' + nested + "}")
    with pytest.raises(Malformed):
        parse(call('{"a":[' + nested + "]}"), limits)


def test_escaped_backslash_does_not_hide_the_end_of_a_string() -> None:
    nested = '{"a":["\\\\",' + "[" * 70 + '"\\\\"' + "]" * 70 + "]}"
    assert json.loads(nested)["a"][0] == "\\"
    with pytest.raises(Malformed):
        parse(call(nested))


def test_brackets_in_strings_count_for_nothing() -> None:
    text = json.dumps({"a": '[{"\\' * 200_000, "b": "]}"})
    assert parse(call(text)).params["b"] == "]}"


def test_strings_and_escaped_quotes_are_no_nodes() -> None:
    # 50 members are 49 commas and a container; the call around them is three commas and one more.
    strings = json.dumps({f"{index}": "" for index in range(49)} | {"quotes": '",' * 2000}, separators=(",", ":"))
    assert parse(call(strings), ParseLimits(nodes=54)).params == json.loads(strings)
    with pytest.raises(BodyTooLarge):
        parse(call(strings), ParseLimits(nodes=53))


@pytest.mark.parametrize(
    "params",
    [
        '{"a":[' + ",".join(["1"] * 101) + "]}",
        '{"a":[' + ",".join(['""'] * 101) + "]}",
        '{"a":[' + ",".join(["[]"] * 101) + "]}",
        '{"a":[' + '"x",' * 2000 + "1]}",
    ],
)
def test_more_nodes_than_allowed_are_refused_before_they_are_built(params: str) -> None:
    with pytest.raises(BodyTooLarge):
        parse(call(params), ParseLimits(nodes=100))
    assert encode(parse(call(params), ParseLimits(nodes=5000))) == call(params)


def test_more_keys_in_one_object_than_allowed_are_refused() -> None:
    many = json.dumps({f"k{index}": 1 for index in range(51)})
    spread = json.dumps([{f"k{index}": 1 for index in range(50)} for _ in range(5)])
    with pytest.raises(BodyTooLarge):
        parse(call('{"a":' + many + "}"), ParseLimits(keys_per_object=50))
    assert parse(call('{"a":' + spread + "}"), ParseLimits(keys_per_object=50)).params["a"] == json.loads(spread)


def test_default_limits_hold() -> None:
    with pytest.raises(BodyTooLarge):
        parse(call('{"a":[' + "[]," * 60_000 + "1]}"))
    with pytest.raises(BodyTooLarge):
        parse(call(json.dumps({f"k{index}": 1 for index in range(10_001)})))


# ---------------------------------------------------------------- what a server sends


UPSTREAM_BROKEN = {
    "html": b"<html>",
    "array": b"[]",
    "no version": b'{"id":1,"result":{}}',
    "NaN": b'{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}',
    "half a surrogate": b'{"jsonrpc":"2.0","id":1,"result":{"a":"\\ud800"}}',
    "not utf-8": b'{"jsonrpc":"2.0","id":1,"result":{"a":"\xff"}}',
    "result with id null": b'{"jsonrpc":"2.0","id":null,"result":{}}',
    "result without id": b'{"jsonrpc":"2.0","result":{}}',
    "id true": b'{"jsonrpc":"2.0","id":true,"result":{}}',
    "id float": b'{"jsonrpc":"2.0","id":1.5,"result":{}}',
    "id of a request too big": b'{"jsonrpc":"2.0","id":9223372036854775808,"method":"x"}',
    "id of a request too small": b'{"jsonrpc":"2.0","id":-9223372036854775809,"method":"x"}',
    "id of a request too long": f'{{"jsonrpc":"2.0","id":"{"i" * 1025}","method":"x"}}'.encode(),
    "id of a result too big": b'{"jsonrpc":"2.0","id":9223372036854775808,"result":{}}',
    "id of an error too long": f'{{"jsonrpc":"2.0","id":"{"i" * 1025}","error":{{}}}}'.encode(),
    "result and error": b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
    "neither": b'{"jsonrpc":"2.0","id":1}',
    "result is text": b'{"jsonrpc":"2.0","id":1,"result":"x"}',
    "result is null": b'{"jsonrpc":"2.0","id":1,"result":null}',
    "error is text": b'{"jsonrpc":"2.0","id":1,"error":"x"}',
    "method is no name": b'{"jsonrpc":"2.0","method":5}',
    "request with id null": b'{"jsonrpc":"2.0","id":null,"method":"x"}',
    "call and reply": b'{"jsonrpc":"2.0","id":1,"method":"x","result":{}}',
    "params is a list": b'{"jsonrpc":"2.0","id":1,"method":"x","params":[]}',
    "too deep": b'{"jsonrpc":"2.0","id":1,"result":{"a":' + b"[" * 300 + b"]" * 300 + b"}}",
    "much too deep": b"[" * 100_000 + b"]" * 100_000,
    "brackets do not match": b"[" * 100_000,
    "too many containers": b'{"jsonrpc":"2.0","id":1,"result":{"a":[' + b"[]," * 600_000 + b"1]}}",
    "too many values": b'{"jsonrpc":"2.0","id":1,"result":{"a":[' + b"1," * 1_000_000 + b"1]}}",
    "nothing but quotation marks": b'"' * 5_000_000,
    "too many digits": b'{"jsonrpc":"2.0","id":1,"result":{"a":' + b"9" * 401 + b"}}",
    "too many digits in a list": b'{"jsonrpc":"2.0","id":1,"result":{"a":["\\\\",0,-' + b"9" * 401 + b"]}}",
}


@pytest.mark.parametrize("raw", UPSTREAM_BROKEN.values(), ids=UPSTREAM_BROKEN.keys())
def test_what_is_no_message_of_a_server_is_the_servers_fault(raw: bytes) -> None:
    with pytest.raises(UpstreamBroken):
        read(raw)


def test_server_may_say_less_strictly_what_agents_must_not() -> None:
    assert read(b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}').id is None
    assert read(b'{"jsonrpc":"2.0","error":{"code":1,"message":"x"}}').kind is Kind.ERROR
    assert read(b'{"jsonrpc":"2.0","method":"notifications/message","params":null}').params == {}


def test_what_a_server_hides_behind_a_second_key_is_gone() -> None:
    message = read(b'{"jsonrpc":"2.0","id":1,"extra":"x","result":{"a":"secret","a":"plain"}}')
    assert encode(message) == b'{"jsonrpc":"2.0","id":1,"result":{"a":"plain"}}'


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ('"result":{"tools":[],"Tools":[1],"x_y":2}', '"result":{"tools":[],"x_y":2}'),
        ('"result":{"resource_templates":[1]}', '"result":{}'),
        ('"result":{"result_type":"input_required","input_requests":{},"ok":1}', '"result":{"ok":1}'),
        ('"error":{"code":1,"message":"x","Code":-32042,"\uff44ata":{}}', '"error":{"code":1,"message":"x"}'),
        (
            '"method":"x","params":{"uri":"x://a","Uri":"x://b","other":1}',
            '"method":"x","params":{"uri":"x://a","other":1}',
        ),
        ('"result":{"content":[],"meta_data":1}', '"result":{"content":[],"meta_data":1}'),
    ],
)
def test_what_a_server_hides_from_rules_behind_another_spelling_is_gone(sent: str, passed: str) -> None:
    message = read(f'{{"jsonrpc":"2.0","id":1,{sent}}}'.encode())
    assert encode(message) == f'{{"jsonrpc":"2.0","id":1,{passed}}}'.encode()


def test_integers_of_a_server_are_exact() -> None:
    message = read(b'{"jsonrpc":"2.0","id":1,"result":{"a":123456789012345678901234567890}}')
    assert message.result == {"a": 123456789012345678901234567890}


@pytest.mark.parametrize(
    "text", ["1," * 1_000_000, "[" * 1_000_000, '\\"' * 600_000, "9" * 401, '\\",' + "9" * 401, "x" * 2_000_000]
)
def test_what_stands_in_a_string_of_a_server_counts_for_nothing(text: str) -> None:
    message = read(b'{"jsonrpc":"2.0","id":1,"result":{"a":"' + text.encode() + b'"}}')
    assert message.result == {"a": text.replace('\\"', '"')}


def test_long_list_of_a_server_is_read() -> None:
    assert len(str(read(b'{"jsonrpc":"2.0","id":1,"result":{"a":[' + b"[]," * 400_000 + b"1]}}").result)) > 1_600_000


def test_as_many_digits_as_allowed_are_read_from_a_server() -> None:
    assert read(b'{"jsonrpc":"2.0","id":1,"result":{"a":' + b"9" * 400 + b"}}").result == {"a": int("9" * 400)}


def test_digits_in_a_string_of_an_agent_are_no_number() -> None:
    assert parse(call('{"a":"' + "9" * 5000 + '"}')).params == {"a": "9" * 5000}


def test_many_brackets_of_a_server_are_no_depth() -> None:
    tools: list[Json] = [
        {"name": f"t{index}", "inputSchema": {"type": "object", "properties": {}}} for index in range(500)
    ]
    assert read(encode(messages.result(1, {"tools": tools}))).result == {"tools": tools}


# ---------------------------------------------------------------- messages as values


def test_changes_leave_the_original_alone() -> None:
    original = parse(CALL)
    changed = original.with_params({"name": "b"}).with_id("other")
    assert encode(original) == CALL
    assert (changed.params, changed.id, changed.method) == ({"name": "b"}, "other", "tools/call")
    assert encode(changed) == b'{"jsonrpc":"2.0","id":"other","method":"tools/call","params":{"name":"b"}}'


def test_reply_turns_from_result_to_error_and_back() -> None:
    result = messages.result(1, {"a": 1})
    error = result.with_error({"code": -1, "message": "no"})
    assert (error.kind, error.error, error.result) == (Kind.ERROR, {"code": -1, "message": "no"}, None)
    assert error.with_result({"b": 2}) == messages.result(1, {"b": 2})
    assert encode(result) == b'{"jsonrpc":"2.0","id":1,"result":{"a":1}}'


@pytest.mark.parametrize(
    ("token", "expected"), [("3", 3), ('"t"', "t"), ("true", None), ("1.5", None), ("null", None), ("{}", None)]
)
def test_progress_token_is_a_string_or_an_integer(token: str, expected: messages.Id | None) -> None:
    assert parse(call('{"_meta":{"progressToken":' + token + "}}")).progress_token == expected


def test_meta_is_that_of_params_or_result_and_empty_if_it_is_no_object() -> None:
    assert parse(call('{"_meta":{"a":1}}')).meta == {"a": 1}
    assert parse(call('{"_meta":7}')).meta == {}
    assert messages.result(1, {"_meta": {"b": 2}}).meta == {"b": 2}
    assert messages.error(1, 0, "x").meta == {}


def test_own_messages_read_back_as_themselves() -> None:
    for message in (
        messages.request(1, "ping"),
        messages.request("a", "tools/list", {"cursor": "x"}),
        messages.notification("notifications/cancelled", {"requestId": 1}),
        messages.result(2, {}),
        messages.error(3, -1, "no", data={"reason": "x"}),
    ):
        assert parse(encode(message)) == message


def test_canonical_form_sorts_keys_at_every_level() -> None:
    assert canonical({"b": [{"d": 1, "c": "é"}], "a": 1.0}) == '{"a":1.0,"b":[{"c":"é","d":1}]}'.encode()


def test_integer_digits_are_bounded_by_us_and_not_by_the_interpreter() -> None:
    assert strict.slow_value(b"9" * 400) == strict.value(b"9" * 400)
    with pytest.raises(NotJson):
        strict.slow_value(b"9" * 401)
