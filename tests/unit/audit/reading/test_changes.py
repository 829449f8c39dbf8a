"""What went out is made again from what came in."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmcp.audit.reading.changes import changed, parse_path
from openmcp.audit.record import ChangePart


def change(op: str, path: str, value: Any = None) -> ChangePart:
    return ChangePart(op=op, path=path, value=msgspec.Raw(msgspec.json.encode(value)))


def test_entries_are_removed_by_their_old_places() -> None:
    body: Any = {"result": {"tools": [{"name": name} for name in "abcde"]}}
    after = changed(body, [change("removed", "$.result.tools[1]"), change("removed", "$.result.tools[3]")])
    assert after == {"result": {"tools": [{"name": name} for name in "ace"]}}
    assert len(body["result"]["tools"]) == 5


def test_replaced_removed_and_added_come_together() -> None:
    body: Any = {"result": {"tools": ["a", "b"], "old": 1, "ttlMs": 600}}
    after = changed(
        body,
        [
            change("removed", "$.result.tools[0]"),
            change("removed", "$.result.old"),
            change("replaced", "$.result.ttlMs", 60),
            change("added", '$.result["new one"]', {"x": 1}),
        ],
    )
    assert after == {"result": {"tools": ["b"], "ttlMs": 60, "new one": {"x": 1}}}


def test_the_whole_can_be_replaced() -> None:
    assert changed({"a": 1}, [change("replaced", "$", {"b": 2})]) == {"b": 2}


def test_what_fits_nowhere_changes_nothing() -> None:
    assert changed({"a": [1]}, [change("replaced", "$.b.c", 1), change("removed", "$.a[7]")]) == {"a": [1]}


@pytest.mark.parametrize("path", ["", "a", "$.", "$[x]", "$.a[", "$..a", "$['a"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"path|begin"):
        parse_path(path)


@given(st.text(max_size=20))
def test_any_member_can_be_named(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_path(f'$.a["{quoted}"][3]') == ("a", name, 3)
