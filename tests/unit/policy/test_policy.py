"""What comes back is decided too: what a server asks and tells, and the answer of a call, by the newest rules."""

from collections.abc import Sequence
from typing import Any

import pytest

from openmcp.errors import Denied, Dropped, Hidden
from openmcp.language.globs import compile_globs
from openmcp.mcp import message as messages
from openmcp.mcp import methods
from openmcp.mcp.message import JsonObject, Message
from openmcp.mcp.methods import SubjectKind
from openmcp.mcp.revisions import LATEST, LATEST_LEGACY, Revision
from openmcp.model.agent import Agent, Principal, Trust
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Effect, Permitted, RuleRef
from openmcp.model.origin import Origin
from openmcp.model.server import Authentication, Server
from openmcp.policy.engine import PolicyEngine
from openmcp.policy.policy import Policy
from openmcp.policy.rules import Match, Rule, ServerSelector

BOT = Agent(name="bot", principal=Principal("key:keys:bot", "keys", "apiKey", Trust.SHARED_SECRET))
DESK = Server("desk", "/desk", (), Authentication(()))


def rule(effect: Effect, *, reason: str = "", methods_: Sequence[str] | None = None, **subjects: Sequence[str]) -> Rule:
    kinds = {SubjectKind(kind): compile_globs(globs) for kind, globs in subjects.items()}
    match = Match(kinds, compile_globs(methods_) if methods_ is not None else None)
    return Rule(RuleRef("p", "r"), effect, match, ServerSelector(), None, reason)


def allow(**match: Any) -> Rule:
    return rule(Effect.ALLOW, **match)


def deny(**match: Any) -> Rule:
    return rule(Effect.DENY, **match)


EVERYTHING = allow(tool=["**"], prompt=["**"], resource=["**"])


def policy(*rules: Rule, revision: str = "1") -> Policy:
    return Policy(PolicyEngine(rules, revision=revision))


def called(
    by: Policy, method: str = "tools/call", params: JsonObject | None = None, *, revision: Revision = LATEST_LEGACY
) -> Permitted:
    """What an agent was let call."""
    asked = messages.request(1, method, params if params is not None else {"name": "read"})
    subjects = methods.subjects(asked)
    origin = Origin(1, method, subjects[0].name if len(subjects) == 1 else "")
    arrival = Arrival(
        http_method="POST", revision=revision, message=asked, method=method, subjects=subjects, origin=origin
    )
    return Permitted(DESK, arrival, agent=BOT, decision=by.authorize(BOT, DESK, arrival))


def listening(by: Policy, origin: Origin | None = None) -> Permitted:
    """A stream that an agent opened, or resumed, by GET."""
    arrival = Arrival(http_method="GET", revision=LATEST_LEGACY, origin=origin)
    return Permitted(DESK, arrival, agent=BOT, decision=by.authorize(BOT, DESK, arrival))


def answer_of(dropped: pytest.ExceptionInfo[Dropped]) -> Message | None:
    answer = dropped.value.answer
    assert answer is None or isinstance(answer, Message)
    return answer


# ------------------------------------------------------------ newer rules


RESULT = messages.result(1, {"content": []})
ANSWERS = [RESULT, messages.error(1, -1, "no such row: secret")]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_withheld_where_a_newer_rule_denies_the_call(answer: Message) -> None:
    permitted = called(policy(EVERYTHING))
    with pytest.raises(Hidden):
        policy(EVERYTHING, deny(tool=["read"]), revision="2").review(answer, permitted)
    with pytest.raises(Denied) as refused:
        policy(EVERYTHING, deny(tool=["read"], reason="Closed."), revision="2").review(answer, permitted)
    assert refused.value.text == "Closed."
    assert policy(EVERYTHING, deny(tool=["wipe"]), revision="2").review(answer, permitted) is answer


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(
    ("method", "name", "denied"),
    [
        ("tools/call", "read", {"tool": ["read"]}),
        ("resources/read", "doc://a", {"resource": ["doc://a"]}),
        ("prompts/get", "read", {"prompt": ["read"]}),
        ("completion/complete", "read", {"prompt": ["read"]}),
        ("completion/complete", "doc://a", {"resource": ["doc://a"]}),
    ],
)
def test_an_answer_on_a_resumed_stream_says_no(answer: Message, method: str, name: str, denied: Any) -> None:
    permitted = listening(policy(EVERYTHING), Origin(1, method, name))
    no = policy(EVERYTHING, deny(**denied), revision="2").review(answer, permitted)
    assert (no.id, no.error and no.error["code"]) == (1, -31001)
    assert b"secret" not in messages.encode(no)


