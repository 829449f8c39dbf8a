"""A listener answers for its own hosts and to its own pages."""

import pytest

from openmcp.errors import HostRefused, Malformed, OriginRefused
from openmcp.server.hosts import HostGuard


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "[0:0:0:0:0:0:0:1]", "Gw.Example", "gw.example:8"],
)
def test_public_host_and_loopback_are_allowed_by_default(host: str) -> None:
    guard = HostGuard("https://gw.example:8443/base")
    guard.check({"host": host})
    guard.check({"host": host})


@pytest.mark.parametrize("host", ["evil", "gw.example.evil", "127.0.0.2", "[::2]", "localhost.", "10.0.0.1"])
def test_other_hosts_are_refused(host: str) -> None:
    guard = HostGuard("https://gw.example")
    for _ in range(2):
        with pytest.raises(HostRefused):
            guard.check({"host": host})


@pytest.mark.parametrize(
    "host", ["", "a b", "a@localhost", "localhost:", "localhost:x", "[::1", "[x]", "a,b", "a\u00e4"]
)
def test_host_that_is_none_is_malformed(host: str) -> None:
    with pytest.raises(Malformed):
        HostGuard("").check({"host": host})


def test_listed_hosts_replace_the_default() -> None:
    guard = HostGuard("https://gw.example", ["a.example", "b.example:81"])
    guard.check({"host": "a.example:1"})
    guard.check({"host": "b.example:81"})
    for host in ("b.example", "b.example:82", "localhost", "gw.example"):
        with pytest.raises(HostRefused):
            guard.check({"host": host})


def test_many_hosts_are_not_all_remembered() -> None:
    guard = HostGuard("")
    for port in range(1000):
        guard.check({"host": f"localhost:{port}"})
    guard.check({"host": "localhost:999"})


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://gw.example", "gw.example"),
        ("https://gw.example:443", "localhost:8080"),
        ("HTTPS://GW.Example", "gw.example"),
        ("http://localhost:8080", "localhost:8080"),
        ("http://localhost", "localhost:80"),
        ("https://listed.example", "gw.example"),
        ("app://listed", "gw.example"),
    ],
)
def test_own_and_listed_origins_are_allowed(origin: str, host: str) -> None:
    guard = HostGuard("https://gw.example/", allowed_origins=["https://listed.example:443", "app://listed"])
    guard.check({"host": host, "origin": origin})


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil",
        "http://localhost:3000",
        "http://gw.example:81",
        "https://gw.example.evil",
        "gw.example",
    ],
)
def test_other_origins_are_refused(origin: str) -> None:
    guard = HostGuard("https://gw.example")
    with pytest.raises(OriginRefused):
        guard.check({"host": "localhost:8080", "origin": origin})


def test_null_origin_is_allowed_where_it_is_listed() -> None:
    HostGuard("", allowed_origins=["null"]).check({"host": "localhost", "origin": "null"})


def test_page_of_another_scheme_is_not_ours() -> None:
    with pytest.raises(OriginRefused):
        HostGuard("").check({"host": "localhost", "origin": "https://localhost"})
