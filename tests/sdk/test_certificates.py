"""Agents with client certificates and SVIDs, from the SDK through a gateway that serves TLS to a real server.

And what happens to a connection that stands while its certificate expires, is revoked, or
its authority is withdrawn: the next request on it is refused.
"""

import asyncio
import datetime
import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from tests.sdk.clients import connected
from tests.support.certificates import Authority, Made
from tests.support.gateway import Gateway, allow_everything, document, running_gateway, server
from tests.support.processes import free_port
from tests.support.servers import Backend
from tests.support.spire import Agent, TrustDomain

WAIT_S = 20.0
BOT = x509.DNSName("bot.partner.example")
SECONDS = datetime.timedelta(seconds=1)
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@dataclass(frozen=True)
class Site:
    """A gateway that serves TLS, and who vouches for its agents."""

    gateway: Gateway
    url: str
    folder: Path
    own: Authority
    partners: Authority
    domain: TrustDomain

    def context(self, made: Made | None) -> ssl.SSLContext:
        """What a client with this certificate speaks TLS by."""
        return self.own.client_context(made)

    def put(self, name: str, content: bytes) -> None:
        """Exchange a file at once, as tools that rotate do."""
        fresh = self.folder / f"{name}.new"
        fresh.write_bytes(content)
        fresh.replace(self.folder / name)

    async def who(self, agent_id: str) -> dict[str, str]:
        """What is on record of an agent, as soon as it is."""
        found = await self.gateway.recorded(lambda line: (line.get("agent") or {}).get("id") == agent_id)
        return dict(found["agent"])


@pytest.fixture
def site(replicas: list[Backend], tmp_path: Path) -> Iterator[Site]:
    own, partners, domain = Authority("gateway"), Authority("partners"), TrustDomain("prod.example")
    own.issue(name="edge").write(tmp_path, "gw")
    (tmp_path / "partners.pem").write_bytes(partners.pem)
    (tmp_path / "partners.crl").write_bytes(partners.crl())
    (tmp_path / "prod.pem").write_bytes(domain.authority.pem)
    port = free_port()
    tls = {"certFile": "gw.crt", "keyFile": "gw.key", "clientAuth": "optional"}
    documents = [
        server("reference", [one.url for one in replicas], authentication={"sources": ["workload", "partners"]}),
        document("IdentitySource", "partners", {"mtls": {"caFile": "partners.pem", "crlFile": "partners.crl"}}),
        document(
            "IdentitySource", "workload", {"spiffe": {"trustDomains": {"prod.example": {"bundleFile": "prod.pem"}}}}
        ),
        document(
            "Agent", "support-bot", {"identities": [{"mtls": {"source": "partners", "san": "dns:bot.partner.example"}}]}
        ),
        allow_everything(),
    ]
    listeners = [{"name": "public", "address": f"127.0.0.1:{port}", "tls": tls}]
    with running_gateway(documents, folder=tmp_path, spec={"listeners": listeners}) as gateway:
        yield Site(gateway, f"https://127.0.0.1:{port}/reference", tmp_path, own, partners, domain)


@dataclass
class Line:
    """One connection that stays open."""

    client: httpx.AsyncClient
    url: str
    sockets: set[object]

    async def status(self) -> int:
        """The answer to one more request on it."""
        headers = {"Accept": "application/json, text/event-stream"}
        answer = await self.client.post(self.url, json=INITIALIZE, headers=headers)
        self.sockets.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
        return answer.status_code

    async def becomes(self, status: int) -> None:
        """Wait until a request on it is answered so."""
        async with asyncio.timeout(WAIT_S):
            while await self.status() != status:  # noqa: ASYNC110 – time itself is waited for
                await asyncio.sleep(0.1)


@asynccontextmanager
async def line(site: Site, made: Made | None) -> AsyncIterator[Line]:
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(verify=site.context(made), trust_env=False, limits=limits, timeout=WAIT_S) as client:
        yield Line(client, site.url, set())


# ------------------------------------------------------------ the SDK


async def test_a_client_certificate_is_all_that_an_sdk_client_needs(site: Site, mode: str) -> None:
    made = site.partners.issue(BOT)
    async with connected(site.url, mode, verify=site.context(made)) as found:
        assert await found.replica() in ("a", "b")
    seen = await site.who("x509:partners:dns:bot.partner.example")
    assert (seen["name"], seen["method"], seen["trust"]) == ("support-bot", "mtls", "certificate")


async def test_an_svid_is_all_that_an_sdk_client_needs(site: Site) -> None:
    async with connected(site.url, "auto", verify=site.context(site.domain.svid("/ns/support/sa/bot"))) as found:
        assert await found.replica() in ("a", "b")
    seen = await site.who("spiffe://prod.example/ns/support/sa/bot")
    assert (seen["method"], seen["trust"]) == ("spiffe", "certificate")


