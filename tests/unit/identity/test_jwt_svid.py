"""JWT-SVIDs: a bearer token of a workload, for one audience, with the keys of its own trust domain."""

import base64
import hmac
import time
from typing import Any

import pytest
from cryptography import x509
from joserfc.jwk import ECKey

from openmcp.config.identities import Bundle, SpiffeSettings
from openmcp.errors import Unauthenticated
from openmcp.identity.chain import IdentityChain
from openmcp.identity.lasting import Lasting
from openmcp.identity.spiffe import SpiffeSource
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Request
from openmcp.model.server import Authentication, Server
from tests.support.certificates import Authority, Made
from tests.support.spire import TrustDomain
from tests.unit.identity.certs import SERVER, STRICT, Clock, presenting, who

NONE, HS256 = b'{"alg":"none","kid":"k1"}', b'{"alg":"HS256","kid":"k1"}'
ROUTE = "https://gw.example/desk"


def source(*domains: TrustDomain, clock: Clock | None = None, audiences: tuple[str, ...] = ("route",)) -> SpiffeSource:
    bundles = {one.name: Bundle((one.authority.der,), one.jwks.decode()) for one in domains}
    settings = SpiffeSettings(bundles, frozenset(bundles), audiences=audiences)
    return SpiffeSource("workload", settings, Lasting(clock or time.time))


def token(domain: TrustDomain, path: str = "/bot", **claims: Any) -> str:
    return domain.token(path, **{"aud": [ROUTE], "exp": int(time.time()) + 300, **claims})


def bearing(text: str, made: Made | None = None) -> Request:
    return presenting(made, headers={"authorization": f"Bearer {text}"})


async def asked(source: SpiffeSource, text: str, made: Made | None = None, *, server: Server = SERVER) -> str:
    return who(await source.verify(bearing(text, made), server))


async def test_a_token_names_its_workload_and_is_worth_a_token() -> None:
    a = TrustDomain("a.org")
    verdict = await source(a).verify(bearing(token(a)), SERVER)
    assert isinstance(verdict, Principal)
    assert (verdict.id, verdict.method, verdict.trust) == ("spiffe://a.org/bot", "spiffe", Trust.TOKEN)
    assert verdict.expires_at is not None


async def test_who_comes_again_is_the_same_object() -> None:
    a = TrustDomain("a.org")
    known, request = source(a), bearing(token(a))
    assert await known.verify(request, SERVER) is await known.verify(request, SERVER)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": -60},
        {"exp": "soon"},
        {"exp": 10 * 86400},
        {"nbf": 600},
        {"aud": None},
        {"aud": []},
        {"aud": ["https://gw.example/other"]},
        {"aud": ["https://gw.example"]},
        {"sub": "spiffe://a.org"},
        {"sub": "spiffe://A.org/bot"},
        {"sub": "spiffe://a.org/x/../bot"},
        {"header": {"kid": None}},
        {"header": {"kid": "k2"}},
        {"header": {"typ": "at+jwt"}},
        {"header": {"alg": "none"}},
        {"header": {"crit": ["b64"], "b64": True}},
        {"key": ECKey.generate_key("P-256", {"kid": "k1"})},
    ],
    ids=lambda claims: "-".join(f"{name}={str(value)[:22]}" for name, value in claims.items() if name != "key"),
)
async def test_a_token_that_does_not_hold_is_refused(claims: dict[str, Any]) -> None:
    """Whole numbers are seconds from now."""
    a, now = TrustDomain("a.org"), int(time.time())
    claims = {name: now + value if isinstance(value, int) else value for name, value in claims.items()}
    made = token(a, **claims) if claims.get("header") != {"alg": "none"} else _unsigned(token(a))
    assert (await asked(source(a), made)).startswith("invalid: JWT-SVID")


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _unsigned(text: str) -> str:
    return f"{_segment(NONE)}.{text.split('.')[1]}."


async def test_a_public_key_is_no_shared_secret() -> None:
    a = TrustDomain("a.org")
    signed = f"{_segment(HS256)}.{token(a).split('.')[1]}"
    forged = hmac.digest(a.key.as_pem(private=False), signed.encode(), "sha256")
    assert (await asked(source(a), f"{signed}.{_segment(forged)}")).startswith("invalid: JWT-SVID: algorithm")


