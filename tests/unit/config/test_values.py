"""The written forms of values."""

import pytest

from openmcp.config import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30), ("15m", 900), ("8h", 28800), ("2d", 172800), ("1h30m", 5400), ("1.5s", 1.5)],
)
def test_durations_have_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert values.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "30 s", "-1s", "0s", "1w", "١s", "1s ", "1e3s", f"{'9' * 400}d"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        values.duration_s(text)


@pytest.mark.parametrize(("text", "size"), [("512B", 512), ("256KiB", 262144), ("4MiB", 4194304), ("1GiB", 1 << 30)])
def test_sizes_have_a_number_and_a_unit(text: str, size: int) -> None:
    assert values.size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "4", "4MB", "4 MiB", "-4MiB", "0B", "1.5MiB", "4mib"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        values.size_bytes(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:0", "::1", 0),
        ("[0:0::1]:1", "::1", 1),
        ("Localhost:65535", "localhost", 65535),
    ],
)
def test_addresses_have_host_and_port(text: str, host: str, port: int) -> None:
    assert values.address(text) == values.Address(host, port)


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "127.0.0.1", "a:b", "127.0.0.1:65536", "::1:80", "a b:1", "*:80", "[x]:1"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        values.address(text)


def test_an_address_is_written_as_it_is_read() -> None:
    assert str(values.address("[::1]:80")) == "[::1]:80"


@pytest.mark.parametrize(("text", "path"), [("/", ""), ("/a", "/a"), ("/a/", "/a"), ("/a-b/c.d~e", "/a-b/c.d~e")])
def test_paths_lose_their_trailing_slash(text: str, path: str) -> None:
    assert values.public_path(text) == path


@pytest.mark.parametrize(
    "text", ["", "a", "//", "/a//b", "/a/./b", "/../a", "/a%2fb", "/a?x", "/a#x", "/a b", "/ä", "/a\\b", "/a\n"]
)
def test_paths_that_could_be_read_in_two_ways_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        values.public_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.1:80/mcp",
        "ftp://a/mcp",
        "http://",
        "http:///mcp",
        "http://a:0/",
        "http://a:99999/",
        "http://a b/",
        "http://a/\tb",
        "http://a_b!/",
        "http://ä/",
        "http://user:password@a/mcp",
        "http://a/mcp#x",
        "http://[::1/mcp",
    ],
)
def test_a_replica_that_cannot_be_called_as_it_stands_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        values.replica_url(text)


def test_a_fault_about_a_url_does_not_repeat_its_password() -> None:
    with pytest.raises(ValueError, match="credentials") as caught:
        values.replica_url("http://user:geheim@a/mcp")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("text", ["https://a.example/x", "https://a.example?x", "a.example", "https://a@b"])
def test_a_base_url_names_a_host_and_nothing_more(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        values.base_url(text)


@pytest.mark.parametrize(
    ("text", "host"), [("A.Example", "a.example"), ("10.0.0.1", "10.0.0.1"), ("[::1]", "[::1]"), ("::1", "[::1]")]
)
def test_host_names_are_compared_in_one_form(text: str, host: str) -> None:
    assert values.host_name(text) == host


@pytest.mark.parametrize("text", ["", "a:80", "*.example", "https://a", "a/b", "[x]"])
def test_other_host_names_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        values.host_name(text)


def test_networks_are_prefixes_or_single_addresses() -> None:
    assert str(values.network("10.0.0.0/8")) == "10.0.0.0/8"
    assert str(values.network("127.0.0.1")) == "127.0.0.1/32"


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "a", "10.0.0.0/33"])
def test_other_networks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="network"):
        values.network(text)


@pytest.mark.parametrize(
    ("text", "store"),
    [("sqlite", ("sqlite", "")), ("sqlite:x/y.db", ("sqlite", "x/y.db")), ("memory:", ("memory", ""))],
)
def test_state_urls_name_a_store(text: str, store: tuple[str, str]) -> None:
    assert values.state_url(text) == store


@pytest.mark.parametrize("text", ["", "memory", "memory:x", "redis://a", "dynamodb://t", "postgres://a"])
def test_other_stores_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        values.state_url(text)


@pytest.mark.parametrize("text", ["", "a\nb", "x" * 2000, "*a" * 9])
def test_globs_that_mean_nothing_or_cost_too_much_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        values.glob(text)
