"""Client certificates: verified against the source's own authorities, at every request, and naming exactly one."""

import datetime
import hashlib
import ipaddress
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openmcp.config.identities import CertificateName, MtlsSettings
from openmcp.errors import Unauthenticated
from openmcp.identity.api_key import ApiKeySource, KeyEntry
from openmcp.identity.chain import IdentityChain
from openmcp.identity.lasting import Lasting
from openmcp.identity.mtls import MtlsSource
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Peer, Request
from openmcp.model.server import Authentication, Server
from tests.support.certificates import DAY, Authority, Extensions, Made
from tests.unit.identity.certs import SERVER, Clock, presenting, who

BOT = x509.DNSName("bot.partner.example")
ADDRESS = ipaddress.ip_address("192.0.2.1")
HOUR = datetime.timedelta(hours=1)


def source(
    *authorities: Authority,
    crls: tuple[bytes, ...] | None = None,
    identity: CertificateName = CertificateName.SAN,
    san_types: frozenset[str] = frozenset({"uri", "dns", "email"}),
    clock: Clock | None = None,
) -> MtlsSource:
    lists = None if crls is None else tuple(x509.load_pem_x509_crl(pem) for pem in crls)
    ders = None if lists is None else tuple(crl.public_bytes(Encoding.DER) for crl in lists)
    settings = MtlsSettings(tuple(one.der for one in authorities), ders, identity, san_types)
    return MtlsSource("partners", settings, Lasting(clock or time.time))


async def asked(source: MtlsSource, made: Made | None, *, chain: tuple[bytes, ...] | None = None) -> str:
    return who(await source.verify(presenting(made, chain=chain), SERVER))


# ------------------------------------------------------------ who it is


async def test_a_certificate_of_the_authority_names_a_principal() -> None:
    ca = Authority()
    verdict = await source(ca).verify(presenting(ca.issue(BOT)), SERVER)
    assert isinstance(verdict, Principal)
    assert verdict.id == "x509:partners:dns:bot.partner.example"
    assert (verdict.method, verdict.trust, verdict.source) == ("mtls", Trust.CERTIFICATE, "partners")
    assert verdict.fingerprint
    assert verdict.expires_at is not None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (x509.DNSName("Bot.Partner.Example"), "dns:bot.partner.example"),
        (x509.UniformResourceIdentifier("https://partner.example/bot"), "uri:https://partner.example/bot"),
        (x509.RFC822Name("bot@partner.example"), "email:bot@partner.example"),
    ],
)
async def test_each_kind_of_alternative_name_is_told_by_its_prefix(name: x509.GeneralName, found: str) -> None:
    ca = Authority()
    assert await asked(source(ca), ca.issue(name)) == f"x509:partners:{found}"


@pytest.mark.parametrize(
    "names",
    [
        (BOT, x509.DNSName("admin.partner.example")),
        (BOT, x509.RFC822Name("bot@partner.example")),
        (x509.UniformResourceIdentifier("spiffe://a.org/x"), x509.UniformResourceIdentifier("spiffe://a.org/admin")),
        (x509.IPAddress(ADDRESS),),
        (x509.DNSName("*.partner.example"),),
        (x509.UniformResourceIdentifier("urn:a b"),),
    ],
)
async def test_a_certificate_that_names_not_exactly_one_is_refused(names: tuple[x509.GeneralName, ...]) -> None:
    ca = Authority()
    assert "alternative name" in await asked(source(ca), ca.issue(*names))


async def test_only_the_kinds_that_count_are_counted() -> None:
    ca = Authority()
    both = ca.issue(BOT, x509.UniformResourceIdentifier("urn:bot"))
    assert await asked(source(ca, san_types=frozenset({"uri"})), both) == "x509:partners:uri:urn:bot"


async def test_a_common_name_counts_on_opt_in_only() -> None:
    ca = Authority()
    made = ca.issue(x509.IPAddress(ADDRESS), name="admin")
    assert (await asked(source(ca), made)).startswith("invalid")
    assert await asked(source(ca, identity=CertificateName.COMMON_NAME), made) == "x509:partners:cn:admin"
    assert await asked(source(ca, identity=CertificateName.SUBJECT), made) == "x509:partners:CN=admin"


async def test_two_common_names_are_nobody() -> None:
    ca = Authority()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in ("bot", "admin")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(ca.name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - DAY).not_valid_after(now + DAY)
    made = Made(builder.sign(ca.private, hashes.SHA256()), key)
    assert "2 common names" in await asked(source(ca, identity=CertificateName.COMMON_NAME), made)


# ------------------------------------------------------------ whom it is vouched for by


