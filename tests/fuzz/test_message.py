"""Both ways of reading accept the same texts with equal values, and agree with the standard library."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmcp.errors import OpenMCPError
from openmcp.mcp import strict
from openmcp.mcp.message import Json, encode, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = (
    st.integers() | st.integers(min_value=10**30, max_value=10**40) | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda below: st.lists(below, max_size=5) | st.dictionaries(TEXT, below, max_size=5),
    max_leaves=20,
)
FRAGMENTS = st.sampled_from(
    [
        *(
            '{"jsonrpc":"2.0","id":1,"method":"x"}',
            '{"jsonrpc":"2.0",',
            '"params":{',
            '"a":',
            '"a":1,',
            "{",
            "}",
            "[",
            "]",
        ),
        *(",", ":", '"', "\\", '\\"', "\\\\", "\\u0061", "\\ud83d", "\\ude00", "\\ud83d\\ude00", "a", "é", "\ufeff"),
        *(
            "\0",
            "\n",
            " ",
            "\t",
            "1",
            "-",
            "0",
            ".",
            "e",
            "E9",
            "1e400",
            "NaN",
            "Infinity",
            "true",
            "null",
            "-0",
            "1.0",
        ),
    ]
)
LIMITS = strict.ParseLimits(depth=6, nodes=40, keys_per_object=5)


def outcome(read: Any, raw: bytes, *limits: strict.ParseLimits) -> tuple[str, Any]:
    """Return what a reader makes of the bytes; types and number spelling count, as `1` and `1.0` differ."""
    try:
        return "value", repr(read(raw, *limits))
    except OpenMCPError:
        return "refused", None


def reference(raw: bytes) -> Json:
    """Read with the standard library alone, checking afterwards what it lets pass."""
    seen: list[list[tuple[str, Any]]] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen.append(items)
        return dict(items)

    value: Json = json.loads(raw.decode(), object_pairs_hook=pairs)
    assert all(len(dict(items)) == len(items) for items in seen)
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    return value


def check_differential(raw: bytes) -> None:
    fast, slow = outcome(strict.value, raw), outcome(strict.slow_value, raw)
    assert fast == slow
    expected: tuple[str, str | None]
    try:
        expected = "value", repr(reference(raw))
    except (ValueError, AssertionError):
        expected = "refused", None
    assert fast == expected


@given(VALUES, st.booleans(), st.sampled_from([None, (",", ":"), (", ", ":")]))
@settings(deadline=None, max_examples=150)
def test_valid_json_is_read_alike_in_any_spelling(value: Json, is_ascii: bool, separators: Any) -> None:
    raw = json.dumps(value, ensure_ascii=is_ascii, separators=separators).encode()
    check_differential(raw)
    assert repr(strict.value(raw)) == repr(json.loads(raw))


@given(st.lists(FRAGMENTS, max_size=30).map("".join))
@settings(deadline=None, max_examples=300)
def test_broken_json_is_refused_alike(text: str) -> None:
    check_differential(text.encode())


@given(st.binary(max_size=40))
@settings(deadline=None, max_examples=150)
def test_any_bytes_are_refused_alike(raw: bytes) -> None:
    check_differential(raw)


@given(VALUES, st.data())
@settings(deadline=None, max_examples=150)
def test_one_changed_byte_is_read_alike(value: Json, data: st.DataObject) -> None:
    raw = bytearray(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    check_differential(bytes(raw))


@given(VALUES)
@settings(deadline=None, max_examples=150)
def test_limits_refuse_exactly_what_is_beyond_them(value: Json) -> None:
    raw = json.dumps(value, separators=(",", ":")).encode()
    is_within = (
        depth(value) <= LIMITS.depth
        and commas_and_containers(value) <= LIMITS.nodes
        and widest(value) <= LIMITS.keys_per_object
    )
    assert (outcome(strict.value, raw, LIMITS)[0] == "value") is is_within


@given(st.dictionaries(TEXT, VALUES, max_size=5))
@settings(deadline=None, max_examples=100)
def test_message_that_is_accepted_is_written_as_it_was_read(arguments: dict[str, Any]) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a", "arguments": arguments}}
    message = parse(json.dumps(body).encode())
    assert parse(encode(message)) == message
    assert repr(json.loads(encode(message))) == repr(body)


@pytest.mark.heavy
@pytest.mark.timeout(600)
@given(st.lists(FRAGMENTS, max_size=60).map("".join) | VALUES.map(json.dumps))
@settings(deadline=None, max_examples=50_000)
def test_reading_agrees_over_many_texts(text: str) -> None:
    check_differential(text.encode())


def below(value: Json) -> list[Json]:
    return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []


def depth(value: Json) -> int:
    return 1 + max(map(depth, below(value)), default=0) if isinstance(value, dict | list) else 0


def commas_and_containers(value: Json) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(len(value) - 1, 0) + sum(map(commas_and_containers, below(value)))


def widest(value: Json) -> int:
    return max([len(value) if isinstance(value, dict) else 0, *map(widest, below(value))])
