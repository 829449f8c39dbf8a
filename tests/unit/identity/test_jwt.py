"""Tokens: what is believed, and every way in which somebody might want more to be."""

import asyncio
import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc import jwk

from openmcp.config.identities import JwtSourceSettings, KubernetesSourceSettings, SourceSpec
from openmcp.identity.failures import BURST
from openmcp.identity.fetch import FetchFailed
from openmcp.identity.jwt import JwtSource, Memory, TokenSource
from openmcp.identity.keys import IssuerKeys, PublicKey
from openmcp.identity.kubernetes import KubernetesSource
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Absent, Invalid, Verdict
from openmcp.identity.tokens import BadToken, read
from openmcp.identity.tokens import verify as check_signature
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Peer
from openmcp.model.server import Authentication, Server
from tests.support.credentials import (
    ISSUER,
    NOW,
    PUBLIC_URL,
    RESOURCE,
    Clock,
    claims,
    forged,
    key_set,
    public_jwk,
    request,
    rsa_pem,
    signing_key,
    token,
)

SERVER = Server("desk", "/desk", (), Authentication(("corp",)))
OTHER = Server("notes", "/notes", (), Authentication(("corp",)))
STATIC = json.dumps(key_set()).encode()


def source(clock: Clock | None = None, lasting: Lasting | None = None, **settings: Any) -> JwtSource:
    given: dict[str, Any] = {"issuer": ISSUER, "keys": STATIC, **settings}
    spec = SourceSpec("corp", 1, "jwt", JwtSourceSettings(**given))
    return JwtSource.from_spec(spec, (), lasting or Lasting(clock or Clock()))


async def verdict(source: TokenSource, text: str, server: Server = SERVER, **changes: Any) -> Verdict:
    return await source.verify(request({"authorization": f"Bearer {text}"}, **changes), server)


async def principal(source: TokenSource, text: str, **changes: Any) -> Principal:
    found = await verdict(source, text, **changes)
    assert isinstance(found, Principal), found
    return found


async def why(source: TokenSource, text: str, server: Server = SERVER, **changes: Any) -> str:
    found = await verdict(source, text, server, **changes)
    assert isinstance(found, Invalid), found
    return found.why


# ------------------------------------------------------------ what is believed


@pytest.mark.parametrize(("kind", "algorithm"), [("RSA", "RS256"), ("EC", "ES256"), ("OKP", "Ed25519")])
async def test_a_token_that_the_issuer_has_signed_names_its_principal(kind: str, algorithm: str) -> None:
    keys = json.dumps(key_set(public_jwk(kind=kind))).encode()
    found = await principal(source(keys=keys, algorithms=(algorithm,)), token(kind=kind))
    assert (found.id, found.method, found.trust) == ("jwt:corp:bot", "jwt", Trust.TOKEN)
    assert found.expires_at == NOW + 300 + 30
    assert found.fingerprint == hashlib.sha256(token(kind=kind).encode()).hexdigest()[:12] or kind != "RSA"


async def test_old_edwards_tokens_are_taken_where_they_are_allowed() -> None:
    keys = json.dumps(key_set(public_jwk(kind="OKP"))).encode()
    key = signing_key(kind="OKP").private_key
    head = {"alg": "EdDSA", "kid": "one", "typ": "JWT"}
    unsigned = forged(claims(), head).rstrip(".")
    signature = base64.urlsafe_b64encode(key.sign(unsigned.encode())).rstrip(b"=").decode()
    assert isinstance(await verdict(source(keys=keys, algorithms=("EdDSA",)), f"{unsigned}.{signature}"), Principal)


async def test_keys_may_stand_in_a_file_of_pem() -> None:
    pem = signing_key().as_pem(private=False)
    assert isinstance(await verdict(source(keys=pem), token()), Principal)


