"""Each refusal takes the form that the agent's SDK survives and that tells no more than it may."""

import json
from typing import Any

import pytest

from openmcp import errors
from openmcp.errors import Form, OpenMCPError
from openmcp.mcp import message as messages
from openmcp.mcp.message import JsonObject, Message
from openmcp.mcp.refusals import DECISION_META, PEEK_BYTES, Refusal, in_stream, peek, refusal
from openmcp.mcp.revisions import LATEST, LATEST_LEGACY, Revision

REVISIONS = [LATEST, LATEST_LEGACY]
CALL = messages.request(7, "tools/call", {"name": "wipe", "arguments": {}})
READ = messages.request(7, "resources/read", {"uri": "x://a"})
GET = messages.request(7, "prompts/get", {"name": "brief"})
LIST = messages.request(7, "tools/list", {})
INITIALIZE = messages.request(7, "initialize", {})
DISCOVER = messages.request(7, "server/discover", {})
REQUESTS = [CALL, READ, GET, LIST, INITIALIZE, DISCOVER]
WITHOUT_ID = [messages.notification("notifications/cancelled", {}), messages.result(7, {}), messages.error(7, 1, "x")]
INITIALIZED = messages.notification("notifications/initialized")


def concrete(root: type[OpenMCPError]) -> list[type[OpenMCPError]]:
    below = [kind for child in root.__subclasses__() for kind in concrete(child)]
    return [root, *below]


# Neither of these ever reaches an agent.
CLASSES = [kind for kind in concrete(OpenMCPError) if kind not in (errors.Misconfigured, errors.Dropped)]
BEFORE_THE_MESSAGE = (
    *(errors.Unauthenticated, errors.UnknownPath, errors.UnknownSession, errors.HostRefused, errors.OriginRefused),
    *(errors.UnsupportedMedia, errors.UnsupportedVersion, errors.BodyTooLarge, errors.HeadersTooLarge),
    errors.ExpectationRefused,
    *(errors.RequestTimeout, errors.MethodNotAllowed, errors.NotAcceptable),
)


def refuse(error: OpenMCPError, message: Message | None, revision: Revision = LATEST_LEGACY) -> Refusal:
    return refusal(error, message, revision, exchange_id="e1", decision_id="d1")


def body(answer: Refusal) -> Any:
    return json.loads(answer.body)


def by_name(kind: type[OpenMCPError]) -> str:
    return kind.__name__


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.era.value)
@pytest.mark.parametrize("kind", CLASSES, ids=by_name)
@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: message.method)
def test_request_is_answered_with_its_id_and_a_status_that_keeps_the_session(
    kind: type[OpenMCPError], message: Message, revision: Revision
) -> None:
    answer = refuse(kind(), message, revision)
    assert body(answer)["id"] == 7
    is_connecting = message in (INITIALIZE, DISCOVER)
    if kind is errors.UnknownMethod or (kind.form is Form.UNKNOWN and message in (LIST, INITIALIZE, DISCOVER)):
        assert answer.status == (404 if revision is LATEST else 200)
        assert body(answer)["error"]["code"] == -32601
    elif kind.form is Form.HTTP or (kind.form is Form.CONNECT and is_connecting):
        assert answer.status == kind.status
        assert body(answer)["error"]["code"] == kind.code
    else:
        assert answer.status == 200
        assert ("result" in body(answer)) is (message is CALL and kind.form is not Form.UNKNOWN)


@pytest.mark.parametrize("kind", CLASSES, ids=by_name)
def test_without_a_message_the_status_stands(kind: type[OpenMCPError]) -> None:
    answer = refuse(kind(), None)
    assert answer.status == kind.status
    assert body(answer)["id"] is None
    assert body(answer)["error"]["code"] == kind.code


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.era.value)
@pytest.mark.parametrize("kind", CLASSES, ids=by_name)
@pytest.mark.parametrize("message", WITHOUT_ID, ids=lambda message: message.kind.value)
def test_message_without_an_answer_costs_no_session(
    kind: type[OpenMCPError], message: Message, revision: Revision
) -> None:
    answer = refuse(kind(), message, revision)
    if issubclass(kind, BEFORE_THE_MESSAGE):
        assert answer.status == kind.status
        assert body(answer)["id"] is None
    else:
        assert answer == Refusal(202, (), b"", None)


