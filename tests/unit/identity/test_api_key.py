"""What is said of an API key that does not verify: its id where it is one of ours, and never its secret."""

import hashlib

import pytest

from openmcp.identity.api_key import ApiKeySource, KeyEntry
from openmcp.identity.source import Invalid
from openmcp.model.agent import Principal
from openmcp.model.http import Peer, Request
from openmcp.model.server import Authentication, Server

KEY = "omcp_bot_secret"
SERVER = Server("desk", "/desk", (), Authentication(("keys",)))
SOURCE = ApiKeySource("keys", "authorization", [KeyEntry("bot", hashlib.sha256(KEY.encode()).hexdigest())])


def presenting(key: str) -> Request:
    return Request("POST", "/desk", {"authorization": f"Bearer {key}"}, b"", Peer("192.0.2.1"))


async def test_a_key_names_its_principal() -> None:
    verdict = await SOURCE.verify(presenting(KEY), SERVER)
    assert isinstance(verdict, Principal)
    assert verdict.id == "key:keys:bot"


async def test_a_wrong_key_of_a_known_id_is_recorded_under_it() -> None:
    verdict = await SOURCE.verify(presenting("omcp_bot_hidden"), SERVER)
    assert isinstance(verdict, Invalid)
    assert "bot" in verdict.why
    assert "hidden" not in verdict.why


@pytest.mark.parametrize("key", ["omcp_hidden", "omcp_hidden_", "omcp__hidden", "omcp_hidden_secret", "omcp_"])
async def test_nothing_of_any_other_key_is_recorded(key: str) -> None:
    verdict = await SOURCE.verify(presenting(key), SERVER)
    assert isinstance(verdict, Invalid)
    assert "hidden" not in verdict.why
