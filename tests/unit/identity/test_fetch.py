"""Fetching keys from a real server on loopback: what is taken, what is refused, and who gets to see the token."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from openmcp.config.identities import JwtSourceSettings
from openmcp.identity import fetch as module
from openmcp.identity.discovery import keys_of
from openmcp.identity.fetch import FetchFailed, HttpFetch, is_fetchable
from openmcp.identity.keys import KeysUnavailable
from openmcp.identity.lasting import Lasting
from tests.support.credentials import Clock, key_set


@dataclass
class Served:
    """A tiny web server: answers by path, and the requests that came."""

    answers: dict[str, bytes] = field(default_factory=dict[str, bytes])
    requests: list[str] = field(default_factory=list[str])
    url: str = ""
    has_ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection was closed."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        answer = self.answers.get(head.split(" ")[1])
        try:
            if answer is None:
                # Until the client has had enough.
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
            self.has_ended.set()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)


def as_json(value: object) -> bytes:
    return ok(json.dumps(value).encode())


@asynccontextmanager
async def serving(answers: Mapping[str, bytes]) -> AsyncIterator[Served]:
    served = Served(dict(answers))
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()


async def test_a_document_is_fetched() -> None:
    async with serving({"/keys": as_json(key_set())}) as served:
        assert await HttpFetch()(f"{served.url}/keys") == key_set()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: /keys\r\nContent-Length: 0\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answered 500"),
        (ok(b"x" * (10 << 20)), "more than"),
        (ok(b"["), "no JSON"),
        (ok(b"[]"), "no JSON object"),
        (ok(b"[" * 100_000), "no JSON"),
        (b"nonsense\r\n\r\n", "RemoteProtocolError"),
    ],
    ids=["redirect", "error", "10 MB", "broken", "list", "deep", "no HTTP"],
)
async def test_anything_but_one_small_document_is_refused(answer: bytes, why: str) -> None:
    async with serving({"/keys": answer}) as served:
        with pytest.raises(FetchFailed, match=why):
            await HttpFetch()(f"{served.url}/keys")
        assert len(served.requests) == 1, "redirects are not followed"


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.1)
    async with serving({}) as served:
        with pytest.raises(FetchFailed):
            await HttpFetch()(f"{served.url}/keys")
        await asyncio.wait_for(served.has_ended.wait(), 10)


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/keys",
        "http://127.0.0.1.example.com/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https:///x",
    ],
)
async def test_plain_text_is_for_this_machine_alone(url: str) -> None:
    assert not is_fetchable(url)
    with pytest.raises(FetchFailed, match="https"):
        await HttpFetch()(url)


async def test_the_token_is_shown_to_its_own_host_and_read_anew_each_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with serving({"/": as_json({})}) as cluster, serving({"/": as_json({})}) as other:
        fetch = HttpFetch(token_file=token, token_origin=cluster.url)
        await fetch(f"{cluster.url}/")
        await fetch(f"{other.url}/")
        token.write_text("second")
        await fetch(f"{cluster.url}/")
        shown = [one for served in (cluster, other) for head in served.requests for one in head.lower().splitlines()]
    assert [line for line in shown if line.startswith("authorization")] == [
        "authorization: bearer first",
        "authorization: bearer second",
    ]


# ------------------------------------------------------------ discovery


async def found(issuer: str, **settings: str) -> int:
    keys = keys_of(JwtSourceSettings(issuer=issuer, **settings), Lasting(Clock()))  # type: ignore[arg-type]
    return len(await keys.find("one", "RS256"))


async def test_keys_are_found_by_either_kind_of_discovery() -> None:
    for place in ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"):
        async with serving({"/keys": as_json(key_set())}) as served:
            served.answers[place] = as_json({"issuer": served.url, "jwks_uri": f"{served.url}/keys"})
            served.answers.setdefault(
                "/.well-known/openid-configuration", b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"
            )
            assert await found(served.url) == 1


async def test_an_issuer_with_a_path_has_its_document_before_it() -> None:
    async with serving({"/keys": as_json(key_set())}) as served:
        issuer = f"{served.url}/realm"
        missing = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"
        served.answers["/realm/.well-known/openid-configuration"] = missing
        served.answers["/.well-known/oauth-authorization-server/realm"] = as_json(
            {"issuer": issuer, "jwks_uri": f"{served.url}/keys"}
        )
        assert await found(issuer) == 1


async def test_a_document_of_another_issuer_brings_no_keys() -> None:
    async with serving({"/keys": as_json(key_set())}) as served:
        served.answers["/.well-known/openid-configuration"] = as_json(
            {"issuer": "https://other.example.com", "jwks_uri": f"{served.url}/keys"}
        )
        with pytest.raises(KeysUnavailable, match="another issuer"):
            await found(served.url)


async def test_a_document_cannot_send_the_gateway_to_plain_text() -> None:
    async with serving({}) as served:
        served.answers["/.well-known/openid-configuration"] = as_json(
            {"issuer": served.url, "jwks_uri": "http://10.0.0.1/keys"}
        )
        with pytest.raises(KeysUnavailable, match="https"):
            await found(served.url)
        assert len(served.requests) == 1
