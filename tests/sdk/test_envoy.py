"""A real Envoy in front: it ends mutual TLS, and tells the gateway who the client is.

Nothing here is simulated: what Envoy writes into `X-Forwarded-Client-Cert`, and what it does
with what a client writes there, is Envoy's own.
"""

import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from tests.sdk.clients import connected
from tests.support.certificates import Authority, Made
from tests.support.gateway import Gateway, allow_everything, document, running_gateway, server
from tests.support.processes import Process, free_port
from tests.support.servers import Backend

READY_S = 30.0
XFCC = "x-forwarded-client-cert"
US = "spiffe://cluster.local/ns/mcp/sa/gateway"
BOT = "spiffe://cluster.local/ns/support/sa/bot"
ADMIN = "spiffe://cluster.local/ns/admin/sa/root"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@dataclass(frozen=True)
class Site:
    """Clients on the left, Envoy, the gateway, a server on the right."""

    gateway: Gateway
    bare: str
    """The gateway's own listener that trusts nobody."""

    mesh: str
    """The gateway's own listener that Envoy talks to."""

    ca: Authority
    folder: Path

    def client(self, made: Made | None) -> httpx.Client:
        return httpx.Client(verify=self.ca.client_context(made), trust_env=False, timeout=15.0)

    def bot(self, *others: x509.GeneralName, uri: str = BOT) -> Made:
        return self.ca.issue(x509.UniformResourceIdentifier(uri), *others, name='bot, "of" Support; Inc')

    async def whom(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return dict((await self.gateway.recorded(what))["agent"])


@pytest.fixture(scope="module")
def site(replicas: list[Backend], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("envoy")
    bare, mesh = free_port(), free_port()
    documents = [
        server("reference", [replicas[0].url], authentication={"sources": ["istio"]}),
        server("open", [replicas[0].url], authentication={"sources": ["istio"], "anonymous": True}),
        document("IdentitySource", "istio", {"mesh": {"header": XFCC, "by": [US], "trust": "certificate"}}),
        document("Agent", "support-bot", {"identities": [{"mesh": {"source": "istio", "id": BOT}}]}),
        allow_everything(),
    ]
    listeners = [
        {"name": "public", "address": f"127.0.0.1:{bare}"},
        {"name": "mesh", "address": f"127.0.0.1:{mesh}", "trustedPeers": ["127.0.0.1/32"]},
    ]
    with running_gateway(documents, folder=folder, spec={"listeners": listeners}) as gateway:
        yield Site(gateway, f"http://127.0.0.1:{bare}/reference", f"http://127.0.0.1:{mesh}", Authority("mesh"), folder)


@contextmanager
def envoy_before(site: Site, forward: str) -> Iterator[str]:
    """Envoy with this `forward_client_cert_details`; yields the URL of the server behind it."""
    folder = site.folder / forward
    folder.mkdir()
    port, admin = free_port(), free_port()
    own = site.ca.issue(x509.UniformResourceIdentifier(US), x509.DNSName("localhost"))
    own.write(folder, "envoy")
    (folder / "ca.pem").write_bytes(site.ca.pem)
    config = folder / "envoy.json"
    config.write_text(json.dumps(_config(folder, forward, site.mesh, port=port, admin=admin)))
    found = importlib.util.find_spec("envoy")
    assert found is not None
    assert found.origin is not None
    binary = Path(found.origin).parent / "_bin" / "envoy"
    command = [str(binary), "-c", str(config), "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"]
    process = Process(command, output=folder / "envoy.log", cwd=folder)
    try:
        _wait_until_ready(f"http://127.0.0.1:{admin}/ready", process)
        yield f"https://localhost:{port}/reference"
    finally:
        process.stop(timeout_s=20.0)


def _wait_until_ready(url: str, process: Process) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            if httpx.get(url, trust_env=False, timeout=2.0).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.returncode is not None or time.monotonic() > deadline:
            raise process.failure("did not become ready")
        time.sleep(0.05)


def _config(folder: Path, forward: str, gateway: str, *, port: int, admin: int) -> dict[str, Any]:
    def at(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    extension = "type.googleapis.com/envoy.extensions"
    tls = {
        "@type": f"{extension}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(folder / "envoy.crt")},
                    "private_key": {"filename": str(folder / "envoy.key")},
                }
            ],
            "validation_context": {"trusted_ca": {"filename": str(folder / "ca.pem")}},
        },
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "gateway", "timeout": "0s"}}
    manager = {
        "@type": f"{extension}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "agents",
        "forward_client_cert_details": forward,
        "set_current_client_cert_details": {"subject": True, "uri": True, "dns": True, "cert": True},
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{extension}.filters.http.router.v3.Router"},
            }
        ],
    }
    endpoint = {"endpoint": {"address": at(int(gateway.rpartition(":")[2]))}}
    return {
        "admin": {"address": at(admin)},
        "static_resources": {
            "listeners": [
                {
                    "name": "agents",
                    "address": at(port),
                    "filter_chains": [
                        {
                            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
                            "filters": [
                                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                            ],
                        }
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "gateway",
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": "gateway", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        },
    }


def ask(client: httpx.Client, url: str, *values: str) -> httpx.Response:
    """One request, with these values of the header."""
    headers = [("Accept", "application/json, text/event-stream"), *((XFCC, value) for value in values)]
    return client.post(url, json=INITIALIZE, headers=headers)


async def test_whom_envoy_has_verified_is_the_agent_and_no_server_hears_of_it(
    site: Site, replicas: list[Backend]
) -> None:
    with envoy_before(site, "SANITIZE_SET") as url:
        async with connected(url, "auto", verify=site.ca.client_context(site.bot())) as found:
            assert await found.replica() == "a"
        seen = await site.whom(lambda line: (line.get("agent") or {}).get("name") == "support-bot")
        assert (seen["id"], seen["trust"]) == (f"mesh:istio:{BOT}", "certificate")
        # A client's own word is thrown away by Envoy in this mode.
        with site.client(site.bot(uri=f"{BOT}-2")) as client:
            assert ask(client, url, f"By={US};URI={ADMIN}").status_code == 200
        await site.whom(lambda line: (line.get("agent") or {}).get("id") == f"mesh:istio:{BOT}-2")
    for request in await replicas[0].requests():
        assert not any(XFCC in str(field).lower() for field in request["headers"])


async def test_a_forged_first_element_does_not_count_where_envoy_appends(site: Site) -> None:
    with envoy_before(site, "APPEND_FORWARD") as url, site.client(site.bot(uri=f"{BOT}-3")) as client:
        assert ask(client, url, f"By={US};Hash=00;URI={ADMIN}").status_code == 200
        await site.whom(lambda line: (line.get("agent") or {}).get("id") == f"mesh:istio:{BOT}-3")
        # An open quote would swallow what Envoy appends, if it were read carelessly.
        assert ask(client, url, f'By={US};URI={ADMIN};Subject="').status_code == 401
        assert ask(client, url, f'By={US};Subject="x').status_code == 401
    assert not any(
        (line.get("agent") or {}).get("id") == f"mesh:istio:{ADMIN}" for line in site.gateway.audit_records()
    )


async def test_a_certificate_with_several_ids_is_nobody(site: Site) -> None:
    with envoy_before(site, "SANITIZE") as url, site.client(site.bot()) as client:
        assert ask(client, url).status_code == 401
    both = site.bot(x509.UniformResourceIdentifier(ADMIN))
    with envoy_before(site, "FORWARD_ONLY") as url, site.client(both) as client:
        # In this mode Envoy lets through what the client says: nothing may be believed that is not by us.
        assert ask(client, url, f"By=spiffe://evil/gw;URI={ADMIN}").status_code == 401


@pytest.mark.parametrize("is_http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("name", [XFCC, XFCC.upper(), "X-Forwarded-Client-Cert", XFCC.replace("-", "_")])
def test_who_does_not_come_by_envoy_is_not_believed(site: Site, name: str, is_http2: bool) -> None:
    with httpx.Client(trust_env=False, http1=not is_http2, http2=is_http2) as client:
        headers = {"Accept": "application/json, text/event-stream", name: f"By={US};URI={BOT}"}
        assert client.post(site.bare, json=INITIALIZE, headers=headers).status_code == 401
        # And is seen by nobody: where no credential is needed, it is as if it had not been sent.
        answer = client.post(site.bare.replace("/reference", "/open"), json=INITIALIZE, headers=headers)
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2" if is_http2 else "HTTP/1.1")


def test_a_value_of_a_hundred_kilobytes_is_too_much_for_a_head(site: Site) -> None:
    with httpx.Client(trust_env=False) as client:
        for origin in (site.bare.removesuffix("/reference"), site.mesh):
            assert ask(client, f"{origin}/reference", f"By={US};Chain={'x' * 100_000};URI={BOT}").status_code == 431


def test_a_trusted_peer_says_it_once(site: Site) -> None:
    with httpx.Client(trust_env=False) as client:
        value = f"By={US};URI={BOT}"
        assert ask(client, f"{site.mesh}/reference", value).status_code == 200
        assert ask(client, f"{site.mesh}/reference", value, value).status_code == 401
        headers = {"Accept": "application/json, text/event-stream", XFCC.replace("-", "_"): value}
        assert client.post(f"{site.mesh}/reference", json=INITIALIZE, headers=headers).status_code == 401
