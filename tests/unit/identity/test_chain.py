"""Sources in order: not present asks the next, verified and invalid stop; one answer outwards for every failure."""

import hashlib

import pytest

from openmcp.config.identities import AgentSpec, ApiKeyIdentity
from openmcp.errors import Unauthenticated
from openmcp.identity.agents import agents_by_principal
from openmcp.identity.api_key import ApiKeySource, KeyEntry
from openmcp.identity.chain import IdentityChain
from openmcp.identity.source import Absent, Invalid, Verdict
from openmcp.model.agent import ANONYMOUS, Principal, Trust
from openmcp.model.http import Peer, Request
from openmcp.model.server import Authentication, Server

BOT = Principal("a:bot", "a", "test", Trust.TOKEN)
EVE = Principal("b:eve", "b", "test", Trust.TOKEN)
KEY = "omcp_bot_secret"


class Fixed:
    """A source that always gives the same answer."""

    headers = frozenset({"x-test"})

    def __init__(self, name: str, verdict: Verdict) -> None:
        self.name = name
        self.was_asked = False
        self._verdict = verdict

    async def verify(self, request: Request, server: Server) -> Verdict:
        self.was_asked = True
        return self._verdict

    def vouches(self, principal: Principal) -> bool:
        return principal == self._verdict


def server(*sources: str, anonymous: bool = False) -> Server:
    return Server("desk", "/desk", (), Authentication(sources, is_anonymous_allowed=anonymous))