def test_what_else_belongs_to_a_call_that_is_denied_by_now_is_dropped() -> None:
    permitted = called(policy(EVERYTHING))
    newer = policy(EVERYTHING, allow(methods_=["sampling/createMessage"]), deny(tool=["read"]), revision="2")
    with pytest.raises(Dropped):
        newer.review(messages.notification("notifications/progress", {}), permitted)
    with pytest.raises(Dropped) as dropped:
        newer.review(messages.request(5, "sampling/createMessage", {}), permitted)
    answer = answer_of(dropped)
    assert answer is not None
    assert answer.id == 5


def test_a_stream_of_no_call_goes_on_under_newer_rules() -> None:
    told = messages.notification("notifications/message", {})
    newer = policy(EVERYTHING, deny(tool=["read"]), revision="2")
    assert newer.review(told, listening(policy(EVERYTHING))) is told


# ------------------------------------------------------------ what a server may send


@pytest.mark.parametrize(
    "method", ["tools/list", "tools/call", "initialize", "logging/setLevel", "notifications/message"]
)
@pytest.mark.parametrize("rules", [(EVERYTHING,), (EVERYTHING, allow(methods_=["**"]))])
def test_a_server_may_not_ask_what_only_agents_ask(method: str, rules: Sequence[Rule]) -> None:
    by = policy(*rules)
    with pytest.raises(Dropped) as dropped:
        by.review(messages.request(5, method, {}), called(by))
    answer = answer_of(dropped)
    assert answer is not None
    assert answer.error is not None
    assert (answer.id, answer.error["code"]) == (5, -32601)


def test_an_unknown_question_passes_only_where_a_rule_names_it() -> None:
    question = messages.request(5, "vendor/ask", {})
    by = policy(EVERYTHING, allow(methods_=["vendor/ask"]))
    assert by.review(question, called(by)) is question
    by = policy(EVERYTHING)
    with pytest.raises(Dropped) as dropped:
        by.review(question, called(by))
    answer = answer_of(dropped)
    assert answer is not None
    assert answer.error is not None
    assert answer.error["code"] == -32601


@pytest.mark.parametrize(
    "method", ["notifications/initialized", "notifications/roots/list_changed", "notifications/new"]
)
def test_a_server_may_not_tell_what_only_agents_tell(method: str) -> None:
    by = policy(EVERYTHING, allow(methods_=["**"]))
    with pytest.raises(Dropped):
        by.review(messages.notification(method, {}), called(by))


def test_a_notification_of_the_other_era_is_dropped() -> None:
    by = policy(EVERYTHING)
    told = messages.notification("notifications/elicitation/complete", {})
    assert by.review(told, called(by)) is told
    with pytest.raises(Dropped):
        by.review(told, called(by, revision=LATEST))


def test_a_modern_server_asks_in_results_only() -> None:
    by = policy(EVERYTHING, allow(methods_=["sampling/createMessage"]))
    question = messages.request(5, "sampling/createMessage", {})
    assert by.review(question, called(by)) is question
    with pytest.raises(Dropped) as dropped:
        by.review(question, called(by, revision=LATEST))
    assert answer_of(dropped) is None


@pytest.mark.parametrize(
    ("method", "passes"), [("roots/list", True), ("tools/list", False), ("ping", False), ("", False)]
)
def test_a_question_in_a_result_is_decided_like_one_in_a_message(method: str, passes: bool) -> None:
    by = policy(EVERYTHING, allow(methods_=["roots/list"]))
    asks = messages.result(1, {"resultType": "input_required", "inputRequests": {"a": {"method": method}}})
    if passes:
        assert by.review(asks, called(by, revision=LATEST)) is asks
    else:
        with pytest.raises(Denied):
            by.review(asks, called(by, revision=LATEST))