async def test_claims_become_groups_attributes_and_the_user_behind_the_agent() -> None:
    said = claims(act={"sub": "robot"}, sub="ann", groups=["dev", "ops"], tenant="t1", secret={"deep": 1})
    mapped = source(
        agent_claim="act.sub", on_behalf_of_claim="sub", groups_claim="groups", attribute_claims=("tenant", "secret")
    )
    found = await principal(mapped, token(said))
    assert (found.id, found.on_behalf_of) == ("jwt:corp:robot", "ann")
    assert found.groups == {"dev", "ops"}
    assert found.attributes == {"tenant": "t1"}, "nothing that was not named, nothing that is not simple"
    assert found.binding == "jwt:corp:robot\nann"


async def test_a_token_that_is_not_delegated_is_no_delegation() -> None:
    assert "act.sub" in await why(source(agent_claim="act.sub", on_behalf_of_claim="sub"), token())


@pytest.mark.parametrize("audience", [RESOURCE, f"{RESOURCE}/", [RESOURCE, "else"]])
async def test_the_route_is_an_audience_with_or_without_a_slash(audience: object) -> None:
    assert isinstance(await verdict(source(), token(claims(aud=audience))), Principal)


async def test_an_audience_of_the_configuration_is_good_on_every_route() -> None:
    everywhere = source(audiences=frozenset({"api://mcp"}), takes_route=False)
    text = token(claims(aud="api://mcp"))
    assert isinstance(await verdict(everywhere, text), Principal)
    assert isinstance(await verdict(everywhere, text, OTHER), Principal)
    assert "audience" in await why(everywhere, token())


@pytest.mark.parametrize("value", ["Bearer omcp_bot_secret", "Bearer opaque", "Basic a.b.c", "Bearer a.b.c.d.e", ""])
async def test_what_is_no_token_of_this_kind_is_left_to_others(value: str) -> None:
    assert await source().verify(request({"authorization": value}), SERVER) is Absent.ABSENT
    assert await source().verify(request(), SERVER) is Absent.ABSENT


async def test_a_token_of_another_issuer_is_another_sources_to_judge() -> None:
    assert await verdict(source(), token(claims(iss="https://other.example.com"))) is Absent.ABSENT


# ------------------------------------------------------------ attacks


async def test_a_token_without_signature_is_refused_whatever_is_allowed() -> None:
    for name in ("none", "None", "NONE", ""):
        unsigned = forged(claims(), {"alg": name, "typ": "JWT"})
        assert "not allowed" in await why(source(), unsigned)
        assert isinstance(await verdict(source(algorithms=("none", "RS256")), unsigned), Invalid)


async def test_the_public_key_is_no_shared_secret() -> None:
    """HS256 with the public key as secret: whoever reads the key set could sign."""
    head = {"alg": "HS256", "kid": "one", "typ": "JWT"}
    unsigned = forged(claims(), head).rstrip(".")
    for secret in (signing_key().as_pem(private=False), STATIC):
        signature = hmac.digest(secret, unsigned.encode(), "sha256")
        confused = forged(claims(), head, signature)
        assert "not allowed" in await why(source(), confused)
        assert isinstance(await verdict(source(algorithms=("HS256", "RS256")), confused), Invalid)


@pytest.mark.parametrize("name", ["none", "HS256", "RS1"])
def test_no_algorithm_without_public_keys_verifies_whatever_a_caller_allows(name: str) -> None:
    """A second fence behind the list of the configuration."""
    shared = PublicKey(None, None, jwk.OctKey.import_key(b"k" * 32))  # type: ignore[arg-type]
    unsigned = forged(claims(), {"alg": name}).rstrip(".")
    signature = hmac.digest(b"k" * 32, unsigned.encode(), "sha256") if name == "HS256" else b""
    with pytest.raises(BadToken):
        check_signature(read(forged(claims(), {"alg": name}, signature)), [shared])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"aud": None}, "audience"),
        ({"aud": "https://mcp.example.com/notes"}, "audience"),
        ({"aud": "https://mcp.example.com/desk/deeper"}, "audience"),
        ({"aud": PUBLIC_URL}, "audience"),
        ({"aud": {"a": 1}}, "audience"),
        ({"exp": None}, "no end"),
        ({"exp": NOW - 31}, "expired"),
        ({"exp": "tomorrow"}, "no time"),
        ({"exp": True}, "no time"),
        ({"exp": -1}, "no time"),
        ({"exp": 10**12}, "maxLifetime"),
        ({"nbf": NOW + 31}, "nbf"),
        ({"iat": NOW + 31}, "iat"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": ["bot"]}, "sub"),
        ({"sub": "bot\nroot"}, "sub"),
        ({"sub": "x" * 600}, "sub"),
    ],
)
async def test_a_token_that_does_not_say_what_it_must_is_refused(change: Mapping[str, Any], reason: str) -> None:
    assert reason in await why(source(), token(claims(**change)))


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "oauth-id-jag+jwt", "secevent+jwt", 7])
async def test_a_token_made_for_another_purpose_is_no_credential(kind: object) -> None:
    assert "type" in await why(source(), token(header={"typ": kind}) if isinstance(kind, str) else _odd_type())