async def test_no_certificate_and_a_foreign_name_get_the_same_answer(site: Site) -> None:
    forged = site.partners.issue(x509.UniformResourceIdentifier("spiffe://prod.example/admin"))
    answers = []
    for made in (None, forged, site.partners.issue(BOT, x509.DNSName("admin.partner.example"))):
        async with line(site, made) as found:
            answer = await found.client.post(site.url, json=INITIALIZE)
            answers.append((answer.status_code, answer.json()["error"]["message"], answer.headers["www-authenticate"]))
    assert {status for status, *_ in answers} == {401}
    assert len(set(answers)) == 1
    reason = await site.gateway.recorded(lambda one: "X.509-SVID" in str(one.get("outcome", {}).get("detail", "")))
    assert reason["outcome"]["kind"] == "unauthenticated"


async def test_what_the_spiffe_agent_tells_counts_for_handshakes_and_for_standing_connections(
    replicas: list[Backend], tmp_path: Path
) -> None:
    own, before, after = Authority("gateway"), TrustDomain("prod.example"), TrustDomain("prod.example")
    own.issue(name="edge").write(tmp_path, "gw")
    agent, port = Agent(tmp_path / "agent.sock", before), free_port()
    documents = [
        server("reference", [replicas[0].url], authentication={"sources": ["workload"]}),
        document("IdentitySource", "workload", {"spiffe": {"workloadApi": agent.address}}),
        allow_everything(),
    ]
    tls = {"certFile": "gw.crt", "keyFile": "gw.key", "clientAuth": "required"}
    listeners = [{"name": "public", "address": f"127.0.0.1:{port}", "tls": tls}]
    agent.start()
    try:
        with running_gateway(documents, folder=tmp_path, spec={"listeners": listeners}) as gateway:
            url = f"https://127.0.0.1:{port}/reference"
            site = Site(gateway, url, tmp_path, own, Authority("nobody"), before)
            async with line(site, before.svid()) as standing:
                assert await standing.status() == 200
                agent.tell(after)
                await standing.becomes(401)
                assert len(standing.sockets) == 1
            async with connected(url, "auto", verify=site.context(after.svid())) as found:
                assert await found.replica() == "a"
    finally:
        agent.stop()


# ------------------------------------------------------------ while a connection stands


async def test_an_svid_that_expires_on_a_standing_connection_is_refused_at_the_next_request(site: Site) -> None:
    async with line(site, site.domain.svid(life=4 * SECONDS)) as found:
        assert await found.status() == 200
        await found.becomes(401)
        assert len(found.sockets) == 1


async def test_a_bundle_that_is_rotated_counts_for_standing_connections_and_for_new_ones(site: Site) -> None:
    after = TrustDomain("prod.example")
    async with line(site, site.domain.svid()) as standing:
        assert await standing.status() == 200
        site.put("prod.pem", site.domain.authority.pem + after.authority.pem)
        async with asyncio.timeout(WAIT_S):
            while True:
                try:
                    async with line(site, after.svid()) as fresh:
                        assert await fresh.status() == 200
                    break
                except (httpx.TransportError, ssl.SSLError):
                    await asyncio.sleep(0.1)
        assert await standing.status() == 200
        site.put("prod.pem", after.authority.pem)
        await standing.becomes(401)
        assert len(standing.sockets) == 1


async def test_a_certificate_that_is_revoked_is_refused_at_the_next_request(site: Site) -> None:
    lost, kept = site.partners.issue(BOT), site.partners.issue(BOT)
    async with line(site, lost) as standing, line(site, kept) as other:
        assert await standing.status() == await other.status() == 200
        site.put("partners.crl", site.partners.crl(lost, life=datetime.timedelta(days=2)))
        await standing.becomes(401)
        assert len(standing.sockets) == 1
        assert await other.status() == 200


# ------------------------------------------------------------ TLS sessions that are taken up again


def spoken(site: Site, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[int, ssl.SSLSession | None]:
    """The status of one request on a connection of its own, and the TLS session to come back with; 0 = no answer."""
    port = int(site.url.split(":")[2].split("/")[0])
    body = json.dumps(INITIALIZE).encode()
    head = (
        f"POST /reference HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1", session=session) as tls,
        ):
            tls.sendall(head.encode() + body)
            answer = tls.recv(4096)
            return (int(answer.split()[1]) if answer else 0), tls.session
    except (ssl.SSLError, ConnectionError):
        return 0, None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_tls_session_does_not_outlive_the_authority_of_its_certificate(
    site: Site, version: ssl.TLSVersion
) -> None:
    context = site.context(site.domain.svid())
    context.minimum_version = context.maximum_version = version
    status, session = await asyncio.to_thread(spoken, site, context, None)
    assert status == 200
    site.put("prod.pem", Authority("another").pem)
    async with asyncio.timeout(WAIT_S):
        while (await asyncio.to_thread(spoken, site, context, session))[0] == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
