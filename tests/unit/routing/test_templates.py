"""Which URIs can come from a template."""

import time

import pytest

from openmcp.routing.templates import fits


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("doc://a", "doc://a"),
        ("doc://{name}", "doc://a"),
        ("doc://{name}", "doc://a/b"),
        ("doc://{+path}", "doc://a/b?c"),
        ("doc://{name}", "doc://"),
        ("doc://{a}/{b}", "doc://x/y"),
        ("doc://{a}/{b}.md", "doc://x/y.md"),
        ("{scheme}://x", "http://x"),
        ("{all}", "anything"),
        ("doc://{a}{?q,r}", "doc://a?q=1"),
        ("a{x}b{y}b", "abbb"),
    ],
)
def test_fits(template: str, uri: str) -> None:
    assert fits(template, uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("doc://a", "doc://ab"),
        ("doc://{name}", "doc:/a"),
        ("doc://{a}/end", "doc://a/en"),
        ("doc://{a}/{b}.md", "doc://x.md"),
        ("ab{x}ba", "aba"),
        ("doc://{a}", "DOC://a"),
    ],
)
def test_does_not_fit(template: str, uri: str) -> None:
    assert not fits(template, uri)


def test_a_hostile_uri_costs_little() -> None:
    begin = time.perf_counter()
    assert not fits("a" + "{x}a" * 30 + "b", "a" * 100_000)
    assert time.perf_counter() - begin < 0.2