ELICITING = [
    messages.error(1, -32042, "Go there", data={"elicitations": [{"mode": "url", "url": "https://evil.example"}]}),
    messages.error(1, -32042, "Go there"),
    messages.error(1, -1, "Go there", data={"elicitations": [{"mode": "url", "url": "https://evil.example"}]}),
]


@pytest.mark.parametrize("error", ELICITING)
def test_an_error_that_sends_the_user_to_a_page_is_an_elicitation(error: Message) -> None:
    by = policy(EVERYTHING)
    with pytest.raises(Denied):
        by.review(error, called(by))
    no = by.review(error, listening(by, Origin(1, "tools/call", "read")))
    assert b"evil" not in messages.encode(no)
    by = policy(EVERYTHING, allow(methods_=["elicitation/create"]))
    assert by.review(error, called(by)) is error


# ------------------------------------------------------------ lists and caches


TWO_LISTS: JsonObject = {
    "tools": [{"name": "read"}, {"name": "wipe"}],
    "resources": [{"uri": "doc://open"}, {"uri": "doc://secret"}],
}


@pytest.mark.parametrize("origin", [None, Origin(1, "tools/list"), Origin(1, "resources/list")])
def test_all_lists_of_a_result_are_filtered(origin: Origin | None) -> None:
    by = policy(allow(tool=["read"]), allow(resource=["doc://open"]))
    shown = by.review(messages.result(1, TWO_LISTS), listening(by, origin))
    assert shown.result == {"tools": [{"name": "read"}], "resources": [{"uri": "doc://open"}]}


def test_a_modern_list_is_private_whatever_it_says() -> None:
    by = policy(EVERYTHING)
    shown = by.review(messages.result(1, {"tools": []}), called(by, "tools/list", {}, revision=LATEST))
    assert shown.result == {"tools": [], "cacheScope": "private", "ttlMs": 60_000}


def test_what_was_read_is_for_one_agent() -> None:
    by = policy(EVERYTHING)
    read = messages.result(1, {"contents": [], "cacheScope": "public", "ttlMs": 5})
    shown = by.review(read, called(by, "resources/read", {"uri": "doc://a"}, revision=LATEST))
    assert shown.result == {"contents": [], "cacheScope": "private", "ttlMs": 5}


# ------------------------------------------------------------ subscriptions


def test_a_rule_against_subscribing_is_asked_for_each_resource() -> None:
    by = policy(EVERYTHING, deny(methods_=["subscriptions/listen"], resource=["doc://secret"]))
    wanted: JsonObject = {"notifications": {"resourceSubscriptions": ["doc://open", "doc://secret"]}}
    permitted = called(by, "subscriptions/listen", wanted, revision=LATEST)
    assert permitted.decision is not None
    sent = by.enforce(permitted.decision, BOT, server=DESK, arrival=permitted.arrival).message
    assert sent is not None
    assert sent.params == {"notifications": {"resourceSubscriptions": ["doc://open"]}}
    told = messages.notification("notifications/resources/updated", {"uri": "doc://open"})
    assert by.review(told, permitted) is told
    with pytest.raises(Dropped):
        by.review(messages.notification("notifications/resources/updated", {"uri": "doc://secret"}), permitted)


def test_a_rule_that_allows_reading_allows_to_be_told() -> None:
    by = policy(allow(methods_=["resources/read"], resource=["doc://open"]))
    wanted: JsonObject = {"notifications": {"resourceSubscriptions": ["doc://open"]}}
    permitted = called(by, "subscriptions/listen", wanted, revision=LATEST)
    assert permitted.decision is not None
    sent = by.enforce(permitted.decision, BOT, server=DESK, arrival=permitted.arrival).message
    assert sent is not None
    assert sent.params == wanted