async def test_without_a_certificate_nothing_is_said() -> None:
    assert await asked(source(Authority()), None) == "absent"


async def test_a_certificate_of_another_authority_is_left_to_other_sources() -> None:
    assert await asked(source(Authority("A")), Authority("B").issue(BOT)) == "absent"


async def test_an_authority_of_the_same_name_and_another_key_is_another() -> None:
    assert await asked(source(Authority("A")), Authority("A").issue(BOT)) == "absent"


async def test_intermediates_count_as_presented_and_lead_to_the_authority() -> None:
    root = Authority("root")
    made = Authority("issuing", root).issue(BOT)
    assert (await asked(source(root), made)).startswith("x509:")
    assert await asked(source(root), made, chain=()) == "absent"


async def test_an_intermediate_alone_can_be_the_authority() -> None:
    issuing = Authority("issuing", Authority("root"))
    assert (await asked(source(issuing), issuing.issue(BOT))).startswith("x509:")


async def test_an_agents_own_certificate_issues_nothing() -> None:
    ca = Authority()
    agent = Authority("agent", ca, is_ca=False)
    assert (await asked(source(ca), agent.issue(BOT))).startswith("invalid")


async def test_the_certificate_of_an_authority_is_no_agents() -> None:
    root = Authority("root")
    issuing = Authority("issuing", root)
    assert (await asked(source(root), Made(issuing.certificate, issuing.private))).startswith("invalid")


def usage(*oids: x509.ObjectIdentifier) -> Extensions:
    return ((x509.ExtendedKeyUsage(oids), False),)


@pytest.mark.parametrize(
    ("extensions", "is_taken"),
    [
        (usage(ExtendedKeyUsageOID.CLIENT_AUTH), True),
        (usage(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH), True),
        (usage(ExtendedKeyUsageOID.SERVER_AUTH), False),
        (((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),), False),
        (((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False),), True),
    ],
)
async def test_a_certificate_has_to_be_for_clients(extensions: Extensions, is_taken: bool) -> None:
    ca = Authority()
    assert (await asked(source(ca), ca.issue(BOT, extensions=extensions))).startswith("x509:") is is_taken


async def test_an_authority_for_servers_vouches_for_no_client() -> None:
    ca = Authority(extensions=usage(ExtendedKeyUsageOID.SERVER_AUTH))
    assert (await asked(source(ca), ca.issue(BOT))).startswith("invalid")


async def test_a_certificate_that_cannot_be_read_is_invalid() -> None:
    request = Request("POST", "/desk", {}, b"", Peer("192.0.2.1", certificate=b"\x30\x03junk"))
    assert who(await source(Authority()).verify(request, SERVER)).startswith("invalid")


async def test_more_intermediates_than_any_chain_has_are_not_looked_at() -> None:
    ca = Authority()
    made = ca.issue(BOT)
    assert "intermediates" in await asked(source(ca), made, chain=(ca.der,) * 11)


# ------------------------------------------------------------ time


async def test_a_certificate_that_expires_while_its_connection_stands_is_refused_from_then_on() -> None:
    ca, clock = Authority(), Clock(time.time())
    known, request = source(ca, clock=clock), presenting(ca.issue(BOT, life=HOUR))
    assert who(await known.verify(request, SERVER)).startswith("x509:")
    clock.now += 3599
    assert who(await known.verify(request, SERVER)).startswith("x509:")
    clock.now += 2
    assert who(await known.verify(request, SERVER)).startswith("invalid")


async def test_an_authority_that_expires_takes_its_certificates_with_it() -> None:
    ca, clock = Authority(life=HOUR), Clock(time.time())
    known, request = source(ca, clock=clock), presenting(ca.issue(BOT, life=DAY))
    verdict = await known.verify(request, SERVER)
    assert isinstance(verdict, Principal)
    clock.now += 3601
    assert who(await known.verify(request, SERVER)).startswith("invalid")
    assert not known.vouches(verdict)


async def test_a_certificate_that_does_not_hold_yet_is_refused() -> None:
    ca, clock = Authority(), Clock(time.time() - 90 * 86400)
    assert (await asked(source(ca, clock=clock), ca.issue(BOT))).startswith("invalid")


async def test_who_is_known_is_the_same_object_without_another_look() -> None:
    ca = Authority()
    known, request = source(ca), presenting(ca.issue(BOT))
    assert await known.verify(request, SERVER) is await known.verify(request, SERVER)


# ------------------------------------------------------------ revocation


async def test_a_revoked_certificate_is_refused_and_its_neighbour_is_not() -> None:
    ca = Authority()
    lost, kept = ca.issue(BOT), ca.issue(BOT)
    listed = source(ca, crls=(ca.crl(lost),))
    assert "revoked" in await asked(listed, lost)
    assert (await asked(listed, kept)).startswith("x509:")


