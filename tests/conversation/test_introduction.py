"""What a server learns of the agent, as it arrives there: with each request, and never from the agent itself."""

import base64
import hashlib
import json
from typing import Any

import pytest

from openmcp.model.server import IdentityHeader
from tests.conversation.site import CANARY, ERAS, Setting, allow, site_of


def claims(assertion: str) -> dict[str, Any]:
    payload = assertion.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


@pytest.mark.parametrize("era", ERAS)
async def test_each_call_comes_with_an_assertion_about_just_this_call(era: str) -> None:
    told = Setting(server={"identity_header": IdentityHeader.ASSERTION})
    async with site_of(allow(), setting=told) as site:
        bot = await site.connected(era)
        seen = []
        for _ in range(2):
            call = bot.asks("tools/list", headers={"x-openmcp-assertion": "forged", "x-openmcp-agent": "root"})
            asked = await site.takes("tools/list")
            asked.answers({"tools": []})
            await call.result()
            assert "x-openmcp-agent" not in asked.headers
            said = claims(asked.headers["x-openmcp-assertion"])
            digest = base64.b64encode(hashlib.sha256(asked.body).digest()).decode()
            assert (said["sub"], said["principal"], said["digest"]) == ("bot", "key:keys:bot", f"sha-256=:{digest}:")
            assert said["aud"] == [site.replica.address.url, "desk"]
            seen.append(said["jti"])
        assert len(set(seen)) == 2


async def test_an_agents_own_introduction_is_not_passed_on() -> None:
    async with site_of(allow()) as site:
        bot = await site.connected()
        forged = {"x-openmcp-assertion": "forged", "X-OpenMCP-Agent": "root", "x_openmcp_agent": "root"}
        call = bot.asks("tools/list", headers=forged)
        asked = await site.takes("tools/list")
        asked.answers({"tools": []})
        await call.result()
        assert not [name for name in asked.headers if "openmcp" in name.lower()]
        assert not any(CANARY in value for name, value in asked.headers.items() if name != "mcp-session-id")


async def test_the_plain_name_is_told_where_that_is_wanted() -> None:
    async with site_of(allow(), setting=Setting(server={"identity_header": IdentityHeader.PLAIN})) as site:
        bot = await site.connected()
        call = bot.asks("tools/list")
        asked = await site.takes("tools/list")
        asked.answers({"tools": []})
        await call.result()
        assert asked.headers["x-openmcp-agent"] == "bot"