@pytest.mark.parametrize("kind", CLASSES, ids=by_name)
def test_lost_initialized_is_told(kind: type[OpenMCPError]) -> None:
    status = refuse(kind(), INITIALIZED).status
    if issubclass(kind, BEFORE_THE_MESSAGE):
        assert status == kind.status
    elif kind.form is Form.CONNECT and kind.status >= 500:
        assert status == 503
    else:
        assert status == 202


# ---------------------------------------------------------------- tools


def test_denied_call_tells_the_model_the_reason_and_the_decision() -> None:
    answer = refuse(errors.Denied("Never on Fridays."), CALL)
    assert body(answer)["result"] == {
        "content": [{"type": "text", "text": "Never on Fridays."}],
        "isError": True,
        "_meta": {DECISION_META: {"id": "d1", "effect": "deny", "reason": "Never on Fridays."}},
    }


def test_other_outcomes_of_a_call_carry_no_decision() -> None:
    result = body(refuse(errors.UpstreamTimeout(), CALL))["result"]
    assert result == {"content": [{"type": "text", "text": errors.UpstreamTimeout.sentence}], "isError": True}


def test_results_of_ours_are_complete_in_the_modern_era() -> None:
    assert body(refuse(errors.Denied(), CALL, LATEST))["result"]["resultType"] == "complete"
    assert "resultType" not in body(refuse(errors.Denied(), CALL))["result"]


def test_call_that_was_to_become_a_task_is_answered_by_an_error() -> None:
    task = messages.request(7, "tools/call", {"name": "wipe", "task": {"ttl": 1}})
    assert body(refuse(errors.Denied(), task))["error"]["code"] == -31001
    # In the modern era the parameter means nothing.
    assert "result" in body(refuse(errors.Denied(), task, LATEST))


# ---------------------------------------------------------------- hidden names


def reply_to_hidden(message: Message, revision: Revision) -> Any:
    answer = refuse(errors.Hidden(detail="rule x", data={"secret": "s"}), message, revision)
    assert answer.status == 200
    return body(answer)["error"]


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.era.value)
def test_hidden_names_look_unknown(revision: Revision) -> None:
    assert reply_to_hidden(CALL, revision) == {"code": -32602, "message": "Unknown tool: wipe"}
    assert reply_to_hidden(GET, revision) == {"code": -32602, "message": "Unknown prompt: brief"}
    not_found = {"message": "Resource not found", "data": {"uri": "x://a"}}
    code = -32602 if revision is LATEST else -32002
    for method in ("resources/read", "resources/subscribe", "resources/unsubscribe"):
        message = messages.request(7, method, {"uri": "x://a"})
        assert reply_to_hidden(message, revision) == {"code": code, **not_found}
    prompt: JsonObject = {"ref": {"type": "ref/prompt", "name": "brief"}}
    resource: JsonObject = {"ref": {"type": "ref/resource", "uri": "x://a"}}
    complete = "completion/complete"
    assert reply_to_hidden(messages.request(7, complete, prompt), revision)["message"] == "Unknown prompt: brief"
    assert reply_to_hidden(messages.request(7, complete, resource), revision) == {"code": code, **not_found}
    assert reply_to_hidden(messages.request(7, "tasks/get", {"taskId": "t"}), revision)["code"] == -32602


def test_hidden_task_call_looks_unknown_too() -> None:
    task = messages.request(7, "tools/call", {"name": "wipe", "task": {}})
    assert reply_to_hidden(task, LATEST_LEGACY) == {"code": -32602, "message": "Unknown tool: wipe"}


