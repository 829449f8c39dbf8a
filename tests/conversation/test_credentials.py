"""Credentials that end, or act for somebody, while a conversation goes on."""

import json
from typing import Any

import pytest

from openmcp.config.identities import JwtSourceSettings, SourceSpec
from tests.conversation.agent import Agent
from tests.conversation.site import CANARY, ERAS, Setting, Site, allow, site_of
from tests.support.credentials import ISSUER, NOW, claims, key_set, token

TOKENS = JwtSourceSettings(
    issuer=ISSUER,
    keys=json.dumps(key_set()).encode(),
    audiences=frozenset({"desk"}),
    takes_route=False,
    leeway_s=1.0,
)
DELEGATED = JwtSourceSettings(
    issuer=ISSUER,
    keys=TOKENS.keys,
    audiences=frozenset({"desk"}),
    takes_route=False,
    agent_claim="act.sub",
    on_behalf_of_claim="sub",
)


def setting(settings: JwtSourceSettings = TOKENS) -> Setting:
    return Setting(sources=(SourceSpec("corp", 1, "jwt", settings),))


def agent(site: Site, era: str = "legacy", **said: Any) -> Agent:
    """An agent that shows a token of the issuer."""
    made = site.agent(era, name=None)
    made.key = token(claims(NOW, aud="desk", **said))
    return made


@pytest.mark.parametrize("era", ERAS)
async def test_a_stream_ends_cleanly_when_its_token_ends(era: str) -> None:
    async with site_of(allow(), setting=setting()) as site:
        site.runtime.upstream.tick_s = 0.05
        bot = agent(site, era)
        if not bot.is_modern:
            bot.session = await site.opens(bot, f"{CANARY}-1")
        call = bot.calls_tool("read")
        stream = (await site.takes("tools/call")).streams()
        stream.sends(method="notifications/progress", params={"progressToken": 1, "progress": 1})
        assert (await call.told())["params"]["progress"] == 1
        site.clock.moves(302)
        # Nothing comes from the server: a tick is enough.
        assert "error" in await call.told() or call.is_clean
        await call.ends()
        assert await site.kind(call) == "forbidden"


async def test_nothing_reaches_a_listener_after_its_token_has_ended() -> None:
    async with site_of(allow(), setting=setting()) as site:
        bot = agent(site)
        bot.session = await site.opens(bot, f"{CANARY}-1")
        call = bot.listens()
        stream = (await site.replica.takes("GET")).streams()
        await call.begun()
        site.clock.moves(302)
        stream.sends(method="notifications/message", params={"level": "info", "data": "late"})
        await call.ends()
        assert b"late" not in call.body


async def test_a_token_that_has_ended_is_refused_on_the_next_request() -> None:
    async with site_of(allow(), setting=setting()) as site:
        bot = agent(site)
        bot.session = await site.opens(bot, f"{CANARY}-1")
        site.clock.moves(302)
        call = bot.asks("tools/list")
        await call.refused(401, -31001)
        assert "expired" in (await site.outcome(call))["detail"]


async def test_a_session_belongs_to_the_agent_and_the_user_it_acts_for() -> None:
    async with site_of(allow(), setting=setting(DELEGATED)) as site:
        for_ann = agent(site, sub="ann", act={"sub": "bot"})
        for_bob = agent(site, sub="bob", act={"sub": "bot"})
        for_bob.session = for_ann.session = await site.opens(for_ann, f"{CANARY}-1")
        await for_bob.asks("tools/list").refused(404, -32600)
        call = for_ann.asks("tools/list")
        (await site.takes("tools/list")).answers({"tools": []})
        await call.result()
        (first, *_) = [line for line in await site.lines_of(call) if "agent" in line]
        assert (first["agent"]["id"], first["agent"]["onBehalfOf"]) == ("jwt:corp:bot", "ann")


async def test_other_settings_of_the_source_end_what_was_verified_under_the_old_ones() -> None:
    async with site_of(allow(), setting=setting()) as site:
        bot = agent(site)
        bot.session = await site.opens(bot, f"{CANARY}-1")
        call = bot.listens()
        stream = (await site.replica.takes("GET")).streams()
        await call.begun()
        await site.reload(sources=(SourceSpec("corp", 1, "jwt", DELEGATED),))
        stream.sends(method="notifications/message", params={"level": "info", "data": "late"})
        await call.ends()
        assert b"late" not in call.body
