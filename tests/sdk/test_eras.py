"""Servers of one era only: a client that can fall back does, and one that cannot is told why."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sdk.clients import connected, said
from tests.sdk.site import IS_DIRECT
from tests.sdk.wire import MODERN, answer_of, browser, initialize, modern, request
from tests.support.gateway import allow_everything, running_gateway, server
from tests.support.servers import Backend, reference_server, v1_server


@dataclass(frozen=True)
class Eras:
    """Addresses of servers that lack something."""

    legacy_only: str
    modern_only: str
    stateless: str


# What each kind of server is started with.
OPTIONS: dict[str, Sequence[str]] = {"modern": ["--modern-only"], "stateless": ["--stateless", "--json"]}


@pytest.fixture(scope="module")
def eras(mcp1_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eras]:
    if IS_DIRECT:
        pytest.skip("OPENMCP_TARGET=direct is set; without it this test runs against the gateway.")
    folder = tmp_path_factory.mktemp("eras")
    with ExitStack() as stack:
        backends: dict[str, Backend] = {
            name: stack.enter_context(reference_server(name, folder=folder, options=options))
            for name, options in OPTIONS.items()
        }
        backends["legacy"] = stack.enter_context(v1_server("legacy", python=mcp1_python, folder=folder))
        documents = [*(server(name, [backend.url]) for name, backend in backends.items()), allow_everything()]
        gateway = stack.enter_context(running_gateway(documents, folder=folder))
        yield Eras(gateway.url("legacy"), gateway.url("modern"), gateway.url("stateless"))


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_client_falls_back_to_the_era_of_a_legacy_server(eras: Eras, mode: str) -> None:
    async with connected(eras.legacy_only, mode) as agent:
        assert agent.client.protocol_version == "2025-11-25"
        assert said(await agent.call("echo", text="hello")) == "hello"


async def test_discovery_of_a_legacy_server_is_answered_as_unknown(eras: Eras) -> None:
    headers, body = modern("server/discover")
    async with browser(headers) as http:
        answer = await http.post(eras.legacy_only, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32601)


async def test_modern_client_reaches_a_modern_server(eras: Eras) -> None:
    async with connected(eras.modern_only, "auto") as agent:
        assert agent.client.protocol_version == MODERN
        assert said(await agent.call("echo", text="hello")) == "hello"


async def test_legacy_client_is_told_which_revision_the_server_speaks(eras: Eras) -> None:
    async with browser() as http:
        answer = await initialize(http, eras.modern_only)
    assert answer.status_code >= 400
    assert MODERN in answer.text
    assert answer.json()["error"]["code"] < 0


async def test_legacy_server_without_sessions_is_called_without_one(eras: Eras) -> None:
    async with connected(eras.stateless, "legacy") as agent:
        assert said(await agent.call("echo", text="hello")) == "hello"


async def test_legacy_server_without_sessions_knows_only_post(eras: Eras) -> None:
    async with browser({"MCP-Protocol-Version": "2025-11-25"}) as http:
        opened = await initialize(http, eras.stateless)
        assert opened.status_code == 200
        assert "mcp-session-id" not in opened.headers
        called = await http.post(eras.stateless, json=request("tools/list"))
        assert "tools" in answer_of(called)["result"]
        for answer in (await http.get(eras.stateless), await http.delete(eras.stateless)):
            assert answer.status_code == 405
            assert "POST" in answer.headers["allow"]
