"""The word of a proxy in front: from trusted peers only, once, and read strictly."""

import pytest

from openmcp.config.identities import MeshSettings
from openmcp.errors import Unauthenticated
from openmcp.identity.chain import IdentityChain
from openmcp.identity.mesh import MeshSource
from openmcp.model.agent import ANONYMOUS, Principal, Trust
from openmcp.model.http import Peer, Request
from openmcp.model.server import Authentication, Server
from tests.unit.identity.certs import who

XFCC = "x-forwarded-client-cert"
LINKERD = "l5d-client-id"
SERVER = Server("desk", "/desk", (), Authentication(("mesh",), is_anonymous_allowed=True))
US, BOT = "spiffe://cluster.local/ns/mcp/sa/gateway", "spiffe://cluster.local/ns/support/sa/bot"


def istio(trust: Trust = Trust.CERTIFICATE, *, element: str = "uri", by: str = "") -> MeshSource:
    settings = MeshSettings(XFCC, trust, is_xfcc=True, element=element, by=frozenset({by} - {""}))
    return MeshSource("mesh", settings)


def linkerd() -> MeshSource:
    return MeshSource("mesh", MeshSettings(LINKERD, Trust.HEADER))


def saying(value: str, header: str = XFCC, *, is_trusted: bool = True, is_repeated: bool = False) -> Request:
    repeated = frozenset({header}) if is_repeated else frozenset[str]()
    peer = Peer("10.0.0.1", is_trusted=is_trusted)
    return Request("POST", "/desk", {header: value}, b"", peer, repeated=repeated)


async def asked(source: MeshSource, request: Request) -> str:
    return who(await source.verify(request, SERVER))


async def test_the_nearest_proxy_names_the_agent() -> None:
    verdict = await istio().verify(saying(f"By={US};Hash=ab;URI={BOT}"), SERVER)
    assert isinstance(verdict, Principal)
    assert (verdict.id, verdict.trust, verdict.method) == (f"mesh:mesh:{BOT}", Trust.CERTIFICATE, "mesh")


async def test_a_plain_header_is_the_identity() -> None:
    bot = "bot.support.serviceaccount.identity.linkerd.cluster.local"
    assert await asked(linkerd(), saying(bot, LINKERD)) == f"mesh:mesh:{bot}"


@pytest.mark.parametrize("value", ["", "bötchen", "a\tb", "x" * 2049])
async def test_a_plain_header_has_to_be_printable_and_of_reasonable_length(value: str) -> None:
    assert (await asked(linkerd(), saying(value, LINKERD))).startswith("invalid")


async def test_a_forged_first_element_is_not_the_nearest() -> None:
    forged = f"By={US};URI=spiffe://cluster.local/ns/admin/sa/root"
    assert await asked(istio(by=US), saying(f"{forged},By={US};URI={BOT}")) == f"mesh:mesh:{BOT}"


@pytest.mark.parametrize(
    "value", [f"URI={BOT}", f"By=spiffe://evil.org/gw;URI={BOT}", f"By={US};URI={BOT},By=x;URI={BOT}"]
)
async def test_an_element_that_is_not_by_us_is_refused(value: str) -> None:
    assert "not by one of the proxies" in await asked(istio(by=US), saying(value))


@pytest.mark.parametrize(
    "value", [f"By={US};Hash=ab", f"By={US};URI={BOT};URI=spiffe://cluster.local/ns/x/sa/y", f"By={US};URI="]
)
async def test_an_element_names_exactly_one(value: str) -> None:
    assert (await asked(istio(), saying(value))).startswith("invalid")


async def test_another_part_of_the_element_can_be_the_identity() -> None:
    value = f'By={US};Subject="CN=bot,O=Foo";URI={BOT};DNS=bot.example'
    assert await asked(istio(element="subject"), saying(value)) == "mesh:mesh:CN=bot,O=Foo"
    assert await asked(istio(element="dns"), saying(value)) == "mesh:mesh:bot.example"


async def test_a_header_that_comes_twice_is_refused() -> None:
    assert "twice" in await asked(istio(), saying(f"By={US};URI={BOT}", is_repeated=True))


async def test_a_value_of_a_hundred_kilobytes_is_refused_unread() -> None:
    huge = f'By={US};Chain="{"%2B" * 34_000}";URI={BOT}'
    assert "longer than" in await asked(istio(), saying(huge))


async def test_what_is_remembered_is_bounded() -> None:
    source = istio()
    for number in range(5000):
        await source.verify(saying(f"By={US};URI={BOT}{number}"), SERVER)
    assert await asked(source, saying(f"By={US};URI={BOT}0")) == f"mesh:mesh:{BOT}0"


# ------------------------------------------------------------ hygiene


@pytest.mark.parametrize("is_repeated", [False, True])
async def test_nobody_else_is_believed_and_their_word_is_gone_before_anything_looks(is_repeated: bool) -> None:
    chain = IdentityChain([istio()], {})
    forged = saying(f"By={US};URI={BOT}", is_trusted=False, is_repeated=is_repeated)
    cleansed = chain.cleansed(forged)
    assert (dict(cleansed.headers), cleansed.repeated) == ({}, frozenset())
    assert await chain.identify(cleansed, SERVER) is ANONYMOUS
    # Even if it were not taken out, it would not count: a credential that no source knows.
    with pytest.raises(Unauthenticated):
        await chain.identify(forged, SERVER)


async def test_a_header_of_an_older_configuration_is_not_believed_by_a_newer_one() -> None:
    """A request that waits for a human is admitted again under the newest snapshot, as it arrived."""
    assert await asked(linkerd(), saying("bot", LINKERD, is_trusted=False)) == "absent"


def test_what_a_trusted_peer_says_stays_and_nothing_is_copied() -> None:
    chain, request = IdentityChain([istio()], {}), saying(f"By={US};URI={BOT}")
    assert chain.cleansed(request) is request
    stranger = Request("POST", "/desk", {"accept": "*/*"}, b"", Peer("192.0.2.1"))
    assert chain.cleansed(stranger) is stranger
    assert IdentityChain([], {}).cleansed(request) is request


async def test_an_agent_stays_as_long_as_the_settings_do() -> None:
    verdict = await istio().verify(saying(f"By={US};URI={BOT}"), SERVER)
    assert isinstance(verdict, Principal)
    assert istio().vouches(verdict)
    assert not istio(Trust.HEADER).vouches(verdict)
    assert not istio(by=US).vouches(verdict)
