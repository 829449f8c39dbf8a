"""What is malformed, smuggled, oversized or somebody else's is refused, and no server ever sees it."""

import asyncio
import base64
import gzip
import json
from collections.abc import Mapping

import httpx
import pytest

from tests.sdk.guarded import ALICE, BOB, Guarded
from tests.sdk.raw import exchange, head
from tests.sdk.site import new_tag
from tests.sdk.wire import (
    LEGACY,
    MODERN,
    answer_of,
    browser,
    call_message,
    initialize,
    modern,
    request,
    session,
)

# Stands in the bodies below; each test puts a marker of its own in its place.
MARK = "marker-of-bad-input"
CALL = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"%s"}}}' % MARK.encode()
)


def _spliced(old: str, new: str) -> bytes:
    changed = CALL.decode().replace(old, new)
    assert changed != CALL.decode()
    return changed.encode()


BODIES: Mapping[str, tuple[bytes, int]] = {
    "empty": (b"", -32700),
    "no JSON": (b"tools/call " + MARK.encode(), -32700),
    "cut off": (CALL[:-1], -32700),
    "two values": (CALL + CALL, -32700),
    "something behind it": (CALL + b"x", -32700),
    "method twice": (_spliced('"method"', '"method":"ping","method"'), -32700),
    "name twice": (_spliced('"name"', '"name":"whoami","name"'), -32700),
    "argument twice": (_spliced('"text"', '"text":"","text"'), -32700),
    "key twice, once escaped": (_spliced('"name"', '"na\\u006de":"whoami","name"'), -32700),
    "BOM": (b"\xef\xbb\xbf" + CALL, -32700),
    "UTF-16": (CALL.decode().encode("utf-16"), -32700),
    "Latin-1": (CALL.replace(MARK.encode(), MARK.encode() + b"\xe4"), -32700),
    "overlong UTF-8": (CALL.replace(MARK.encode(), MARK.encode() + b"\xc0\xaf"), -32700),
    "lone surrogate": (CALL.replace(MARK.encode(), MARK.encode() + b"\\ud800"), -32700),
    "not a number": (_spliced('"id":1', '"id":NaN'), -32700),
    "infinite": (_spliced(f'"{MARK}"', f'[1e999,"{MARK}"]'), -32700),
    "integer of 5000 digits": (_spliced(f'"{MARK}"', f'[{"9" * 5000},"{MARK}"]'), -32700),
    "nested too deeply": (_spliced(f'"{MARK}"', "[" * 100 + f'"{MARK}"' + "]" * 100), -32600),
    "nested 100,000 times": (b"[" * 100_000 + b"]" * 100_000, -32600),
    "batch": (b"[" + CALL + b"]", -32600),
    "empty batch": (b"[]", -32600),
    "a string": (json.dumps(CALL.decode()).encode(), -32600),
    "null": (b"null", -32600),
    "no version": (_spliced('"jsonrpc":"2.0",', ""), -32600),
    "version 1.0": (_spliced('"jsonrpc":"2.0"', '"jsonrpc":"1.0"'), -32600),
    "id of null": (_spliced('"id":1', '"id":null'), -32600),
    "id of a fraction": (_spliced('"id":1', '"id":1.5'), -32600),
    "id of an object": (_spliced('"id":1', '"id":{}'), -32600),
    "method of a number": (_spliced('"tools/call"', "7"), -32600),
    "params of a list": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["' + MARK.encode() + b'"]}', -32600),
    "key that folds to another": (_spliced('"id":1', '"id":1,"Method":"ping"'), -32600),
    "key that normalises to another": (_spliced('"id":1', '"id":1,"ｍethod":"ping"'), -32600),
    "param that folds to another": (_spliced('"name"', '"NAME":"whoami","name"'), -32600),
    "request and reply in one": (_spliced('"id":1', '"id":1,"result":{}'), -32600),
}


@pytest.mark.parametrize("name", BODIES)
async def test_malformed_body_is_refused(guarded: Guarded, name: str) -> None:
    marker = new_tag("malformed")
    body, code = BODIES[name]
    async with session(guarded.open) as agent:
        answer = await agent.post(_marked(body, marker))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
        assert not await guarded.reached(marker)
        assert (await agent.call("whoami")).status_code == 200