def test_hidden_and_unknown_methods_look_the_same() -> None:
    for revision in REVISIONS:
        message = messages.request(7, "vendor/x", {})
        assert refuse(errors.Hidden(), message, revision) == refuse(errors.UnknownMethod(), message, revision)


def test_hidden_call_without_a_name_is_answered_for_that() -> None:
    answer = refuse(errors.Hidden(), messages.request(7, "tools/call", {}))
    assert (answer.status, body(answer)["error"]["code"]) == (200, -32602)


# ---------------------------------------------------------------- data and headers


def test_error_says_what_the_operator_needs_to_find_it() -> None:
    error = errors.UnsupportedVersion(data={"supported": ["a"], "requested": "b"})
    assert body(refuse(error, None))["error"] == {
        "code": -32022,
        "message": errors.UnsupportedVersion.sentence,
        "data": {
            "reason": "unsupported-version",
            "exchangeId": "e1",
            "decisionId": "d1",
            "supported": ["a"],
            "requested": "b",
        },
    }


def test_detail_is_never_shown() -> None:
    for message in (None, *REQUESTS):
        for kind in CLASSES:
            assert b"s3cr3t" not in refuse(kind(detail="s3cr3t"), message).body


def test_decision_is_named_only_where_there_is_one() -> None:
    answer = refusal(errors.Withheld(), READ, LATEST, exchange_id="e1")
    assert body(answer)["error"]["data"] == {"reason": "withheld", "exchangeId": "e1"}


def test_headers_of_the_answer() -> None:
    base = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
    assert refuse(errors.NotJson(), None).headers == base
    challenge = ("WWW-Authenticate", "Bearer")
    assert refuse(errors.Unauthenticated(headers=[challenge]), CALL).headers == (*base, challenge)
    assert refuse(errors.Overloaded(), INITIALIZE).headers == (*base, ("Retry-After", "1"))
    assert refuse(errors.Overloaded(), INITIALIZED).headers == (*base, ("Retry-After", "1"))
    assert refuse(errors.Overloaded(headers=[("Retry-After", "9")]), None).headers == (*base, ("Retry-After", "9"))
    assert refuse(errors.Overloaded(), CALL).headers == base


def test_wait_is_told_in_the_body_where_no_status_tells_it() -> None:
    assert body(refuse(errors.Draining(), LIST))["error"]["data"]["retryAfterMs"] == 1000
    assert "retryAfterMs" not in body(refuse(errors.UpstreamTimeout(), LIST))["error"]["data"]


@pytest.mark.parametrize("kind", CLASSES, ids=by_name)
@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: message.method)
def test_event_says_the_same_as_the_body(kind: type[OpenMCPError], message: Message) -> None:
    event = in_stream(kind(), message, LATEST, exchange_id="e1", decision_id="d1")
    assert event == refuse(kind(), message, LATEST).body


# ------------------------------------------------------------ what nobody has read yet


OF_THE_HTTP_REQUEST = [
    *(errors.BodyTooLarge, errors.HostRefused, errors.OriginRefused, errors.RequestTimeout, errors.Unauthenticated),
    *(errors.UnknownPath, errors.UnsupportedMedia, errors.MethodNotAllowed, errors.UnsupportedVersion),
]
UNREAD = messages.encode(messages.request(1, "ping"))


@pytest.mark.parametrize("kind", OF_THE_HTTP_REQUEST)
def test_body_is_not_read_to_refuse_the_request_around_it(kind: type[OpenMCPError]) -> None:
    assert peek(kind(), UNREAD) is None


def test_short_body_is_read_where_the_form_of_the_refusal_depends_on_it() -> None:
    for error in (errors.Overloaded(), errors.Unavailable(), errors.Forbidden()):
        assert peek(error, UNREAD) == messages.request(1, "ping")
    assert peek(errors.Overloaded(), b"{") is None


def test_long_body_is_not_read_to_refuse_it() -> None:
    longest = UNREAD + b" " * (PEEK_BYTES - len(UNREAD))
    assert peek(errors.Overloaded(), longest) is not None
    assert peek(errors.Overloaded(), longest + b" ") is None
