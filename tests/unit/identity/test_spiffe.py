"""X.509-SVIDs: each against the bundle of its own trust domain, with exactly one ID, strictly written."""

import datetime
import time

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from openmcp.config.identities import Bundle, SpiffeSettings
from openmcp.identity.lasting import Lasting
from openmcp.identity.spiffe import SpiffeSource
from openmcp.model.agent import Principal, Trust
from tests.support.certificates import Authority, Made
from tests.support.spire import TrustDomain
from tests.unit.identity.certs import SERVER, Clock, presenting, who

HOUR = datetime.timedelta(hours=1)
URI = x509.UniformResourceIdentifier


def source(*domains: TrustDomain, clock: Clock | None = None) -> SpiffeSource:
    bundles = {one.name: Bundle((one.authority.der,)) for one in domains}
    return SpiffeSource("workload", SpiffeSettings(bundles, frozenset(bundles)), Lasting(clock or time.time))


async def asked(source: SpiffeSource, made: Made | None, *, chain: tuple[bytes, ...] | None = None) -> str:
    return who(await source.verify(presenting(made, chain=chain), SERVER))


async def test_an_svid_names_its_workload() -> None:
    a = TrustDomain("a.org")
    verdict = await source(a).verify(presenting(a.svid("/ns/support/sa/bot")), SERVER)
    assert isinstance(verdict, Principal)
    assert verdict.id == "spiffe://a.org/ns/support/sa/bot"
    assert (verdict.method, verdict.trust) == ("spiffe", Trust.CERTIFICATE)
    assert verdict.attributes == {"trustDomain": "a.org"}


async def test_other_names_beside_the_id_do_not_matter() -> None:
    a = TrustDomain("a.org")
    made = a.authority.issue(URI("spiffe://a.org/bot"), x509.DNSName("bot.a.org"))
    assert await asked(source(a), made) == "spiffe://a.org/bot"


# ------------------------------------------------------------ one domain does not vouch for another


async def test_the_authority_of_one_domain_does_not_vouch_for_a_workload_of_another() -> None:
    a, b = TrustDomain("a.org"), TrustDomain("b.org")
    forged = a.authority.issue(URI("spiffe://b.org/agent/admin"))
    assert (await asked(source(a, b), forged)).startswith("invalid")
    assert await asked(source(a, b), b.svid("/agent/admin")) == "spiffe://b.org/agent/admin"


async def test_an_intermediate_of_another_domain_does_not_vouch_either() -> None:
    a = TrustDomain("a.org")
    foreign = ((x509.SubjectAlternativeName([URI("spiffe://b.org")]), False),)
    issuing = Authority("issuing", a.authority, extensions=foreign)
    assert "authority of 'b.org'" in await asked(source(a), issuing.issue(URI("spiffe://a.org/bot")))
    own = ((x509.SubjectAlternativeName([URI("spiffe://a.org")]), False),)
    issuing = Authority("issuing", a.authority, extensions=own)
    assert await asked(source(a), issuing.issue(URI("spiffe://a.org/bot"))) == "spiffe://a.org/bot"


async def test_a_workload_of_a_domain_that_is_not_known_is_left_to_other_sources() -> None:
    assert await asked(source(TrustDomain("a.org")), TrustDomain("b.org").svid()) == "absent"


async def test_a_certificate_that_is_no_svid_is_left_to_other_sources() -> None:
    a = TrustDomain("a.org")
    assert await asked(source(a), a.authority.issue(x509.DNSName("bot.a.org"))) == "absent"
    assert await asked(source(a), a.authority.issue(URI("https://a.org/bot"))) == "absent"
    assert await asked(source(a), None) == "absent"


# ------------------------------------------------------------ exactly one ID


@pytest.mark.parametrize("second", ["spiffe://a.org/admin", "https://a.org/", "spiffe://b.org/x"])
async def test_two_uris_are_no_svid(second: str) -> None:
    a = TrustDomain("a.org")
    for names in ((URI("spiffe://a.org/bot"), URI(second)), (URI(second), URI("spiffe://a.org/bot"))):
        assert "2 URIs" in await asked(source(a), a.authority.issue(*names))


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://a.org",
        "spiffe://a.org/",
        "spiffe://A.org/bot",
        "SPIFFE://a.org/bot",
        "spiffe://a.org/x/../bot",
        "spiffe://a.org/b%6ft",
        "spiffe://a.org:1/bot",
        "spiffe://a.org/bot?x",
        "spiffe://a.org//bot",
    ],
)
async def test_an_id_that_is_not_written_exactly_is_refused(uri: str) -> None:
    a = TrustDomain("a.org")
    assert (await asked(source(a), a.authority.issue(URI(uri)))).startswith("invalid")


# ------------------------------------------------------------ what vouches


async def test_the_certificate_of_an_authority_is_no_svid() -> None:
    a = TrustDomain("a.org")
    named = ((x509.SubjectAlternativeName([URI("spiffe://a.org/bot")]), False),)
    issuing = Authority("issuing", a.authority, extensions=named)
    assert (await asked(source(a), Made(issuing.certificate, issuing.private))).startswith("invalid")


async def test_an_svid_for_servers_is_no_clients() -> None:
    a = TrustDomain("a.org")
    servers = ((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),)
    assert (await asked(source(a), a.svid(extensions=servers))).startswith("invalid")


async def test_a_domain_of_another_authority_with_the_same_name_is_another() -> None:
    assert (await asked(source(TrustDomain("a.org")), TrustDomain("a.org").svid())).startswith("invalid")


# ------------------------------------------------------------ time


async def test_an_svid_that_expires_on_a_long_connection_is_refused_from_then_on() -> None:
    a, clock = TrustDomain("a.org"), Clock(time.time())
    known, request = source(a, clock=clock), presenting(a.svid(life=HOUR))
    verdict = await known.verify(request, SERVER)
    assert isinstance(verdict, Principal)
    clock.now += 3601
    assert who(await known.verify(request, SERVER)).startswith("invalid")
    assert not known.vouches(verdict)


async def test_a_workload_is_gone_when_its_bundle_is() -> None:
    old, new = TrustDomain("a.org"), TrustDomain("a.org")
    verdict = await source(old).verify(presenting(old.svid()), SERVER)
    assert isinstance(verdict, Principal)
    assert source(old).vouches(verdict)
    assert not source(new).vouches(verdict)
    assert not source(TrustDomain("b.org")).vouches(verdict)


def test_the_authorities_of_all_domains_are_anchors() -> None:
    a, b = TrustDomain("a.org"), TrustDomain("b.org")
    assert set(source(a, b).anchors) == {a.authority.der, b.authority.der}
