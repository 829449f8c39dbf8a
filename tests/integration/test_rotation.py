"""What is read from files is read again when it changes: keys of issuers, hashes, and the gateway's own credentials."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.credentials import argon2id, basic, claims, key_set, public_jwk, token
from tests.support.gateway import Gateway, allow_everything, document, running_gateway, server
from tests.support.servers import Backend, reference_server

ISSUER = "https://login.example.com"
BODY = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}
MCP = {"Accept": "application/json, text/event-stream"}


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    with reference_server("a", folder=tmp_path) as backend:
        yield backend


@pytest.fixture
def gateway(tmp_path: Path, backend: Backend) -> Iterator[Gateway]:
    (tmp_path / "keys.json").write_text(json.dumps(key_set()))
    (tmp_path / "hash").write_text(argon2id("old"))
    (tmp_path / "upstream").write_text("old-credential\n")
    upstream = {"replicas": [backend.url], "credentials": [{"header": "X-Key", "value": {"file": "upstream"}}]}
    user = {"basic": {"source": "legacy", "user": "bot", "argon2id": {"file": "hash"}}}
    documents = [
        document("IdentitySource", "corp", {"order": 1, "jwt": {"issuer": ISSUER, "keysFile": "keys.json"}}),
        document("IdentitySource", "legacy", {"order": 2, "basic": {}}),
        document("Agent", "bot", {"identities": [user]}),
        server("desk", [], is_anonymous=False, upstream=upstream, authentication={}),
        allow_everything(),
    ]
    with running_gateway(documents, folder=tmp_path) as gateway:
        yield gateway


async def status(gateway: Gateway, authorization: str) -> int:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        answer = await http.post(gateway.url("desk"), json=BODY, headers={**MCP, "Authorization": authorization})
    return answer.status_code


async def until(is_so: Callable[[int], bool], gateway: Gateway, authorization: str) -> None:
    """Wait until a credential is answered so: the files are looked at three times a second."""
    async with asyncio.timeout(10):
        while True:
            if is_so(await status(gateway, authorization)):
                return
            await asyncio.sleep(0.05)


def replaced(path: Path, text: str) -> None:
    """Exchange a file as the tools that rotate secrets do."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.replace(path)


async def test_an_issuers_key_in_a_file_is_exchanged_without_a_restart(gateway: Gateway, tmp_path: Path) -> None:
    said = claims(time.time(), aud=gateway.url("desk"))
    old, new = (f"Bearer {token(said, key=name)}" for name in ("one", "two"))
    assert await status(gateway, old) != 401
    assert await status(gateway, new) == 401
    replaced(tmp_path / "keys.json", json.dumps(key_set(public_jwk("two"))))
    await until(lambda code: code != 401, gateway, new)
    assert await status(gateway, old) == 401


async def test_a_password_is_exchanged_without_a_restart(gateway: Gateway, tmp_path: Path) -> None:
    assert await status(gateway, basic("bot", "old")) != 401
    replaced(tmp_path / "hash", argon2id("new"))
    await until(lambda code: code != 401, gateway, basic("bot", "new"))
    assert await status(gateway, basic("bot", "old")) == 401


async def test_the_gateways_own_credential_is_exchanged_without_a_restart(
    gateway: Gateway, backend: Backend, tmp_path: Path
) -> None:
    async def shown() -> set[str]:
        await status(gateway, basic("bot", "old"))
        return {value for one in await backend.requests() for name, value in one["headers"] if name.lower() == "x-key"}

    assert await shown() == {"old-credential"}
    replaced(tmp_path / "upstream", "new-credential\n")
    async with asyncio.timeout(10):
        while True:
            if "new-credential" in await shown():
                return
            await asyncio.sleep(0.05)
