"""No place of a message where text can hide is passed over."""

from collections.abc import Iterator

import pytest

from openmcp.mcp import content
from openmcp.mcp import message as messages
from openmcp.mcp.content import Text, json_path, replace, texts
from openmcp.mcp.message import Json, JsonObject, Message, encode, read

CANARY = "canary-7f3a"

BLOCKS: list[JsonObject] = [
    {"type": "text", "text": "t", "annotations": {"audience": ["user"]}, "_meta": {"a": "b"}},
    {"type": "image", "data": "aGk=", "mimeType": "image/png"},
    {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"},
    {
        **{"type": "resource_link", "uri": "x://a", "name": "n", "title": "t", "description": "d"},
        "icons": [{"src": "data:,x", "mimeType": "image/png", "sizes": ["1x1"]}],
    },
    {"type": "resource", "resource": {"uri": "x://a", "mimeType": "text/plain", "text": "t", "_meta": {"a": "b"}}},
    {"type": "resource", "resource": {"uri": "x://a", "blob": "aGk="}},
    {"type": "tool_use", "id": "1", "name": "n", "input": {"a": ["b"]}},
    {
        "type": "tool_result",
        "toolUseId": "1",
        "content": [{"type": "text", "text": "t"}],
        "structuredContent": {"a": "b"},
    },
]
TOOL: JsonObject = {
    **{"name": "n", "title": "t", "description": "d", "icons": [{"src": "https://x"}]},
    "inputSchema": {
        "type": "object",
        "properties": {"p": {"type": "string", "description": "d", "default": "x", "enum": ["a"], "examples": ["e"]}},
        "$ref": "https://x/schema",
    },
    **{"outputSchema": {"description": "d"}, "annotations": {"title": "t"}, "_meta": {"ui": {"resourceUri": "ui://x"}}},
}
ELICITATION: JsonObject = {
    **{"mode": "form", "message": "m", "url": "https://x", "elicitationId": "e"},
    "requestedSchema": {"type": "object", "properties": {"p": {"title": "t", "enumNames": ["a"]}}},
}
SAMPLING: JsonObject = {
    **{"messages": [{"role": "user", "content": BLOCKS[0]}], "systemPrompt": "s", "stopSequences": ["x"]},
    **{"tools": [TOOL], "metadata": {"a": "b"}, "modelPreferences": {"hints": [{"name": "h"}]}},
}

FROM_AGENT: dict[str, JsonObject] = {
    "initialize": {
        "protocolVersion": "v",
        "capabilities": {"x": {"y": "z"}},
        "clientInfo": {"name": "n", "title": "t"},
    },
    "tools/call": {"name": "n", "arguments": {"a": [{"b": "c"}]}, "task": {"ttl": 1, "x": "y"}, "_meta": {"a": "b"}},
    "tools/call again": {
        "name": "n",
        "inputResponses": {"k": {"action": "accept", "content": {"a": "b"}}},
        "requestState": "s",
    },
    "resources/read": {"uri": "x://a"},
    "prompts/get": {"name": "n", "arguments": {"a": "b"}},
    "completion/complete": {
        **{"ref": {"type": "ref/prompt", "name": "n"}, "argument": {"name": "a", "value": "v"}},
        "context": {"arguments": {"a": "b"}},
    },
    "logging/setLevel": {"level": "debug"},
    "subscriptions/listen": {"notifications": {"resourceSubscriptions": ["x://a"], "taskIds": ["t"]}},
    "tasks/update": {"taskId": "t", "inputResponses": {"k": {"a": "b"}}},
    "notifications/cancelled": {"requestId": "r", "reason": "x"},
    "vendor/unknown": {"anything": {"at": ["all"]}},
}
FROM_SERVER: dict[str, JsonObject] = {
    "sampling/createMessage": SAMPLING,
    "elicitation/create": ELICITATION,
    "roots/list": {"_meta": {"a": "b"}},
    "notifications/message": {"level": "info", "logger": "l", "data": {"a": ["b"]}},
    "notifications/progress": {"progressToken": "t", "progress": 1, "message": "m"},
    "notifications/resources/updated": {"uri": "x://a"},
    "notifications/tasks/status": {
        "taskId": "t",
        "status": "working",
        "statusMessage": "m",
        "result": {"content": list[Json](BLOCKS)},
    },
}
RESULTS: dict[str, JsonObject] = {
    "tool": {
        "content": list[Json](BLOCKS),
        "structuredContent": {"a": {"b": ["c"]}},
        "isError": True,
        "_meta": {"a": "b"},
    },
    "resource": {"contents": [{"uri": "x://a", "text": "t", "_meta": {"a": "b"}}, {"uri": "x://b", "blob": "aGk="}]},
    "prompt": {"description": "d", "messages": [{"role": "user", "content": block} for block in BLOCKS]},
    "completion": {"completion": {"values": ["a", "b"], "total": 2}},
    "tools": {"tools": [TOOL], "nextCursor": "c", "ttlMs": 1, "cacheScope": "public"},
    "prompts": {"prompts": [{"name": "n", "description": "d", "arguments": [{"name": "a", "description": "d"}]}]},
    "resources": {"resources": [{"uri": "x://a", "name": "n", "description": "d", "mimeType": "m"}]},
    "templates": {"resourceTemplates": [{"uriTemplate": "x://{a}", "name": "n", "description": "d"}]},
    "initialize": {
        "instructions": "i",
        "serverInfo": {"name": "n"},
        "capabilities": {"experimental": {"a": {"b": "c"}}},
    },
    "discover": {"instructions": "i", "supportedVersions": ["v"], "_meta": {"s": {"name": "n"}}},
    "input required": {
        **{"resultType": "input_required", "requestState": "s"},
        "inputRequests": {
            "a": {"method": "elicitation/create", "params": ELICITATION},
            "b": {"method": "sampling/createMessage", "params": SAMPLING},
        },
    },
    "task": {"resultType": "task", "task": {"taskId": "t", "statusMessage": "m"}},
    "agent's sampling": {"role": "assistant", "content": BLOCKS[0], "model": "m", "stopReason": "s"},
    "agent's elicitation": {"action": "accept", "content": {"a": "b"}},
    "agent's roots": {"roots": [{"uri": "file:///x", "name": "n"}]},
}
ERRORS: list[JsonObject] = [
    {"code": 1, "message": "m", "data": {"a": ["b"]}},
    {"code": 1, "message": "m", "data": "d"},
    {"code": -32042, "message": "m", "data": {"elicitations": [ELICITATION]}},
]
MESSAGES = [
    *(messages.request(1, method, params) for method, params in (FROM_AGENT | FROM_SERVER).items()),
    *(messages.notification(method, params) for method, params in (FROM_AGENT | FROM_SERVER).items()),
    *(messages.result(1, result) for result in RESULTS.values()),
    *(messages.result(1, {}).with_error(error) for error in ERRORS),
]


def planted(value: Json) -> Iterator[Json]:
    """Yield the value once per place of a text in it, with the canary there."""
    if isinstance(value, str):
        yield CANARY
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for other in planted(item):
                yield [*value[:index], other, *value[index + 1 :]]
    elif isinstance(value, dict):
        for key, item in value.items():
            yield {CANARY if name == key else name: value[name] for name in value}
            for other in planted(item):
                yield {**value, key: other}


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.method or message.kind.value)
def test_canary_is_found_wherever_it_is_planted(message: Message) -> None:
    carrier = next(key for key in ("params", "result", "error") if key in message.body)
    places = list(planted(message.body[carrier]))
    assert places
    for body in places:
        found = read(encode(Message(message.kind, message.method, message.id, {**message.body, carrier: body})))
        assert [text.value for text in texts(found)].count(CANARY) == 1


