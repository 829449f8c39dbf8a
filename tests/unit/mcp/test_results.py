"""What a gateway owes to results: nobody else's cache, the revisions that both speak, and what they ask for."""

from typing import Any

import pytest

from openmcp.mcp import message as messages
from openmcp.mcp import results
from openmcp.mcp.message import Json, JsonObject
from openmcp.mcp.revisions import LATEST, LATEST_LEGACY


def changed(value: JsonObject, how: Any, *more: Any) -> JsonObject | None:
    before = dict(value)
    message = how(messages.result(1, value), *more)
    assert value == before
    result: JsonObject | None = message.result
    return result


@pytest.mark.parametrize(
    ("value", "is_round"),
    [
        ({"resultType": "input_required"}, True),
        ({"resultType": "complete"}, False),
        ({}, False),
        (None, False),
        ([], False),
    ],
)
def test_round_of_a_call_is_known_by_its_type(value: Json, is_round: bool) -> None:
    assert results.asks_for_input(value) is is_round


@pytest.mark.parametrize(
    ("requests", "asked"),
    [
        (
            {"a": {"method": "sampling/createMessage"}, "b": {"method": "roots/list"}},
            ("sampling/createMessage", "roots/list"),
        ),
        ({"a": {"method": "ping", "Method": "roots/list"}, "b": {"METHOD": "ping"}}, ("", "")),
        ({"a": {"params": {}}, "b": {"method": 7}, "c": "roots/list", "d": None}, ("", "", "", "")),
        ({}, ()),
        ([{"method": "roots/list"}], ()),
        (None, ()),
    ],
)
def test_requests_in_a_result_are_named_by_their_methods(requests: Json, asked: tuple[str, ...]) -> None:
    value: JsonObject = {"resultType": "input_required", "inputRequests": requests}
    assert tuple(found.method for found in results.input_requests(messages.result(1, value))) == asked
    assert results.input_requests(messages.result(1, {**value, "resultType": "complete"})) == ()


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        ({"code": -32042, "message": "x"}, ("elicitation/create",)),
        ({"code": -32042, "message": "x", "data": {"elicitations": []}}, ("elicitation/create",)),
        ({"code": 1, "message": "x", "data": {"elicitations": [{"mode": "url"}]}}, ("elicitation/create",)),
        ({"code": 1, "message": "x", "data": {"Elicitations": []}}, ("elicitation/create",)),
        ({"code": 1, "message": "x", "data": {"else": 1}}, ()),
        ({"code": 1, "message": "x", "data": "elicitations"}, ()),
        ({"code": 1, "message": "x"}, ()),
    ],
)
def test_an_error_that_sends_the_user_somewhere_asks_for_input(error: JsonObject, asked: tuple[str, ...]) -> None:
    assert tuple(found.method for found in results.input_requests(messages.result(1, {}).with_error(error))) == asked


@pytest.mark.parametrize(
    ("ttl", "limited"), [(5, 5), (0, 0), (60_000, 60_000), (60_001, 60_000), (1.5, 1.5), (True, 60_000), ("5", 60_000)]
)
@pytest.mark.parametrize("revision", [LATEST, LATEST_LEGACY])
def test_a_list_is_for_one_agent_and_not_for_long(ttl: Any, limited: Any, revision: Any) -> None:
    value: JsonObject = {"tools": [], "cacheScope": "public", "ttlMs": ttl}
    assert changed(value, results.private_list, revision) == {"tools": [], "cacheScope": "private", "ttlMs": limited}


def test_a_modern_list_that_says_nothing_of_caches_is_made_to() -> None:
    expected: JsonObject = {"tools": [], "cacheScope": "private", "ttlMs": results.MAX_TTL_MS}
    assert changed({"tools": []}, results.private_list, LATEST) == expected
    assert changed({"tools": []}, results.private_list, LATEST_LEGACY) == {"tools": []}


@pytest.mark.parametrize("scope", ["public", "PUBLIC", "shared", None, 1])
def test_no_other_result_is_for_everybody_either(scope: Json) -> None:
    value: JsonObject = {"contents": [], "ttlMs": 90_000, "cacheScope": scope}
    assert changed(value, results.private) == {**value, "cacheScope": "private"}


@pytest.mark.parametrize("value", [{"contents": []}, {"contents": [], "cacheScope": "private"}])
def test_a_result_that_is_for_nobody_else_is_left_alone(value: JsonObject) -> None:
    message = messages.result(1, value)
    assert results.private(message) is message


def test_errors_have_no_cache() -> None:
    error = messages.error(1, -1, "no")
    assert results.private(error) is error
    assert results.private_list(error, LATEST) is error


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [
        (["2031-01-01", "2026-07-28", 7, None, "2025-06-18"], ["2026-07-28", "2025-06-18"]),
        (["2031-01-01"], []),
        ([], []),
        ("2026-07-28", "2026-07-28"),
    ],
)
def test_only_revisions_that_both_speak_are_named(offered: Json, spoken: Json) -> None:
    expected = {"supportedVersions": spoken, "x": 1}
    assert changed({"supportedVersions": offered, "x": 1}, results.speakable) == expected


def test_what_names_no_revisions_is_left_alone() -> None:
    for message in (messages.result(1, {}), messages.error(1, -1, "no")):
        assert results.speakable(message) is message