def request(*, repeated: frozenset[str] = frozenset(), **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", "/desk", named, b"", Peer("192.0.2.1"), repeated=repeated)


def keys(name: str = "keys", header: str = "Authorization", *entries: tuple[str, str]) -> ApiKeySource:
    known = entries or (("bot", KEY),)
    return ApiKeySource(name, header, [KeyEntry(id, hashlib.sha256(key.encode()).hexdigest()) for id, key in known])


async def refusal(chain: IdentityChain, request: Request, server: Server) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await chain.identify(request, server)
    return caught.value


# ------------------------------------------------------------ order


@pytest.mark.parametrize(("order", "who"), [(("a", "b"), BOT), (("b", "a"), EVE), (("none", "b"), EVE)])
async def test_the_first_that_verifies_decides(order: tuple[str, ...], who: Principal) -> None:
    sources = [Fixed("none", Absent.ABSENT), Fixed("a", BOT), Fixed("b", EVE)]
    assert (await IdentityChain(sources, {}).identify(request(), server(*order))).principal == who


async def test_an_invalid_credential_is_never_saved_by_a_weaker_source() -> None:
    later = Fixed("b", EVE)
    chain = IdentityChain([Fixed("bad", Invalid("expired")), later], {})
    error = await refusal(chain, request(), server("bad", "b", anonymous=True))
    assert "expired" in error.detail
    assert not later.was_asked


async def test_a_source_that_the_server_does_not_listen_to_is_not_asked() -> None:
    other = Fixed("a", BOT)
    chain = IdentityChain([other, Fixed("none", Absent.ABSENT)], {})
    assert await chain.identify(request(), server("none", anonymous=True)) is ANONYMOUS
    assert not other.was_asked


async def test_without_sources_nobody_comes_in() -> None:
    await refusal(IdentityChain([], {}), request(), server())


# ------------------------------------------------------------ anonymous


async def test_anonymous_needs_the_servers_leave_and_no_credential() -> None:
    chain = IdentityChain([keys()], {})
    assert await chain.identify(request(), server("keys", anonymous=True)) is ANONYMOUS
    await refusal(chain, request(), server("keys"))
    for presented in (request(authorization="Basic x"), request(proxy_authorization="Basic x")):
        await refusal(chain, presented, server("keys", anonymous=True))


async def test_a_credential_in_another_sources_header_is_not_anonymous() -> None:
    chain = IdentityChain([keys("keys", "X-Api-Key")], {})
    await refusal(chain, request(x_api_key="something"), server(anonymous=True))


async def test_every_failure_looks_the_same_from_outside() -> None:
    chain = IdentityChain([keys()], {})
    tried = [
        request(),
        request(authorization="Bearer omcp_bot_wrong"),
        request(authorization="Bearer omcp_nobody_x"),
        request(authorization="Bearer jwt"),
        request(authorization=f"Bearer {KEY}", repeated=frozenset({"authorization"})),
        request(authorization=f"Bearer {KEY}{'x' * 600}"),
    ]
    answers = [await refusal(chain, one, server("keys")) for one in tried]
    assert len({(error.text, tuple(error.headers), str(error.data)) for error in answers}) == 1
    assert all(KEY not in error.detail for error in answers)


# ------------------------------------------------------------ API keys


@pytest.mark.parametrize("value", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY} "])
async def test_a_key_is_known_whatever_the_case_of_its_scheme(value: str) -> None:
    verdict = await keys().verify(request(authorization=value), server())
    assert isinstance(verdict, Principal)
    assert (verdict.id, verdict.trust, verdict.method) == ("key:keys:bot", Trust.SHARED_SECRET, "apiKey")
    assert verdict.fingerprint not in KEY


async def test_a_header_of_its_own_holds_the_key_alone() -> None:
    source = keys("keys", "X-Api-Key")
    assert isinstance(await source.verify(request(x_api_key=KEY), server()), Principal)
    assert await source.verify(request(x_api_key=f"Bearer {KEY}"), server()) is Absent.ABSENT
    assert await source.verify(request(authorization=f"Bearer {KEY}"), server()) is Absent.ABSENT


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer x.y.z", f"Basic {KEY}", KEY, f"BearerX {KEY}"])
async def test_what_is_no_key_of_this_kind_is_left_to_others(value: str) -> None:
    assert await keys().verify(request(authorization=value), server()) is Absent.ABSENT


@pytest.mark.parametrize("key", ["omcp_", "omcp_bot", "omcp_bot_", f"{KEY}x", KEY[:-1], "omcp__secret", "omcp_bot_é"])
async def test_a_key_that_is_not_exactly_right_is_invalid(key: str) -> None:
    assert isinstance(await keys().verify(request(authorization=f"Bearer {key}"), server()), Invalid)


async def test_a_repeated_or_endless_header_is_invalid() -> None:
    twice = request(authorization=f"Bearer {KEY}", repeated=frozenset({"authorization"}))
    assert isinstance(await keys().verify(twice, server()), Invalid)
    long = request(authorization=f"Bearer {KEY}{' ' * 600}x")
    assert isinstance(await keys().verify(long, server()), Invalid)


async def test_two_keys_under_one_id_are_one_principal() -> None:
    """So that a key is replaced without losing sessions."""
    source = keys("keys", "Authorization", ("bot", KEY), ("bot", "omcp_bot_next"))
    found = [await source.verify(request(authorization=f"Bearer {key}"), server()) for key in (KEY, "omcp_bot_next")]
    assert [one.id for one in found if isinstance(one, Principal)] == ["key:keys:bot"] * 2


# ------------------------------------------------------------ which agent


def spec(name: str = "bot", groups: frozenset[str] = frozenset()) -> AgentSpec:
    identity = ApiKeyIdentity(principal_id="key:keys:bot", source="keys", id="bot", digest=b"d" * 32)
    return AgentSpec(name, "ann", groups, {"team": "x"}, (identity,))


async def test_a_configured_agent_has_its_name_and_groups() -> None:
    chain = IdentityChain([keys()], agents_by_principal([spec("robot", frozenset({"staff"}))]))
    found = await chain.identify(request(authorization=f"Bearer {KEY}"), server("keys"))
    assert (found.name, found.owner, found.is_configured) == ("robot", "ann", True)
    assert found.groups == {"staff"}
    assert found.principal.id == "key:keys:bot"


async def test_a_principal_without_a_configured_agent_is_its_own() -> None:
    found = await IdentityChain([keys()], {}).identify(request(authorization=f"Bearer {KEY}"), server("keys"))
    assert (found.name, found.is_configured) == ("key:keys:bot", False)


async def test_who_comes_again_is_the_same_object() -> None:
    """What is decided and encoded for an agent is remembered by it."""
    chain = IdentityChain([keys()], {})
    one, two = [await chain.identify(request(authorization=f"Bearer {KEY}"), server("keys")) for _ in range(2)]
    assert one is two


# ------------------------------------------------------------ still the same?


async def identified() -> tuple[IdentityChain, Request]:
    return IdentityChain([keys()], agents_by_principal([spec()])), request(authorization=f"Bearer {KEY}")


async def test_an_agent_of_an_older_configuration_is_who_the_newer_one_says() -> None:
    older, seen = await identified()
    bot = await older.identify(seen, server("keys"))
    newer = IdentityChain([keys()], agents_by_principal([spec("bot", frozenset({"staff"}))]))
    now = newer.current(bot, server("keys"))
    assert now is not None
    assert now.groups == {"staff"}
    assert now is await newer.identify(seen, server("keys"))


async def test_an_agent_whose_key_or_source_is_gone_is_nobody() -> None:
    older, seen = await identified()
    bot = await older.identify(seen, server("keys"))
    replaced = IdentityChain([keys("keys", "Authorization", ("bot", "omcp_bot_next"))], {})
    elsewhere = IdentityChain([keys("others")], {})
    assert older.current(bot, server("keys")) is bot
    assert replaced.current(bot, server("keys")) is None
    assert elsewhere.current(bot, server("keys", "others")) is None
    assert older.current(bot, server("others")) is None


def test_anonymous_is_somebody_only_where_it_is_allowed() -> None:
    chain = IdentityChain([keys()], {})
    assert chain.current(ANONYMOUS, server(anonymous=True)) is ANONYMOUS
    assert chain.current(ANONYMOUS, server()) is None