def _odd_type() -> str:
    return forged(claims(), {"alg": "RS256", "kid": "one", "typ": 7}, b"x")


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "application/at+jwt"])
async def test_the_types_of_access_tokens_are_taken(kind: str | None) -> None:
    assert isinstance(await verdict(source(), token(header={"typ": kind})), Principal)


async def test_a_token_of_one_route_is_nothing_on_another_even_when_it_is_known() -> None:
    tokens = source()
    text = token()
    assert isinstance(await verdict(tokens, text), Principal)
    assert "audience" in await why(tokens, text, OTHER)
    assert "audience" in await why(tokens, text, public_url="https://elsewhere.example.com")
    assert "audience" in await why(tokens, text, public_url="")


async def test_a_token_that_is_bound_to_a_certificate_counts_with_that_one_only() -> None:
    """RFC 8705: whoever has stolen the token has not the key."""
    certificate = b"the DER of a certificate"
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()
    tokens, text = source(), token(claims(cnf={"x5t#S256": thumbprint}))
    shown, other = (Peer("192.0.2.1", certificate=der) for der in (certificate, b"another"))
    for _ in range(2):  # checked, and known
        assert isinstance(await verdict(tokens, text, peer=shown), Principal)
        assert "bound to" in await why(tokens, text, peer=other)
        assert "bound to" in await why(tokens, text)
    assert "bound to" in await why(source(), text, peer=other)


@pytest.mark.parametrize("bound", [{"jkt": "x"}, {"x5t#S256": 7}, {"x5t#S256": ""}, "x", {}])
async def test_a_token_that_is_bound_in_an_unknown_way_is_no_bearer_token(bound: object) -> None:
    assert "bound to" in await why(source(), token(claims(cnf=bound)))


async def test_a_changed_token_is_refused() -> None:
    head, _, signature = token().split(".")
    other = token(claims(sub="root")).split(".")[1]
    assert "signature" in await why(source(), f"{head}.{other}.{signature}")
    assert "signature" in await why(source(), f"{token()[:-8]}AAAAAAAA")


async def test_a_key_that_the_token_brings_itself_is_not_used() -> None:
    for extra in ({"jwk": public_jwk("eve")}, {"jku": "https://evil.example.com/keys"}, {"x5u": "https://evil/x"}):
        mine = token(key="eve", header={"kid": "one", **extra})
        assert "signature" in await why(source(), mine)


async def test_what_must_be_understood_and_is_not_is_refused() -> None:
    assert isinstance(await verdict(source(), token(header={"crit": ["b64"], "b64": False})), Invalid)


async def test_the_same_key_id_at_two_issuers_is_two_keys() -> None:
    theirs = source(issuer="https://other.example.com", keys=json.dumps(key_set(public_jwk("two", kid="one"))).encode())
    mine = token(claims(iss="https://other.example.com"), key="one")
    assert "signature" in await why(theirs, mine), "signed by the key `one` of the first issuer"


@pytest.mark.parametrize(
    "text", ["..", "a.b.c", "e30.e30.e30", "eyJhbGciOiJSUzI1NiJ9.W10.x", "é.é.é", f"{'a' * 9000}.{'b' * 9000}.c"]
)
async def test_what_cannot_be_read_is_refused(text: str) -> None:
    assert not isinstance(await verdict(source(), text), Principal)


