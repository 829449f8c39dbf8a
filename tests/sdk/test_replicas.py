"""Replicas die, leave the configuration and come back, the gateway restarts: sessions know where they belong."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.sdk.clients import connected
from tests.sdk.site import IS_DIRECT
from tests.sdk.wire import Session, answer_of, request, session
from tests.support.gateway import Document, allow_everything, running_gateway, server
from tests.support.servers import Backend, reference_server

pytestmark = pytest.mark.skipif(IS_DIRECT, reason="OPENMCP_TARGET=direct is set; this is about the gateway.")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[Backend]]:
    """Two replicas that a test may kill."""
    with ExitStack() as stack:
        yield [stack.enter_context(reference_server(name, folder=tmp_path)) for name in "ab"]


def documents(*backends: Backend) -> list[Document]:
    return [server("reference", [backend.url for backend in backends]), allow_everything()]


async def test_session_of_a_dead_replica_fails_and_others_go_on(pair: list[Backend], tmp_path: Path) -> None:
    with running_gateway(documents(*pair), folder=tmp_path) as gateway:
        url = gateway.url("reference")
        async with session(url) as one, session(url) as other:
            names = [await _replica(one), await _replica(other)]
            assert sorted(names) == ["a", "b"]
            dead, alive = (one, other) if names[0] == "a" else (other, one)
            pair[0].process.signal(signal.SIGKILL)

            called = await dead.call("whoami")
            assert called.status_code == 200
            assert answer_of(called)["result"]["isError"] is True
            listed = await dead.post(request("tools/list"))
            assert (listed.status_code, answer_of(listed)["error"]["code"]) == (200, -31005)

            assert await _replica(alive) == "b"
            # Whoever comes now is not sent to the dead one, however often they ask.
            assert {await _opened(url) for _ in range(4)} == {"b"}


async def test_session_of_a_removed_replica_is_gone_and_others_go_on(pair: list[Backend], tmp_path: Path) -> None:
    with running_gateway(documents(*pair), folder=tmp_path) as gateway:
        url = gateway.url("reference")
        async with session(url) as one, session(url) as other:
            names = [await _replica(one), await _replica(other)]
            assert sorted(names) == ["a", "b"]
            removed, kept = (one, other) if names[0] == "a" else (other, one)
            await gateway.reload(documents(pair[1]))

            assert (await removed.call("whoami")).status_code == 404
            assert await _replica(kept) == "b"


async def test_sessions_survive_a_restart_of_the_gateway(pair: list[Backend], tmp_path: Path) -> None:
    with running_gateway(documents(*pair), folder=tmp_path) as gateway:
        url = gateway.url("reference")
        async with session(url) as before:
            name = await _replica(before)
            bound = before
    assert gateway.process.returncode == 0
    with running_gateway(documents(*pair), folder=tmp_path) as restarted:
        async with session(restarted.url("reference")) as fresh:
            after = replace(fresh, headers=bound.headers)
            assert await _replica(after) == name


async def _opened(url: str) -> str:
    async with connected(url, "legacy") as agent:
        return await agent.replica()


async def _replica(agent: Session) -> str:
    text: str = answer_of(await agent.call("whoami"))["result"]["content"][0]["text"]
    return str(yaml.safe_load(text)["replica"])
