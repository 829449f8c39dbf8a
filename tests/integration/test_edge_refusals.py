"""Every refusal that the edge writes is told once, and a gateway keeps it: one line, one count."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from openmcp.errors import OpenMCPError
from openmcp.model.http import Peer, Request, Wire
from openmcp.server.limits import ListenerLimits
from tests.support.edge import WAIT_S, Gate, Recording, connected, edge, post, within
from tests.support.gateway import running_gateway, server

LIMITS = ListenerLimits(tick_s=0.02, request_bytes=1000, header_bytes=2048, headers_timeout_s=0.1, body_timeout_s=0.1)


class Told(NamedTuple):
    peer: str
    listener: str
    kind: str
    status: int


class Witness:
    def __init__(self) -> None:
        self.told: list[Told] = []

    def __call__(self, peer: Peer, listener: str, error: OpenMCPError, status: int) -> None:
        self.told.append(Told(peer.address, listener, error.kind, status))


def told(kind: str, status: int) -> Told:
    return Told("127.0.0.1", "public", kind, status)


REFUSED = {
    "malformed": (b"nonsense\r\n\r\n", 400),
    "body-too-large": (post(b"x" * 1001), 413),
    "headers-too-large": (post(b"{}", "X-A: " + "a" * 3000), 431),
    "expectation-refused": (post(b"{}", "Expect: miracles"), 417),
    "unsupported-media": (post(b"{}", "Content-Encoding: gzip"), 415),
    "host-refused": (post().replace(b"localhost", b"evil.example"), 421),
    "origin-refused": (post(b"{}", "Origin: https://evil.example"), 403),
    "method-not-allowed": (b"TRACE /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    "request-timeout": (post()[:-1], 408),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_refusal_is_told_once_with_peer_listener_and_status(kind: str) -> None:
    sent, status = REFUSED[kind]
    witness = Witness()
    async with edge(Recording(), LIMITS, on_refusal=witness) as worker, connected(worker) as client:
        await client.send(sent)
        assert (await client.answer()).status == status
        assert await client.rest() == b""
    assert witness.told == [told(kind, status)]


async def test_what_the_handler_answers_is_not_told() -> None:
    async def refuses(request: Request, wire: Wire) -> None:
        wire.respond(401, (), b"")

    witness = Witness()
    async with edge(refuses, on_refusal=witness) as worker, connected(worker) as client:
        await client.send(post())
        assert (await client.answer()).status == 401
    assert witness.told == []


async def test_exchange_too_many_is_told() -> None:
    witness, gate = Witness(), Gate()
    limits = ListenerLimits(concurrent_exchanges=1)
    async with (
        edge(gate, limits, on_refusal=witness) as worker,
        connected(worker) as first,
        connected(worker) as second,
    ):
        await first.send(post())
        await within(gate.has_begun.wait())
        await second.send(post())
        assert (await second.answer()).status == 503
        gate.open.set()
        assert (await first.answer()).status == 200
    assert witness.told == [told("overloaded", 503)]


async def test_connection_too_many_is_told() -> None:
    witness = Witness()
    limits = ListenerLimits(connections=1)
    async with edge(Recording(), limits, on_refusal=witness) as worker, connected(worker) as first:
        await first.send(post())
        await first.answer()
        async with connected(worker) as second:
            assert (await second.answer()).status == 503
    assert witness.told == [told("overloaded", 503)]


async def test_answer_that_a_failed_handler_left_out_is_told() -> None:
    async def fails(request: Request, wire: Wire) -> None:
        raise LookupError

    witness = Witness()
    async with edge(fails, on_refusal=witness) as worker, connected(worker) as client:
        await client.send(post())
        assert (await client.answer()).status == 500
    assert witness.told == [told("internal", 500)]


async def test_witness_that_fails_keeps_no_answer_back() -> None:
    def fails(peer: Peer, listener: str, error: OpenMCPError, status: int) -> None:
        raise LookupError

    async with edge(Recording(), on_refusal=fails) as worker, connected(worker) as client:
        await client.send(b"nonsense\r\n\r\n")
        assert (await client.answer()).status == 400


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /a//b?token=canary HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /x?token=canary\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /x#canary HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://user:canary@localhost/x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: user:canary@localhost\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: canary\r\nAuthorization: canary\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: can\0canary\r\n\r\n",
    ],
)
async def test_true_reason_holds_no_credential(sent: bytes) -> None:
    details: list[str] = []

    def keeps(peer: Peer, listener: str, error: OpenMCPError, status: int) -> None:
        details.append(error.detail)

    async with edge(Recording(), on_refusal=keeps) as worker, connected(worker) as client:
        await client.send(sent)
        assert (await client.answer()).status == 400
    [detail] = details
    assert "canary" not in detail


async def test_running_gateway_keeps_a_line_and_a_count(tmp_path: Path) -> None:
    with running_gateway([server("docs", ["http://127.0.0.1:9/mcp"])], folder=tmp_path) as gateway:
        url = httpx.URL(gateway.origin)
        async with asyncio.timeout(WAIT_S):
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(b"POST /docs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 2\r\n\r\n{}")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()
        line = await gateway.recorded(lambda record: record["type"] == "conn")
        async with httpx.AsyncClient(timeout=WAIT_S, trust_env=False) as client:
            metrics = (await client.get(f"{gateway.admin}/metrics")).text
    assert line["kind"] == "refused"
    assert line["http"] == {"peer": "127.0.0.1", "listener": "public"}
    assert (line["outcome"]["kind"], line["outcome"]["http"]) == ("malformed", 400)
    counted = [sample for sample in metrics.splitlines() if sample.startswith("openmcp_edge_refusals_total{")]
    assert counted == ['openmcp_edge_refusals_total{listener="public",kind="malformed"} 1']