async def test_a_weak_private_shared_or_encrypting_key_is_not_used() -> None:
    weak = jwk_of("weak", bits=1024)
    sets = [
        key_set({**weak, "kid": "one"}),
        key_set({"kty": "oct", "k": "c2VjcmV0", "kid": "one"}),
        key_set(signing_key().as_dict(private=True)),
        key_set(public_jwk(use="enc")),
        {"keys": "none"},
        {},
    ]
    for one in sets:
        with pytest.raises(ValueError, match="key"):
            source(keys=json.dumps(one).encode())


def jwk_of(name: str, bits: int) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwk.import_key(rsa_pem(name, bits), "RSA").as_dict(private=False)


async def test_a_key_for_one_algorithm_is_not_used_for_another() -> None:
    keys = json.dumps(key_set(public_jwk(alg="PS256"))).encode()
    assert "no such key" in await why(source(keys=keys), token())


# ------------------------------------------------------------ what is remembered


async def test_a_known_token_is_the_same_principal_until_it_ends() -> None:
    clock = Clock()
    tokens, text = source(clock), token(claims(exp=NOW + 40))
    first = await principal(tokens, text)
    clock.now += 60
    assert await principal(tokens, text) is first
    clock.now += 10
    assert "expired" in await why(tokens, text)


async def test_a_known_token_is_refused_a_minute_after_its_key_is_gone() -> None:
    clock = Clock()
    published = Published(key_set())
    tokens, text = fetching(published, clock), token(claims(exp=NOW + 1000))
    await principal(tokens, text)
    published.document = key_set(public_jwk("two"))
    clock.now += 11
    await principal(tokens, token(claims(clock.now), key="two"))
    assert isinstance(await verdict(tokens, text), Principal), "known for a minute"
    clock.now += 60
    assert "no such key" in await why(tokens, text)


async def test_what_was_checked_stays_known_over_a_reload_and_not_under_other_settings() -> None:
    lasting = Lasting(Clock())
    before = source(lasting=lasting)
    found = await principal(before, token())
    lasting.sweep()
    again = source(lasting=lasting)
    assert await principal(again, token()) is found
    assert again.vouches(found)
    assert not source(lasting=lasting, algorithms=("ES256",)).vouches(found)


async def test_a_peer_that_failed_too_often_gets_no_signature_checked_but_the_known_come_in() -> None:
    lasting = Lasting(Clock())
    tokens = source(lasting=lasting)
    known = token()
    await principal(tokens, known)
    for _ in range(BURST):
        lasting.failures.note("192.0.2.1")
    assert "too many failures" in await why(tokens, token(claims(sub="new")))
    assert isinstance(await verdict(tokens, known), Principal)
    assert isinstance(await verdict(tokens, token(claims(sub="new")), peer=Peer("192.0.2.2")), Principal)


async def test_memory_is_bounded_whatever_comes() -> None:
    memory = Memory()
    for number in range(20_000):
        memory.refuse(number.to_bytes(4, "big"), "x", 0.0)
    assert len(memory.failed) <= 4096


# ------------------------------------------------------------ keys that are fetched


class Published:
    """An issuer's documents, and how often they were asked for."""

    def __init__(self, document: Mapping[str, Any] | Exception) -> None:
        self.document = document
        self.fetches = 0

    async def __call__(self, url: str) -> Mapping[str, object]:
        self.fetches += 1
        await asyncio.sleep(0)
        if isinstance(self.document, Exception):
            raise self.document
        return self.document


def fetching(published: Published, clock: Clock) -> JwtSource:
    settings = JwtSourceSettings(issuer=ISSUER, jwks_uri=f"{ISSUER}/keys", max_lifetime_s=10**9)
    lasting = Lasting(clock)

    async def locate(_: object) -> str:
        return settings.jwks_uri

    keys = IssuerKeys(locate, published, clock=clock, beside=lasting.beside, stale_s=3600.0)
    place = (settings.issuer, settings.jwks_uri, settings.ca_file, settings.token_file, settings.stale_s)
    lasting.kept(IssuerKeys, place, lambda: keys)
    return JwtSource.from_spec(SourceSpec("corp", 1, "jwt", settings), (), lasting)


