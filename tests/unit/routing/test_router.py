"""Which server a path belongs to."""

import time

import pytest

from openmcp.errors import UnknownPath
from openmcp.routing.router import Router
from tests.unit.routing.made import request, server

NESTED = Router([server("team"), server("deep", "/team/deep"), server("other", "/other")])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/team", "team"),
        ("/team/", "team"),
        ("/team//", "team"),
        ("/team/deep", "deep"),
        ("/team/deep/", "deep"),
        ("/team/deep/down", "deep"),
        ("/team/deeper", "team"),
        ("/team/x/deep", "team"),
        ("/other/team", "other"),
    ],
)
def test_the_longest_prefix_at_a_segment_boundary_wins(path: str, name: str) -> None:
    assert NESTED.match(request(path)).name == name


@pytest.mark.parametrize("path", ["", "/", "/teams", "/tea", "/TEAM", "/%74eam", "//team", "/x/team", "team"])
def test_whatever_else_belongs_to_nobody(path: str) -> None:
    with pytest.raises(UnknownPath):
        NESTED.match(request(path))


def test_a_server_at_the_root_takes_the_rest() -> None:
    router = Router([server("root", ""), server("team")])
    assert [router.match(request(path)).name for path in ("/", "", "/x/y", "/team/x")] == [
        "root",
        "root",
        "root",
        "team",
    ]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a.example", "a"),
        ("A.Example:8443", "a"),
        ("b.example", "b"),
        ("[::1]:80", "b"),
        ("c.example", "any"),
        ("", "any"),
    ],
)
def test_hosts_tell_servers_at_one_path_apart(host: str, name: str) -> None:
    router = Router(
        [
            server("a", "/x", hosts=("a.example",)),
            server("any", "/x"),
            server("b", "/x", hosts=("b.example", "[::1]")),
        ]
    )
    assert router.match(request("/x/y", host=host)).name == name


def test_a_path_of_other_hosts_only_belongs_to_nobody() -> None:
    router = Router([server("a", "/x", hosts=("a.example",))])
    with pytest.raises(UnknownPath):
        router.match(request("/x", host="b.example"))


def test_a_path_of_other_hosts_only_leaves_a_shorter_prefix_to_others() -> None:
    router = Router([server("outer", "/x"), server("inner", "/x/y", hosts=("a.example",))])
    assert router.match(request("/x/y", host="b.example")).name == "outer"


def test_servers_are_found_by_name_as_long_as_they_are_configured() -> None:
    found = NESTED.named("deep")
    assert found is not None
    assert found.path == "/team/deep"
    assert NESTED.named("gone") is None


def test_a_path_of_very_many_segments_costs_little() -> None:
    """It is looked at before anybody knows who asks."""
    begin = time.perf_counter()
    for _ in range(10):
        with pytest.raises(UnknownPath):
            NESTED.match(request("/b" * 8000))
    assert time.perf_counter() - begin < 0.1
