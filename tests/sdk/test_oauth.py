"""The MCP SDK's own OAuth client, without any help: from a 401 to the metadata, the issuer, a token, and a call."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from tests.sdk.clients import WAIT_S, said
from tests.support.gateway import Gateway, Key, allow_everything, document, key_source, running_gateway, server
from tests.support.issuer import Issuer, running_issuer
from tests.support.servers import Backend

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Memory(TokenStorage):
    """Where the client keeps what it was given."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Person:
    """Logs in where the client sends them, as whoever they are."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._answer: dict[str, list[str]] = {}
        self.logins = 0

    async def visits(self, url: str) -> None:
        self.logins += 1
        async with httpx2.AsyncClient(trust_env=False) as browser:
            response = await browser.post(url, data={"sub": self._name}, follow_redirects=False)
        assert response.status_code == 302, response.text
        self._answer = parse_qs(urlsplit(response.headers["location"]).query)

    async def comes_back(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=self._answer["code"][0], state=self._answer["state"][0])


@dataclass(frozen=True)
class Protected:
    """A gateway whose routes take tokens of one issuer."""

    gateway: Gateway
    issuer: Issuer
    backend: Backend


@pytest.fixture(scope="module")
def protected(replicas: list[Backend], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Protected]:
    with running_issuer() as issuer:
        source = document(
            "IdentitySource",
            "corp",
            {"order": 1, "jwt": {"issuer": issuer.url, "scopes": ["openid"], "claims": {"agent": "sub"}}},
        )
        agent = document("Agent", "alice-bot", {"identities": [{"jwt": {"source": "corp", "subject": "alice"}}]})
        urls = [replicas[0].url]
        telling = {"replicas": urls, "identityHeader": "assertion"}
        documents = [
            source,
            key_source(),
            agent,
            Key("bot").document(),
            server("desk", urls, is_anonymous=False, authentication={"sources": ["corp"]}, upstream=telling),
            server("notes", urls, is_anonymous=False, authentication={"sources": ["corp", "keys"]}),
            server("keyed", urls, is_anonymous=False, authentication={"sources": ["keys"]}),
            allow_everything(),
        ]
        with running_gateway(documents, folder=tmp_path_factory.mktemp("oauth")) as gateway:
            yield Protected(gateway, issuer, replicas[0])


def provider(url: str, memory: Memory, person: Person) -> OAuthClientProvider:
    metadata = OAuthClientMetadata(
        client_name="an agent",
        redirect_uris=["http://127.0.0.1:1/callback"],
        token_endpoint_auth_method="client_secret_post",
    )
    return OAuthClientProvider(url, metadata, memory, person.visits, person.comes_back)


async def test_the_sdk_finds_its_own_way_from_a_refusal_to_a_call(protected: Protected) -> None:
    gateway, memory, person = protected.gateway, Memory(), Person("alice")
    url = gateway.url("desk")
    before = len(protected.issuer.given)
    async with (
        httpx2.AsyncClient(auth=provider(url, memory, person), timeout=WAIT_S, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        answer = await client.call_tool("whoami", {}, read_timeout_seconds=WAIT_S)
        assert not answer.is_error, said(answer)
    (given,) = protected.issuer.given[before:]
    assert given["aud"] == url, "the client asked for just this route"
    assert person.logins == 1
    record = await gateway.recorded(lambda line: line.get("agent", {}).get("name") == "alice-bot")
    assert (record["agent"]["id"], record["agent"]["method"]) == ("jwt:corp:alice", "jwt")
    assert memory.tokens is not None
    assert memory.tokens.access_token not in "".join(path.read_text() for path in gateway.audit_files())


async def test_the_token_stays_at_the_gateway_and_the_server_gets_an_assertion(protected: Protected) -> None:
    gateway, memory, person = protected.gateway, Memory(), Person("alice")
    url = gateway.url("desk")
    async with (
        httpx2.AsyncClient(auth=provider(url, memory, person), timeout=WAIT_S, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        await client.call_tool("whoami", {}, read_timeout_seconds=WAIT_S)
        # Of its own accord an agent introduces itself to nobody.
        http.headers["X-OpenMCP-Assertion"] = "forged"
        http.headers["X-OpenMCP-Agent"] = "root"
        await client.call_tool("whoami", {}, read_timeout_seconds=WAIT_S)
    assert memory.tokens is not None
    requests = await protected.backend.requests()
    seen = [{name.lower(): value for name, value in dict(request["headers"]).items()} for request in requests]
    told = [headers["x-openmcp-assertion"] for headers in seen if "x-openmcp-assertion" in headers]
    assert told
    assert all(one.count(".") == 2 for one in told)
    assert not any("x-openmcp-agent" in headers for headers in seen)
    assert not any(memory.tokens.access_token in str(headers) for headers in seen)


async def test_a_token_for_one_route_opens_no_other(protected: Protected) -> None:
    gateway, memory, person = protected.gateway, Memory(), Person("alice")
    url = gateway.url("desk")
    async with (
        httpx2.AsyncClient(auth=provider(url, memory, person), timeout=WAIT_S, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)),
    ):
        pass
    assert memory.tokens is not None
    shown = {"Authorization": f"Bearer {memory.tokens.access_token}"}
    async with httpx2.AsyncClient(trust_env=False) as http:
        refused = await http.post(gateway.url("notes"), json={}, headers=shown)
    assert refused.status_code == 401


async def test_metadata_is_served_where_tokens_are_taken_and_nowhere_else(protected: Protected) -> None:
    gateway = protected.gateway
    well_known = f"{gateway.origin}/.well-known/oauth-protected-resource"
    async with httpx2.AsyncClient(trust_env=False) as http:
        for name in ("desk", "notes"):
            document = (await http.get(f"{well_known}/{name}")).json()
            assert document["resource"] == gateway.url(name)
            assert document["authorization_servers"] == [protected.issuer.url]
            refused = await http.post(gateway.url(name), json={})
            assert refused.status_code == 401
            assert f'resource_metadata="{well_known}/{name}"' in refused.headers["www-authenticate"]
        for path in ("", "/", "/keyed", "/nothing", "/desk/deeper", "x"):
            assert (await http.get(f"{well_known}{path}")).status_code == 404, path
        refused = await http.post(gateway.url("keyed"), json={})
        assert refused.headers["www-authenticate"] == 'Bearer realm="openmcp"'
        forged = await http.get(f"{well_known}/desk", headers={"Host": "127.0.0.1:9", "X-Forwarded-Host": "evil"})
        assert forged.json()["resource"] == gateway.url("desk"), "built from the configuration, whatever was asked for"
        assert len((await http.get(f"{gateway.origin}/.well-known/openmcp/jwks.json")).json()["keys"]) == 1
