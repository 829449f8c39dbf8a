"""Globs over names: what `*` and `**` match, and that hostile ones stay cheap."""

import pytest

from openmcp.language.globs import compile_globs


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("ticket_read", "ticket_read", True),
        ("ticket_read", "Ticket_read", False),
        ("ticket_*", "ticket_", True),
        ("ticket_*", "ticket_read", True),
        ("ticket_*", "ticket_a/b", False),
        ("ticket_**", "ticket_a/b", True),
        ("ticket://**", "ticket://x/y/z", True),
        ("ticket://*", "ticket://x/y", False),
        ("**", "", True),
        ("**", "any\nthing", True),
        ("*", "a/b", False),
        ("a.b", "axb", False),
        ("a[b]", "a[b]", True),
        ("***", "a/b", True),
    ],
)
def test_a_glob_matches_whole_names_only(glob: str, name: str, matches: bool) -> None:
    assert compile_globs([glob])(name) is matches


def test_any_of_several_globs_is_enough() -> None:
    matches = compile_globs(["exact", "pre*"])
    assert [name for name in ("exact", "prefix", "other") if matches(name)] == ["exact", "prefix"]


def test_no_glob_matches_nothing() -> None:
    assert not compile_globs([])("anything")


def test_too_many_wildcards_are_refused() -> None:
    with pytest.raises(ValueError, match="wildcards"):
        compile_globs(["*a" * 9])


@pytest.mark.parametrize("glob", ["*a*a*a*b", "**a**a**a**b", "a*", "*b", "**"])
def test_a_hostile_name_is_decided_in_linear_time(glob: str) -> None:
    matches = compile_globs([glob])
    # Backtracking would take the fourth power of this; the test's own time-out is the bound.
    assert matches("a" * 200_000 + "c") is (glob in {"a*", "**"})