@pytest.mark.parametrize("name", ["batch", "method twice", "BOM", "nested 100,000 times"])
async def test_malformed_body_is_refused_in_the_modern_era(guarded: Guarded, name: str) -> None:
    marker = new_tag("malformed")
    body, code = BODIES[name]
    headers, _ = modern("tools/call", name="echo")
    async with browser(headers) as http:
        answer = await http.post(guarded.open, content=_marked(body, marker))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert not await guarded.reached(marker)


def _marked(body: bytes, marker: str) -> bytes:
    return body.replace(MARK.encode(), marker.encode())


# ---------------------------------------------------------------- what the headers say of the body


HEADER_FAULTS: Mapping[str, dict[str, str | None]] = {
    "another method": {"Mcp-Method": "tools/list"},
    "method in capitals": {"Mcp-Method": "TOOLS/CALL"},
    "no method": {"Mcp-Method": None},
    "another name": {"Mcp-Name": "whoami"},
    "no name": {"Mcp-Name": None},
    "name in broken base64": {"Mcp-Name": "=?base64?ZWNobw=?="},
    "name in another encoding of itself": {"Mcp-Name": f"=?base64?{base64.b64encode(b'echo').decode().rstrip('=')}?="},
}


@pytest.mark.parametrize("name", HEADER_FAULTS)
async def test_header_that_disagrees_with_the_body_is_refused(guarded: Guarded, name: str) -> None:
    marker = new_tag("mismatch")
    headers, body = modern("tools/call", name="echo", arguments={"text": marker})
    changed = {**headers, **HEADER_FAULTS[name]}
    async with browser({key: value for key, value in changed.items() if value is not None}) as http:
        answer = await http.post(guarded.open, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
    assert not await guarded.reached(marker)


async def test_name_in_base64_that_agrees_is_accepted(guarded: Guarded) -> None:
    headers, body = modern("tools/call", name="echo", arguments={"text": "fine"})
    headers["Mcp-Name"] = f"=?base64?{base64.b64encode(b'echo').decode()}?="
    async with browser(headers) as http:
        assert (await http.post(guarded.open, json=body)).status_code == 200


async def test_mirrored_argument_that_disagrees_is_refused(guarded: Guarded) -> None:
    marker = new_tag("region")
    headers, body = modern("tools/call", name="test_x_mcp_header", arguments={"region": marker})
    async with browser(headers) as http:
        for said in ({"Mcp-Param-Region": "elsewhere"}, {}):
            answer = await http.post(guarded.open, json=body, headers=said)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
        assert not await guarded.reached(marker)
        assert (await http.post(guarded.open, json=body, headers={"Mcp-Param-Region": marker})).status_code == 200


async def test_versions_that_disagree_are_refused(guarded: Guarded) -> None:
    headers, body = modern("tools/call", name="echo", arguments={"text": new_tag("version")})
    async with browser(headers) as http:
        body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2099-01-01"
        answer = await http.post(guarded.open, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_modern_message_under_a_legacy_header_is_refused(guarded: Guarded) -> None:
    marker = new_tag("era")
    _, body = modern("tools/call", name="echo", arguments={"text": marker})
    async with session(guarded.open) as agent:
        answer = await agent.post(body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
    assert not await guarded.reached(marker)


async def test_unknown_version_is_refused_with_those_that_are_known(guarded: Guarded) -> None:
    headers, body = modern("server/discover")
    body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2099-01-01"
    async with browser({**headers, "MCP-Protocol-Version": "2099-01-01"}) as http:
        answer = await http.post(guarded.open, json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == -32022
    assert MODERN in error["data"]["supported"]
    assert error["data"]["requested"] == "2099-01-01"


async def test_modern_request_without_its_meta_is_refused(guarded: Guarded) -> None:
    headers, body = modern("tools/list")
    del body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
    async with browser(headers) as http:
        answer = await http.post(guarded.open, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


async def test_reply_in_the_modern_era_goes_nowhere(guarded: Guarded) -> None:
    marker = new_tag("reply")
    async with browser({"MCP-Protocol-Version": MODERN}) as http:
        answer = await http.post(guarded.open, json={"jsonrpc": "2.0", "id": marker, "result": {}})
    assert answer.status_code in (202, 400)
    assert not await guarded.reached(marker)


# ---------------------------------------------------------------- where it goes, and who sends it


@pytest.mark.parametrize("path", ["/", "/nowhere", "/openX", "/open/../strict/..", "/%6fpen", "//open"])
async def test_unknown_path_is_not_found(guarded: Guarded, path: str) -> None:
    body = json.dumps(request("ping")).encode()
    lines = ("Content-Type: application/json", "Accept: */*", f"Content-Length: {len(body)}")
    answer = await exchange(guarded.gateway.origin, head("POST", guarded.gateway.origin + path, *lines), body)
    assert answer.status in (400, 404)
    assert json.loads(answer.body)["error"]["code"] < 0


async def test_trailing_slash_is_the_same_server(guarded: Guarded) -> None:
    async with session(f"{guarded.open}/") as agent:
        assert (await agent.call("whoami")).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
async def test_other_http_methods_are_not_allowed(guarded: Guarded, method: str) -> None:
    answer = await exchange(guarded.open, head(method, guarded.open, "Content-Length: 0"))
    assert answer.status == 405
    assert "POST" in answer.headers["allow"]


async def test_method_that_is_none_of_http_is_refused(guarded: Guarded) -> None:
    answer = await exchange(guarded.open, head("BREW", guarded.open, "Content-Length: 0"))
    assert answer.status in (400, 405, 501)


async def test_unknown_session_is_not_found(guarded: Guarded) -> None:
    headers = {"Mcp-Session-Id": new_tag("session"), "MCP-Protocol-Version": LEGACY}
    async with browser(headers) as http:
        answers = [
            await http.post(guarded.open, json=request("tools/list")),
            await http.post(guarded.open, json={"jsonrpc": "2.0", "method": "notifications/initialized"}),
            await http.get(guarded.open),
            await http.delete(guarded.open),
        ]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert answers[0].json()["error"]["code"] == -32600


@pytest.mark.parametrize("session_id", ["", "x" * 10_000, "../../etc", "a b", "\x7f", "é"])
async def test_odd_session_ids_are_refused(guarded: Guarded, session_id: str) -> None:
    body = json.dumps(request("tools/list")).encode()
    lines = ("Content-Type: application/json", "Accept: */*", f"Content-Length: {len(body)}")
    answer = await exchange(
        guarded.open,
        head("POST", guarded.open, *lines, f"Mcp-Session-Id: {session_id}", f"MCP-Protocol-Version: {LEGACY}"),
        body,
    )
    assert answer.status in (400, 404)


async def test_request_without_a_session_is_refused(guarded: Guarded) -> None:
    async with browser({"MCP-Protocol-Version": LEGACY}) as http:
        answer = await http.post(guarded.open, json=request("tools/list"))
    assert answer.status_code == 400


async def test_session_of_somebody_else_is_not_found(guarded: Guarded) -> None:
    async with session(guarded.strict, ALICE.headers) as alice, browser(BOB.headers) as bob:
        stolen = dict(alice.headers)
        answers = [
            await bob.post(guarded.strict, headers=stolen, json=call_message("whoami")),
            await bob.get(guarded.strict, headers=stolen),
            await bob.delete(guarded.strict, headers=stolen),
        ]
        assert [answer.status_code for answer in answers] == [404] * 3
        unknown = {**stolen, "Mcp-Session-Id": new_tag("unknown")}
        expected = await bob.post(guarded.strict, headers=unknown, json=call_message("whoami"))
        assert answers[0].json()["error"]["code"] == expected.json()["error"]["code"]
        assert answers[0].json()["error"]["message"] == expected.json()["error"]["message"]
        assert (await alice.call("whoami")).status_code == 200


async def test_session_of_another_server_is_not_found(guarded: Guarded) -> None:
    async with session(guarded.open) as agent:
        answer = await agent.http.post(
            guarded.strict, headers={**agent.headers, **ALICE.headers}, json=call_message("whoami")
        )
        assert answer.status_code == 404


async def test_state_of_somebody_else_is_refused(guarded: Guarded) -> None:
    headers, body = modern("tools/call", name="ask", arguments={"question": "Whose?"})
    async with browser({**ALICE.headers, **headers}) as http:
        asked = answer_of(await http.post(guarded.strict, json=body))["result"]
        assert asked["resultType"] == "input_required"
        again = {**body, "id": 2, "params": {**body["params"], "requestState": asked["requestState"]}}
        answer = await http.post(guarded.open, json=again)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


CREDENTIALS: Mapping[str, dict[str, str]] = {
    "none": {},
    "unknown key": {"Authorization": "Bearer omcp_mallory_0123456789"},
    "wrong secret": {"Authorization": f"Bearer {ALICE.value[:-1]}"},
    "another scheme": {"Authorization": "Basic YWxpY2U6YWxpY2U="},
    "foreign token": {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
    "empty": {"Authorization": ""},
}


@pytest.mark.parametrize("name", CREDENTIALS)
async def test_without_a_valid_credential_there_is_no_way_in(guarded: Guarded, name: str) -> None:
    async with browser(CREDENTIALS[name]) as http:
        answer = await initialize(http, guarded.strict)
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers
    assert answer.json()["error"]["code"] == -31001


@pytest.mark.parametrize("name", [name for name in CREDENTIALS if name not in ("none", "empty")])
async def test_invalid_credential_is_never_anonymous(guarded: Guarded, name: str) -> None:
    async with browser(CREDENTIALS[name]) as http:
        assert (await initialize(http, guarded.open)).status_code == 401


async def test_nothing_private_reaches_the_server(guarded: Guarded) -> None:
    marker = new_tag("hygiene")
    private = {
        "Cookie": "secret=1",
        "X-Forwarded-User": "root",
        "X-Forwarded-Client-Cert": "By=spiffe://x",
        "X-OpenMCP-Agent": "root",
        "Proxy-Authorization": "Basic x",
        "Mcp-Method": "tools/list",
        "Mcp-Param-Region": "elsewhere",
        "Connection": "X-Hop",
        "X-Hop": "1",
    }
    async with session(guarded.strict, ALICE.headers) as alice:
        answer = await alice.http.post(
            alice.url, headers={**alice.headers, **private}, json=call_message("echo", text=marker)
        )
        assert answer.status_code == 200
    (seen,) = [entry for backend in guarded.replicas for entry in await backend.requests() if marker in entry["body"]]
    arrived = {name.lower() for name, _ in seen["headers"]}
    assert not arrived & {name.lower() for name in private if name != "Connection"}
    assert "authorization" not in arrived
    assert ALICE.value not in str(seen["headers"])


# ---------------------------------------------------------------- kinds, sizes, framing


CONTENT: Mapping[str, dict[str, str]] = {
    "text": {"Content-Type": "text/plain"},
    "a form": {"Content-Type": "application/x-www-form-urlencoded"},
    "almost JSON": {"Content-Type": "application/jsonp"},
    "no type": {"Content-Type": ""},
    "gzip": {"Content-Encoding": "gzip"},
    "brotli": {"Content-Encoding": "br"},
}


@pytest.mark.parametrize("name", CONTENT)
async def test_other_content_is_refused(guarded: Guarded, name: str) -> None:
    """A browser sends some of these to any site without asking it first."""
    marker = new_tag("content")
    body = _marked(CALL, marker)
    async with session(guarded.open) as agent:
        answer = await agent.http.post(
            agent.url,
            headers={**agent.headers, **CONTENT[name]},
            content=gzip.compress(body) if name == "gzip" else body,
        )
        assert answer.status_code == 415
    assert not await guarded.reached(marker)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_may_be_named_in_several_ways(guarded: Guarded, content_type: str) -> None:
    async with browser({"Content-Type": content_type}) as http:
        assert (await initialize(http, guarded.open)).status_code == 200


async def test_large_body_passes_and_a_larger_one_does_not(guarded: Guarded) -> None:
    async with session(guarded.open) as agent:
        assert (await agent.call("echo", text="x" * 3_900_000)).status_code == 200
        answer = await agent.call("echo", text="x" * (4 << 20))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, -32600)


async def test_announced_bomb_is_refused_before_it_is_sent(guarded: Guarded) -> None:
    answer = await exchange(
        guarded.open, head("POST", guarded.open, "Content-Type: application/json", f"Content-Length: {5 << 30}")
    )
    assert answer.status == 413


async def test_bomb_in_pieces_is_refused_at_the_limit(guarded: Guarded) -> None:
    piece = b"%x\r\n%s\r\n" % (1 << 16, b" " * (1 << 16))
    answer = await exchange(
        guarded.open,
        head("POST", guarded.open, "Content-Type: application/json", "Transfer-Encoding: chunked"),
        *[piece] * 80,
    )
    assert answer.status == 413


async def test_many_values_in_a_small_body_are_refused(guarded: Guarded) -> None:
    """What is cheap to send must not be dear to read."""
    body = CALL.replace(b'"' + MARK.encode() + b'"', b"[" + b"[]," * 1_000_000 + b"0]")
    async with session(guarded.open) as agent:
        answer = await agent.post(body)
        assert answer.status_code in (400, 413)


BODY = json.dumps(request("tools/list")).encode()
TYPE = "Content-Type: application/json"
LENGTH = f"Content-Length: {len(BODY)}"

HEADS: Mapping[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "second host": ((TYPE, LENGTH, "Host: 127.0.0.1"), (400,)),
    "two lengths": ((TYPE, LENGTH, f"Content-Length: {len(BODY) + 1}"), (400,)),
    "length and chunks": ((TYPE, LENGTH, "Transfer-Encoding: chunked"), (400,)),
    "odd transfer coding": ((TYPE, "Transfer-Encoding: gzip, chunked"), (400,)),
    "negative length": ((TYPE, "Content-Length: -1"), (400,)),
    "length with a sign": ((TYPE, f"Content-Length: +{len(BODY)}"), (400,)),
    "folded line": ((TYPE, LENGTH, "X-A: 1\r\n  2"), (400,)),
    "blank before the colon": ((TYPE, LENGTH, "X-A : 1"), (400,)),
    "no name": ((TYPE, LENGTH, ": 1"), (400,)),
    "control character": ((TYPE, LENGTH, "X-A: \x01"), (400,)),
    "two methods": ((TYPE, LENGTH, "Mcp-Method: tools/list", "Mcp-Method: tools/call"), (400,)),
    "two versions": (
        (TYPE, LENGTH, f"MCP-Protocol-Version: {LEGACY}", f"MCP-Protocol-Version: {MODERN}"),
        (400,),
    ),
    "two sessions": ((TYPE, LENGTH, "Mcp-Session-Id: a", "Mcp-Session-Id: b"), (400,)),
    "two keys": (
        (TYPE, LENGTH, f"Authorization: Bearer {ALICE.value}", f"Authorization: Bearer {BOB.value}"),
        (400, 401),
    ),
    "long header": ((TYPE, LENGTH, "X-A: " + "x" * 40_000), (431,)),
    "many headers": ((TYPE, LENGTH, *(f"X-{n}: 1" for n in range(1000))), (431,)),
}


@pytest.mark.parametrize("name", HEADS)
async def test_unclear_head_is_refused(guarded: Guarded, name: str) -> None:
    lines, statuses = HEADS[name]
    answer = await exchange(guarded.open, head("POST", guarded.open, *lines), BODY)
    assert answer.status in statuses
    assert answer.headers["connection"] == "close"


async def test_long_request_line_is_refused(guarded: Guarded) -> None:
    answer = await exchange(guarded.open, head("POST", guarded.open + "/" + "x" * 70_000, TYPE, LENGTH), BODY)
    assert answer.status in (414, 431)


@pytest.mark.parametrize(("host", "status"), [("", 400), ("evil.example", 421), ("127.0.0.1@evil.example", 400)])
async def test_foreign_host_is_refused(guarded: Guarded, host: str, status: int) -> None:
    answer = await exchange(guarded.open, head("POST", guarded.open, TYPE, LENGTH, host=host), BODY)
    assert answer.status == status


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example"])
async def test_foreign_origin_is_refused(guarded: Guarded, origin: str) -> None:
    async with browser({"Origin": origin}) as http:
        assert (await initialize(http, guarded.open)).status_code == 403


async def test_request_behind_a_request_is_read_as_one_of_its_own(guarded: Guarded) -> None:
    """What looks like a second request inside a body is part of the body."""
    marker = new_tag("smuggled")
    inner = head("POST", guarded.strict, TYPE, f"X-Marker: {marker}", "Content-Length: 0")
    length = f"Content-Length: {len(inner)}"
    answer = await exchange(guarded.open, head("POST", guarded.open, TYPE, "Accept: */*", length), inner)
    assert answer.status == 400
    assert not await guarded.reached(marker)


# ---------------------------------------------------------------- messages without an id


async def test_unknown_notification_is_accepted_and_dropped(guarded: Guarded) -> None:
    marker = new_tag("notification")
    async with session(guarded.open) as agent:
        answer = await agent.post({"jsonrpc": "2.0", "method": "notifications/vendor", "params": {"x": marker}})
        assert (answer.status_code, answer.content) == (202, b"")
    assert not await guarded.reached(marker)


async def test_gateway_is_well_after_all_of_this(guarded: Guarded) -> None:
    async def once() -> httpx.Response:
        async with session(guarded.open) as agent:
            return await agent.call("whoami")

    assert {answer.status_code for answer in await asyncio.gather(*(once() for _ in range(10)))} == {200}
    assert guarded.gateway.is_ready()
    assert guarded.gateway.process.returncode is None
