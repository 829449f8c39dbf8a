"""The head of a request: whose host it names, and what cannot break out of its line."""

import pytest

from openmcp import errors
from openmcp.model.server import Credential
from openmcp.upstream.head import HeadTemplate
from tests.unit.upstream.replica import replica_at, server_of

REPLICA = replica_at(8080)


def fields(raw: bytes) -> list[tuple[str, str]]:
    """Name (lower-case) and value of every line behind the request line."""
    lines = raw.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return [(line.split(": ")[0].lower(), line.split(": ", 1)[1]) for line in lines]


def render(*headers: tuple[str, str], **changes: object) -> list[tuple[str, str]]:
    template = HeadTemplate(server_of(REPLICA, **changes), REPLICA)
    return fields(template.render("POST", "/mcp", headers=headers, body=b"{}"))


@pytest.mark.parametrize(
    ("mode", "headers", "host"),
    [
        ("upstream", (("host", "edge.example"),), "127.0.0.1:8080"),
        ("client", (("Host", "edge.example"),), "edge.example"),
        ("client", (), "127.0.0.1:8080"),
        ("mcp.internal:9000", (("host", "edge.example"),), "mcp.internal:9000"),
    ],
)
def test_the_host_is_the_one_that_is_configured(mode: str, headers: tuple[tuple[str, str], ...], host: str) -> None:
    assert [value for name, value in render(*headers, upstream_host=mode) if name == "host"] == [host]


@pytest.mark.parametrize("sign", ["\r", "\n", "\0", "\r\n"])
@pytest.mark.parametrize("mode", ["upstream", "client"])
def test_a_value_with_a_line_break_or_nul_is_refused(sign: str, mode: str) -> None:
    name = "host" if mode == "client" else "Mcp-Name"
    with pytest.raises(errors.Malformed):
        render((name, f"a{sign}b"), upstream_host=mode)
    with pytest.raises(errors.Malformed):
        render(credentials=(Credential("Authorization", f"a{sign}b"),))


def test_a_value_that_latin_1_cannot_carry_is_refused() -> None:
    with pytest.raises(errors.Malformed):
        render(("Mcp-Name", "日本"))


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "ä"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(errors.Malformed):
        render((name, "x"))


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "CONNECTION", "Keep-Alive", "Upgrade", "TE", "Trailer", "Expect"]
)
def test_framing_is_never_taken_from_the_sender(name: str) -> None:
    with pytest.raises(errors.Malformed):
        render((name, "x"))


@pytest.mark.parametrize("name", ["content-type", "Accept-Encoding", "authorization"])
def test_what_the_gateway_says_itself_is_said_once(name: str) -> None:
    got = render((name, "of the agent"), credentials=(Credential("Authorization", "of the gateway"),))
    assert [value for field, value in got if field == name.lower()] != ["of the agent"]
    assert len([value for field, value in got if field == name.lower()]) == 1


def test_names_remembered_are_bounded() -> None:
    template = HeadTemplate(server_of(REPLICA), REPLICA)
    for number in range(5_000):
        raw = template.render("POST", "/mcp", headers=((f"Mcp-Param-{number}", "x"),), body=b"{}")
        assert (f"mcp-param-{number}", "x") in fields(raw)
    with pytest.raises(errors.Malformed):
        template.render("POST", "/mcp", headers=(("Content-Length", "0"),), body=b"{}")