async def test_the_key_of_one_domain_does_not_sign_for_another() -> None:
    a, b = TrustDomain("a.org"), TrustDomain("b.org")
    forged = token(TrustDomain("b.org", key=a.key))
    assert (await asked(source(a, b), forged)).startswith("invalid")
    assert await asked(source(a, b), token(b)) == "spiffe://b.org/bot"


@pytest.mark.parametrize("text", ["omcp_bot_secret", "a.b.c", "", "a.b"])
async def test_what_is_no_token_of_a_known_domain_is_left_to_other_sources(text: str) -> None:
    a = TrustDomain("a.org")
    assert await asked(source(a), text) == "absent"
    assert await asked(source(a), token(TrustDomain("b.org"))) == "absent"
    assert await asked(source(a), token(a, sub="support-bot")) == "absent"


async def test_audiences_can_be_named() -> None:
    a = TrustDomain("a.org")
    assert await asked(source(a, audiences=("mcp",)), token(a, aud="mcp")) == "spiffe://a.org/bot"
    assert (await asked(source(a, audiences=("mcp",)), token(a))).startswith("invalid")


async def test_a_known_token_is_still_for_its_route_alone() -> None:
    a = TrustDomain("a.org")
    known, request = source(a), bearing(token(a))
    assert who(await known.verify(request, SERVER)) == "spiffe://a.org/bot"
    other = Server("notes", "/notes", (), SERVER.authentication)
    assert "another audience" in who(await known.verify(request, other))


async def test_a_token_that_has_ended_is_refused_from_then_on() -> None:
    a, clock = TrustDomain("a.org"), Clock(time.time())
    known, request = source(a, clock=clock), bearing(token(a, exp=int(clock.now) + 30))
    assert who(await known.verify(request, SERVER)) == "spiffe://a.org/bot"
    clock.now += 41
    assert who(await known.verify(request, SERVER)).startswith("invalid")


async def test_a_workload_is_gone_when_the_keys_of_its_domain_are() -> None:
    a = TrustDomain("a.org")
    verdict = await source(a).verify(bearing(token(a)), SERVER)
    assert isinstance(verdict, Principal)
    assert source(a).vouches(verdict)
    assert not source(TrustDomain("b.org")).vouches(verdict)


# ------------------------------------------------------------ beside a certificate


async def test_a_certificate_counts_for_more_than_a_token() -> None:
    a = TrustDomain("a.org")
    verdict = await source(a).verify(bearing(token(a, "/other"), a.svid()), SERVER)
    assert isinstance(verdict, Principal)
    assert (verdict.id, verdict.trust) == ("spiffe://a.org/bot", Trust.CERTIFICATE)


async def test_a_token_counts_beside_a_certificate_that_is_no_svid() -> None:
    a = TrustDomain("a.org")
    assert await asked(source(a), token(a), a.authority.issue(x509.DNSName("x"))) == "spiffe://a.org/bot"


async def test_a_strict_server_wants_both_to_be_of_one_workload() -> None:
    a = TrustDomain("a.org")
    assert await asked(source(a), token(a), a.svid(), server=STRICT) == "spiffe://a.org/bot"
    assert "different workloads" in await asked(source(a), token(a, "/other"), a.svid(), server=STRICT)
    assert (await asked(source(a), token(a, exp=1), a.svid(), server=STRICT)).startswith("invalid")


async def test_nothing_is_left_over_where_a_strict_server_sees_both() -> None:
    a = TrustDomain("a.org")
    chain = IdentityChain([source(a)], {})
    server = Server("desk", "/desk", (), Authentication(("workload",), is_strict=True))
    found = await chain.identify(bearing(token(a), a.svid()), server)
    assert (found.principal.id, found.principal.trust) == ("spiffe://a.org/bot", Trust.CERTIFICATE)
    for foreign in (token(TrustDomain("b.org")), "omcp_bot_secret"):
        with pytest.raises(Unauthenticated):
            await chain.identify(bearing(foreign, a.svid()), server)
    with pytest.raises(Unauthenticated):
        await chain.identify(bearing(token(a), Authority("B").issue()), server)


async def test_a_principal_of_another_kind_under_the_same_name_is_not_vouched_for() -> None:
    other = Principal("jwt:workload:bot", "workload", "jwt", Trust.TOKEN)
    assert not source(TrustDomain("a.org")).vouches(other)