def test_texts_come_with_their_places_in_order() -> None:
    message = messages.request(1, "x", {"a": ["b", {"c": "d"}], "n": 5, "t": None})
    assert list(texts(message)) == [
        Text(("params", "a"), "a", is_key=True),
        Text(("params", "a", 0), "b"),
        Text(("params", "a", 1, "c"), "c", is_key=True),
        Text(("params", "a", 1, "c"), "d"),
        Text(("params", "n"), "n", is_key=True),
        Text(("params", "n"), "5", is_number=True),
        Text(("params", "t"), "t", is_key=True),
    ]


def test_deepest_message_that_can_be_read_is_walked_and_written() -> None:
    raw = b'{"jsonrpc":"2.0","id":1,"result":{"a":' + b"[" * 254 + b'"deep"' + b"]" * 254 + b"}}"
    message = read(raw)
    *_, last = texts(message)
    assert last.value == "deep"
    assert encode(replace(message, {last.path: "x"})) == raw.replace(b"deep", b"x")


def test_replaced_values_change_the_copy_alone() -> None:
    message = messages.result(1, {"content": [{"text": "a"}, {"text": "b"}], "other": {"x": 1}})
    before = encode(message)
    path = ("result", "content", 0, "text")
    changed = replace(message, {path: "new", ("result", "content", 1): None})
    assert changed.result == {"content": [{"text": "new"}, None], "other": {"x": 1}}
    assert encode(message) == before
    assert changed.result is not None
    assert message.result is not None
    assert changed.result["other"] is message.result["other"]


def test_every_text_can_be_replaced_at_its_path() -> None:
    for message in MESSAGES:
        places = {text.path: CANARY for text in texts(message) if not text.is_key}
        changed = replace(message, places)
        assert {text.value for text in texts(changed) if not text.is_key} <= {CANARY}


def test_nothing_to_replace_is_the_same_message() -> None:
    assert replace(MESSAGES[0], {}) is MESSAGES[0]


@pytest.mark.parametrize(
    "path", [("params", "x"), ("params", "a", 9), ("params", "a", "b"), ("params", 0), ("params", "n", "y")]
)
def test_place_that_does_not_exist_is_not_made(path: content.Path) -> None:
    with pytest.raises(LookupError):
        replace(messages.request(1, "x", {"a": ["b"], "n": 1}), {path: "v"})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("params", "arguments", "id"), "$.params.arguments.id"),
        (("result", "content", 0, "text"), "$.result.content[0].text"),
        (("params", "due date"), '$.params["due date"]'),
        (("params", 'a"b'), '$.params["a\\"b"]'),
        (("params", ""), '$.params[""]'),
        (("params", "0"), '$.params["0"]'),
        (("params", "a.b"), '$.params["a.b"]'),
        (("params", "_meta", "x/y"), '$.params._meta["x/y"]'),
        ((), "$"),
    ],
)
def test_path_is_written_as_jsonpath(path: content.Path, expected: str) -> None:
    assert json_path(path) == expected
