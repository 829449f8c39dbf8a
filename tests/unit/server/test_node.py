"""The node follows its configuration whatever comes, and says honestly whether it is ready."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from openmcp.config.loader import Loaded, load
from openmcp.errors import Fault, Misconfigured
from openmcp.server.node import Node, running

BOUND_S = 10.0
CONFIG = """
apiVersion: openmcp.dev/v1alpha1
kind: GatewayConfig
metadata: {name: test}
spec:
  listeners: [{name: edge, address: "127.0.0.1:0"}]
  admin: {address: "127.0.0.1:0"}
  state: {url: "memory:"}
  audit: {sinks: [{file: {}}]}
"""
SERVER = """---
apiVersion: openmcp.dev/v1alpha1
kind: MCPServer
metadata: {name: NAME}
spec:
  upstream: {replicas: ["http://127.0.0.1:9/mcp"]}
  authentication: {anonymous: true}
  limits: {requestBytes: SIZE}
"""


class Script:
    """A source that brings what the test puts in; an exception is raised where it comes."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.coming: asyncio.Queue[Loaded | Misconfigured | Exception] = asyncio.Queue()

    def load(self) -> Loaded:
        return self.loaded

    async def changes(self) -> AsyncIterator[Loaded | Misconfigured]:
        while True:
            came = await self.coming.get()
            if isinstance(came, Exception) and not isinstance(came, Misconfigured):
                raise came
            yield came


def loaded(folder: Path, *names: str, size: str = "1MiB") -> Loaded:
    file = folder / "gateway.yaml"
    servers = (SERVER.replace("NAME", name).replace("SIZE", size) for name in names)
    file.write_text(CONFIG + "".join(servers))
    return load([file], env={})


@asynccontextmanager
async def node_of(folder: Path) -> AsyncGenerator[tuple[Node, Script], None]:
    source = Script(loaded(folder, "one"))
    async with running(source, source.load()) as node:
        yield node, source


async def until(node: Node, fault: str | None, *, key: str = "configurationFault") -> None:
    """Wait until the node tells this fault of its configuration, or of something else; `None` = none."""
    async with asyncio.timeout(BOUND_S):
        while True:
            told = node.readiness()[1].get(key)
            if (fault is None and told is None) or (fault is not None and fault in str(told)):
                return
            await asyncio.sleep(0.01)


async def test_a_faulty_configuration_is_told_and_changes_nothing(tmp_path: Path) -> None:
    async with node_of(tmp_path) as (node, source):
        revision = node.runtime.snapshot.revision
        source.coming.put_nowait(Misconfigured([Fault("a.yaml:1:1", "is no good")]))
        await until(node, "is no good")
        assert (node.runtime.snapshot.revision, node.readiness()[0]) == (revision, True)
        source.coming.put_nowait(loaded(tmp_path, "one", "two"))
        await until(node, None)
        assert [server.name for server in node.runtime.snapshot.servers] == ["one", "two"]


async def test_a_source_that_breaks_is_told_and_followed_again(tmp_path: Path) -> None:
    async with node_of(tmp_path) as (node, source):
        source.coming.put_nowait(RuntimeError("a link to itself"))
        await until(node, "a link to itself")
        source.coming.put_nowait(loaded(tmp_path, "two"))
        await until(node, None)
        assert [server.name for server in node.runtime.snapshot.servers] == ["two"]


async def test_what_a_swap_cannot_put_in_force_is_told(tmp_path: Path) -> None:
    async with node_of(tmp_path) as (node, source):
        source.coming.put_nowait(loaded(tmp_path, "one", size="64MiB"))
        await until(node, "restart is needed")


async def test_the_data_directory_is_the_gateways_alone(tmp_path: Path) -> None:
    async with node_of(tmp_path) as (node, _):
        folder = node.runtime.snapshot.gateway.data_dir
        assert [path.stat().st_mode & 0o077 for path in (folder, folder / "audit", folder / "keys")] == [0, 0, 0]


async def test_a_store_that_does_not_answer_makes_the_node_unready(tmp_path: Path) -> None:
    async with node_of(tmp_path) as (node, _):
        await node.store.close()
        await until(node, "closed", key="storeFault")
        assert not node.readiness()[0]


async def test_a_data_directory_has_one_gateway_at_a_time(tmp_path: Path) -> None:
    source = Script(loaded(tmp_path, "one"))
    async with node_of(tmp_path):
        with pytest.raises(Misconfigured, match="another gateway"):
            async with running(source, source.load()):
                pass
    async with node_of(tmp_path) as (node, _):
        assert node.worker.is_ready


async def test_what_is_probably_not_meant_is_told_after_every_change(tmp_path: Path) -> None:
    async with node_of(tmp_path) as (node, source):
        before = node.readiness()[1].get("configurationWarnings")
        changed = loaded(tmp_path, "one", "two")
        source.coming.put_nowait(changed)
        await until(node, "two", key="configurationWarnings")
        assert node.readiness()[1]["configurationWarnings"] == [str(warning) for warning in changed.warnings] != before


async def test_a_replica_that_is_ejected_shows_in_the_metrics(tmp_path: Path) -> None:
    async with node_of(tmp_path) as (node, _):
        replica = node.runtime.snapshot.servers[0].replicas[0]
        for _ in range(3):
            node.runtime.health.observe(replica, ok=False)
        assert node.runtime.replicas_up() == {("one", replica.url): False}