async def test_without_a_current_list_nobody_is_believed() -> None:
    ca, clock = Authority(), Clock(time.time())
    listed, made = source(ca, crls=(ca.crl(life=HOUR),), clock=clock), ca.issue(BOT)
    assert (await asked(listed, made)).startswith("x509:")
    clock.now += 3601
    assert "no current revocation list" in await asked(listed, made)
    assert "no current revocation list" in await asked(source(ca, crls=()), made)


async def test_a_list_that_somebody_else_has_signed_says_nothing() -> None:
    ca = Authority("A")
    forged = ca.crl(signer=Authority("A"))
    assert "no current revocation list" in await asked(source(ca, crls=(forged,)), ca.issue(BOT))


async def test_the_newest_of_two_lists_counts() -> None:
    ca = Authority()
    lost = ca.issue(BOT)
    older, newer = ca.crl(lost, life=HOUR), ca.crl(life=DAY)
    assert (await asked(source(ca, crls=(older, newer)), lost)).startswith("x509:")


async def test_a_revoked_intermediate_takes_its_certificates_with_it() -> None:
    root = Authority("root")
    issuing = Authority("issuing", root)
    made, lost = issuing.issue(BOT), Made(issuing.certificate, issuing.private)
    assert "revoked" in await asked(source(root, crls=(root.crl(lost), issuing.crl())), made)
    assert (await asked(source(root, crls=(root.crl(), issuing.crl())), made)).startswith("x509:")


# ------------------------------------------------------------ another configuration


async def test_an_agent_stays_who_it_is_when_authorities_change_as_long_as_one_vouches() -> None:
    old, new = Authority("old"), Authority("new")
    verdict = await source(old).verify(presenting(old.issue(BOT)), SERVER)
    assert isinstance(verdict, Principal)
    assert source(old, new).vouches(verdict)
    assert not source(new).vouches(verdict)


async def test_an_agent_is_gone_when_its_certificate_is_revoked() -> None:
    ca = Authority()
    made = ca.issue(BOT)
    verdict = await source(ca, crls=(ca.crl(),)).verify(presenting(made), SERVER)
    assert isinstance(verdict, Principal)
    assert not source(ca, crls=(ca.crl(made),)).vouches(verdict)


# ------------------------------------------------------------ among other sources


async def test_sources_whose_authorities_have_the_same_name_do_not_stand_in_each_others_way() -> None:
    one, two = Authority("CA"), Authority("CA")
    chain = IdentityChain([_named("one", one), _named("two", two)], {})
    for name, authority in (("one", one), ("two", two)):
        found = await chain.identify(presenting(authority.issue(BOT)), _server("one", "two"))
        assert found.principal.source == name


async def test_a_certificate_that_does_not_hold_is_not_saved_by_a_key_beside_it() -> None:
    ca = Authority("CA")
    chain = IdentityChain([_named("one", ca), _keys()], {})
    for made in (ca.issue(BOT, x509.DNSName("two")), Authority("CA").issue(BOT)):
        request = presenting(made, headers={"authorization": f"Bearer {KEY}"})
        for server in (_server("one", "keys"), _server("one", "keys", is_strict=True)):
            with pytest.raises(Unauthenticated):
                await chain.identify(request, server)
        # Where no source of the server reads certificates, one that is shown anyway does not matter.
        assert (await chain.identify(request, _server("keys"))).principal.id == "key:keys:bot"
    only_key = presenting(None, headers={"authorization": f"Bearer {KEY}"})
    assert (await chain.identify(only_key, _server("one", "keys"))).principal.id == "key:keys:bot"


async def test_a_certificate_that_no_source_knows_is_never_anonymous() -> None:
    chain = IdentityChain([_named("one", Authority("A"))], {})
    shown = presenting(Authority("B").issue(BOT))
    with pytest.raises(Unauthenticated):
        await chain.identify(shown, Server("desk", "/desk", (), Authentication(("one",), is_anonymous_allowed=True)))


KEY = "omcp_bot_secret"


def _named(name: str, authority: Authority) -> MtlsSource:
    return MtlsSource(name, MtlsSettings((authority.der,)), Lasting())


def _keys() -> ApiKeySource:
    return ApiKeySource("keys", "authorization", [KeyEntry("bot", hashlib.sha256(KEY.encode()).hexdigest())])


def _server(*sources: str, is_strict: bool = False) -> Server:
    return Server("desk", "/desk", (), Authentication(sources, is_strict=is_strict))
