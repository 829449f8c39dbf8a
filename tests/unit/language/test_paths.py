"""Paths to arguments: what they lead to, and what is no path."""

import pytest

from openmcp.language.paths import Json, compile_path

VALUE: Json = {"env": "prod", "items": [{"id": 1}, {"id": 2}, {}], "odd name": {"a.b": [5]}, "n": None}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [VALUE]),
        ("$.env", ["prod"]),
        ("$.missing", []),
        ("$.env.deeper", []),
        ("$.items[*].id", [1, 2]),
        ("$.items[1].id", [2]),
        ("$.items[9]", []),
        ("$.items.id", []),
        ("$['odd name']['a.b'][0]", [5]),
        ('$["env"]', ["prod"]),
        ("$.n", [None]),
        ("$.items[0].*", [1]),
        ("$.items", [[{"id": 1}, {"id": 2}, {}]]),
    ],
)
def test_a_path_leads_to_its_values(path: str, found: list[Json]) -> None:
    assert compile_path(path)(VALUE) == found


@pytest.mark.parametrize(
    "path", ["", "env", "$env", "$..env", "$.items[?@.id]", "$.items[-1]", "$[", "$.a b", "$." * 200]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        compile_path(path)