def fresh(clock: Clock, key: str = "one", *, header_kid: str = "") -> str:
    return token(claims(clock.now), key=key, header={"kid": header_kid} if header_kid else {})


async def test_a_rotated_key_is_found_at_once() -> None:
    clock = Clock()
    published = Published(key_set())
    tokens = fetching(published, clock)
    assert isinstance(await verdict(tokens, fresh(clock)), Principal)
    published.document = key_set(public_jwk("two"))
    clock.now += 11
    assert isinstance(await verdict(tokens, fresh(clock, "two")), Principal)
    assert published.fetches == 2


async def test_a_flood_of_unknown_key_ids_asks_the_issuer_once_in_ten_seconds() -> None:
    clock = Clock()
    published = Published(key_set())
    tokens = fetching(published, clock)
    await verdict(tokens, fresh(clock))
    clock.now += 11
    flood = [token(claims(clock.now, jti=str(n)), header={"kid": f"k{n}"}) for n in range(20)]
    found = await asyncio.gather(*[verdict(tokens, one, peer=Peer(f"192.0.2.{n}")) for n, one in enumerate(flood)])
    assert all(isinstance(one, Invalid) for one in found)
    assert published.fetches == 2
    for seconds, fetches in ((0, 2), (9, 2), (2, 3)):
        clock.now += seconds
        await verdict(tokens, fresh(clock, header_kid=f"k{seconds}"), peer=Peer("192.0.2.99"))
        assert published.fetches == fetches


async def test_old_keys_are_renewed_beside_the_exchanges() -> None:
    clock = Clock()
    published = Published(key_set())
    tokens = fetching(published, clock)
    await verdict(tokens, fresh(clock))
    clock.now += 301
    assert isinstance(await verdict(tokens, fresh(clock)), Principal)
    for _ in range(5):
        await asyncio.sleep(0)
    assert published.fetches == 2


async def test_keys_outlive_their_issuer_for_a_while_and_no_longer() -> None:
    clock = Clock()
    published = Published(key_set())
    tokens = fetching(published, clock)
    await verdict(tokens, fresh(clock))
    published.document = FetchFailed("down")
    clock.now += 3500
    assert isinstance(await verdict(tokens, fresh(clock)), Principal)
    clock.now += 200
    assert "down" in await why(tokens, fresh(clock))
    published.document = key_set()
    clock.now += 11
    assert isinstance(await verdict(tokens, fresh(clock)), Principal)


async def test_without_any_keys_nobody_comes_in() -> None:
    clock = Clock()
    tokens = fetching(Published(FetchFailed("down")), clock)
    assert "not at hand" in await why(tokens, fresh(clock))


# ------------------------------------------------------------ Kubernetes


def cluster(**settings: Any) -> KubernetesSource:
    given: dict[str, Any] = {"issuer": ISSUER, "keys": STATIC, **settings}
    return KubernetesSource.from_spec(
        SourceSpec("prod", 1, "kubernetes", KubernetesSourceSettings(**given)), (), Lasting(Clock())
    )


async def test_a_service_account_is_named_by_namespace_and_name() -> None:
    found = await principal(cluster(), token(claims(sub="system:serviceaccount:support:bot"), header={"typ": None}))
    assert (found.id, found.method) == ("k8s:prod:support:bot", "kubernetes")
    assert found.attributes == {"namespace": "support", "serviceAccount": "bot"}


@pytest.mark.parametrize(
    "subject",
    ["bot", "system:node:x", "system:serviceaccount:a", "system:serviceaccount:a:b:c", "system:serviceaccount:A:b"],
)
async def test_no_other_subject_of_the_cluster_is_an_agent(subject: str) -> None:
    assert "service account" in await why(cluster(), token(claims(sub=subject)))
