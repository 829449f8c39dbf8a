"""Fixtures of the SDK tests: two replicas that cannot open each other's `requestState`, and a way to them."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.sdk.clients import MODES
from tests.sdk.guarded import Guarded, guarded_gateway
from tests.sdk.site import IS_DIRECT, Site
from tests.support.gateway import allow_everything, running_gateway, server
from tests.support.servers import Backend, reference_server


@pytest.fixture(scope="session")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Backend]]:
    """Two reference servers, each with a key of its own."""
    folder = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        yield [stack.enter_context(reference_server(name, folder=folder)) for name in "ab"]


@pytest.fixture(scope="session")
def site(replicas: list[Backend], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything allowed, nobody asked who they are."""
    if IS_DIRECT:
        yield Site(replicas[0].url, replicas[:1])
        return
    documents = [server("reference", [backend.url for backend in replicas]), allow_everything()]
    with running_gateway(documents, folder=tmp_path_factory.mktemp("gateway")) as gateway:
        yield Site(gateway.url("reference"), replicas, gateway)


@pytest.fixture
def proxied(site: Site) -> Site:
    """The site, where a gateway stands in front."""
    if site.gateway is None:
        pytest.skip("OPENMCP_TARGET=direct is set; without it this test runs against the gateway.")
    return site


@pytest.fixture(scope="session")
def guarded(replicas: list[Backend], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A gateway with agents, keys and rules."""
    if IS_DIRECT:
        pytest.skip("OPENMCP_TARGET=direct is set; without it this test runs against the gateway.")
    with guarded_gateway(replicas, tmp_path_factory.mktemp("guarded")) as found:
        yield found


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """How the client finds its era."""
    found: str = request.param
    return found


@pytest.fixture(scope="session")
def mcp1_python(request: pytest.FixtureRequest) -> Path:
    """The interpreter with the 1.x SDK; `OPENMCP_MCP1_PYTHON` names another one than `make setup` makes."""
    if named := os.environ.get("OPENMCP_MCP1_PYTHON"):
        return Path(named)
    root: Path = request.getfixturevalue("root")
    made = root / ".cache" / "mcp1" / "bin" / "python"
    if not made.exists():
        pytest.skip("The environment with the MCP SDK 1.x is missing; run `make setup`.")
    return made
