"""No credential is written down anywhere: traffic with every kind of them, right and wrong, then a look at all files.

What is planted here is searched for in every file that the gateway made (evidence, state, the
process log), in every answer, and in what the admin listener tells.
"""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.credentials import argon2id, basic, claims, forged, key_set, signed, token
from tests.support.gateway import Gateway, Key, allow_everything, document, key_source, running_gateway, server
from tests.support.servers import Backend, reference_server

ISSUER = "https://login.example.com"
PASSWORD = "canary-password-0b7e"
HMAC_SECRET = b"canary-hmac-secret-of-more-than-32-bytes-51aa"
UPSTREAM = "canary-upstream-token-77c1"
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
MCP = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


@dataclass
class Planted:
    """Credentials that were sent, and what may never be found again."""

    values: list[str] = field(default_factory=list)

    def add(self, *values: str) -> None:
        self.values += [value for value in values if len(value) > 10]

    def authorization(self, value: str) -> dict[str, str]:
        _, _, credential = value.partition(" ")
        self.add(credential, *credential.split("."))
        return {"Authorization": value}


@dataclass(frozen=True)
class Site:
    gateway: Gateway
    backend: Backend
    folder: Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "keys.json").write_text(json.dumps(key_set()))
    (tmp_path / "hash").write_text(argon2id(PASSWORD))
    (tmp_path / "hmac").write_bytes(HMAC_SECRET)
    (tmp_path / "upstream").write_text(UPSTREAM)
    identities: list[Mapping[str, Any]] = [
        {"jwt": {"source": "corp", "subject": "bot"}},
        {"basic": {"source": "legacy", "user": "bot", "argon2id": {"file": "hash"}}},
        {
            "signature": {
                "source": "hmac",
                "keyId": "bot-1",
                "algorithm": "hmac-sha256",
                "key": {"file": "hmac"},
            }
        },
    ]
    with ExitStack() as stack:
        backend = stack.enter_context(reference_server("a", folder=tmp_path))
        upstream = {
            "replicas": [backend.url],
            "credentials": [{"header": "X-Upstream-Key", "value": {"file": "upstream"}}],
            "identityHeader": "assertion",
        }
        documents = [
            document("IdentitySource", "corp", {"order": 1, "jwt": {"issuer": ISSUER, "keysFile": "keys.json"}}),
            document("IdentitySource", "legacy", {"order": 2, "basic": {}}),
            document("IdentitySource", "hmac", {"order": 3, "signature": {}}),
            key_source(),
            document("Agent", "all-kinds", {"identities": identities}),
            Key("bot").document(),
            server("desk", [backend.url], is_anonymous=False, upstream=upstream, authentication={}),
            allow_everything(),
        ]
        spec = {"audit": {"bodies": "metadata"}}
        yield Site(stack.enter_context(running_gateway(documents, folder=tmp_path, spec=spec)), backend, tmp_path)


def attempts(site: Site, planted: Planted) -> list[tuple[dict[str, str], bool]]:
    """Header fields, and whether they let their sender in."""
    url, now = site.gateway.url("desk"), time.time()
    good = claims(now, iss=ISSUER, aud=url)
    key = Key("bot").value
    signatures = [signed(HMAC_SECRET, url=url, body=BODY), signed(HMAC_SECRET[::-1], url=url, body=BODY)]
    for headers in signatures:
        planted.add(headers["signature"].partition("=:")[2].rstrip(":"))
    pair = base64.b64encode(f"bot:{PASSWORD}".encode()).decode()
    planted.add(PASSWORD, HMAC_SECRET.decode(), UPSTREAM, pair, key.rpartition("_")[2])
    bearer = [
        (token(good), True),
        (token({**good, "exp": int(now) - 60}), False),
        (token({**good, "aud": "https://elsewhere"}), False),
        (token(good, key="eve", header={"kid": "one"}), False),
        (token({**good, "iss": "https://unknown"}), False),
        (forged(good, {"alg": "none"}), False),
        ("canary-opaque-token-9d3f", False),
        (key, True),
        (f"{key}canary", False),
        ("omcp_canary-pasted-secret_x1", False),
        ("omcp_canarypastedsecretwithoutid", False),
    ]
    return [
        *[(planted.authorization(f"Bearer {text}"), is_good) for text, is_good in bearer],
        (planted.authorization(basic("bot", PASSWORD)), True),
        (planted.authorization(basic("bot", f"{PASSWORD}-wrong")), False),
        (planted.authorization(basic(PASSWORD, "swapped")), False),
        (planted.authorization("Basic canary-broken-basic!!"), False),
        (planted.authorization("Digest canary-digest-credential"), False),
        (signatures[0], True),
        (signatures[0], False),
        (signatures[1], False),
        ({"Proxy-Authorization": "Basic canary-proxy-credential"}, False),
        ({"Cookie": "session=canary-cookie-value"}, False),
    ]


async def test_no_credential_is_written_anywhere(site: Site) -> None:
    planted = Planted(["canary-cookie-value", "canary-proxy-credential", "canary-broken-basic"])
    tried = attempts(site, planted)
    said: list[str] = []
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        for headers, is_good in tried:
            answer = await http.post(site.gateway.url("desk"), content=BODY, headers={**MCP, **headers})
            assert (answer.status_code != 401) is is_good, (headers, answer.text)
            said.append(f"{answer.headers}{answer.text}")
        said += [(await http.get(f"{site.gateway.admin}{path}")).text for path in ("/metrics", "/readyz")]
        refusals = {one for (_, is_good), one in zip(tried, said, strict=False) if not is_good}
        assert refusals
    await site.gateway.recorded(lambda line: "wrong password" in line.get("outcome", {}).get("detail", ""))
    site.gateway.process.stop(timeout_s=40.0)

    assert all(path.stat().st_size for path in site.gateway.audit_files())
    written = {path: path.read_bytes() for path in _written(site)}
    assert any(b"unauthenticated" in data for data in written.values()), "the reasons are on record"
    for secret in planted.values:
        assert not any(secret in one for one in said), secret
        for path, data in written.items():
            assert secret.encode() not in data, (path, secret)


def _written(site: Site) -> list[Path]:
    """All that the gateway itself made: not its keys, and not what the test gave it."""
    made = [path for path in site.gateway.data.rglob("*") if path.is_file() and path.parent.name != "keys"]
    return [*made, site.folder / "gateway.log"]


async def test_every_failure_gets_one_answer_and_each_its_true_reason(site: Site) -> None:
    planted = Planted()
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        wrong = [headers for headers, is_good in attempts(site, planted) if not is_good and "signature" not in headers]
        answers = [await http.post(site.gateway.url("desk"), content=BODY, headers={**MCP, **one}) for one in wrong]
    shapes = {
        (
            answer.status_code,
            tuple(sorted((name, value) for name, value in answer.headers.items() if name != "date")),
            json.dumps({**answer.json()["error"], "data": {**answer.json()["error"]["data"], "exchangeId": ""}}),
        )
        for answer in answers
    }
    assert len(shapes) == 1, shapes
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        assert (await http.post(site.gateway.url("desk"), content=BODY, headers=MCP)).status_code == 401
        metrics = (await http.get(f"{site.gateway.admin}/metrics")).text
    counted = {
        (sample.labels["source"], sample.labels["result"])
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "openmcp_authentication_total"
    }
    assert counted >= {("", "missing"), ("corp", "invalid"), ("legacy", "invalid")}
    records = [
        line for line in site.gateway.audit_records() if line.get("outcome", {}).get("kind") == "unauthenticated"
    ]
    assert len({line["outcome"]["detail"] for line in records}) >= 5
