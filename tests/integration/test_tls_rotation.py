"""Certificates exchanged under a whole node: files change, and the next connection sees it."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from openmcp.config.sources.file import FileSource
from openmcp.server.node import Node, running
from tests.support.certificates import Authority, Made
from tests.support.edge import eventually

CA = Authority()
CONFIG = """
apiVersion: openmcp.dev/v1alpha1
kind: GatewayConfig
metadata: {name: test}
spec:
  listeners: [{name: edge, address: "127.0.0.1:0", tls: {certFile: edge.crt, keyFile: edge.key}}]
  admin: {address: "127.0.0.1:0", tls: {certFile: admin.crt, keyFile: admin.key}}
  state: {url: "memory:"}
"""


@asynccontextmanager
async def node_in(folder: Path) -> AsyncGenerator[Node, None]:
    (folder / "gateway.yaml").write_text(CONFIG)
    source = FileSource([folder / "gateway.yaml"], env={})
    async with running(source, source.load()) as node:
        yield node


async def presented_at(address: tuple[str, int]) -> bytes | None:
    _, writer = await asyncio.open_connection(*address, ssl=CA.client_context(), server_hostname="localhost")
    connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return connection.getpeercert(binary_form=True)


async def scraped(node: Node) -> str:
    reader, writer = await asyncio.open_connection(
        *node.admin.address, ssl=CA.client_context(), server_hostname="localhost"
    )
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    page = await asyncio.wait_for(reader.read(), 10)
    writer.transport.abort()
    return page.decode()


def written(folder: Path) -> tuple[Made, Made]:
    edge, admin = CA.issue(name="edge"), CA.issue(name="admin")
    edge.write(folder, "edge")
    admin.write(folder, "admin")
    return edge, admin


async def test_new_files_are_presented_by_listener_and_admin_listener(tmp_path: Path) -> None:
    first = written(tmp_path)
    async with node_in(tmp_path) as node:
        addresses = node.addresses["edge"], node.admin.address
        assert [await presented_at(address) for address in addresses] == [made.der for made in first]
        second = written(tmp_path)
        await eventually(lambda: node.generation == 2)
        assert [await presented_at(address) for address in addresses] == [made.der for made in second]
        assert "configurationFault" not in node.readiness()[1]


async def test_a_pair_that_does_not_match_is_told_and_metered_and_the_former_one_serves(tmp_path: Path) -> None:
    edge, _ = written(tmp_path)
    async with node_in(tmp_path) as node:
        (tmp_path / "edge.key").write_bytes(CA.issue().key)
        await eventually(lambda: "does not belong" in str(node.readiness()[1].get("configurationFault")))
        assert await presented_at(node.addresses["edge"]) == edge.der
        page = await scraped(node)
        assert 'openmcp_config_reload_total{source="file",result="refused"} 1' in page


async def test_how_long_certificates_are_valid_is_in_the_metrics(tmp_path: Path) -> None:
    written(tmp_path)
    async with node_in(tmp_path) as node:
        page = await scraped(node)
    left = [line for line in page.splitlines() if line.startswith("openmcp_certificate_expiry_seconds{")]
    assert sorted(line.partition("} ")[0] for line in left) == [
        'openmcp_certificate_expiry_seconds{listener="_admin"',
        'openmcp_certificate_expiry_seconds{listener="edge"',
    ]
    assert all(86_000 < float(line.partition("} ")[2]) <= 86_400 for line in left)
