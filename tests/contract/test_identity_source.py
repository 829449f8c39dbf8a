"""What every identity source does, whatever it reads: one suite, run on each.

A source joins with a `Case`: how it is made, a request that it verifies, and requests that look
alike and are nobody's.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import pytest
from cryptography import x509

from openmcp import plugins
from openmcp.config.identities import (
    AgentSpec,
    ApiKeyIdentity,
    ApiKeySourceSettings,
    BasicIdentity,
    BasicSourceSettings,
    Bundle,
    IdentitySpec,
    JwtSourceSettings,
    KubernetesSourceSettings,
    MeshSettings,
    MtlsSettings,
    SignatureIdentity,
    SignatureSourceSettings,
    SourceSettings,
    SourceSpec,
    SpiffeSettings,
)
from openmcp.errors import Unauthenticated
from openmcp.identity.agents import identity_chain
from openmcp.identity.chain import IdentityChain
from openmcp.identity.lasting import Lasting
from openmcp.model.agent import Trust
from openmcp.model.http import Peer, Request
from openmcp.model.server import Authentication, Server
from tests.support.certificates import DAY, Authority, Made
from tests.support.credentials import ISSUER, NOW, Clock, argon2id, basic, claims, key_set, request, signed, token
from tests.support.spire import TrustDomain
from tests.unit.identity.certs import der

NAME = "source"
SERVER = Server("desk", "/desk", (), Authentication((NAME,)))
OPEN = Server("desk", "/desk", (), Authentication((NAME,), is_anonymous_allowed=True))
SECRET = b"a shared secret of at least 32 bytes"
KEY = "omcp_bot_secret"
PASSWORD = argon2id("correct")


@dataclass(frozen=True)
class Case:
    """One kind of source."""

    method: str
    settings: SourceSettings
    identity: IdentitySpec
    """Of the agent `bot`."""

    trust: Trust
    presents: Callable[[], Request]
    """A request that shows bot's credential."""

    wrong: Callable[[], Sequence[Request]]
    """Requests with credentials of this kind that do not verify."""

    ends: float | None = None
    """When bot's credential ends."""

    at: float = NOW
    """When all this is."""


def bearer(text: str) -> Request:
    return request({"authorization": f"Bearer {text}"})


CASES = [
    Case(
        "apiKey",
        ApiKeySourceSettings("authorization"),
        ApiKeyIdentity(
            principal_id=f"key:{NAME}:bot",
            source=NAME,
            id="bot",
            digest=hashlib.sha256(KEY.encode()).digest(),
        ),
        Trust.SHARED_SECRET,
        lambda: bearer(KEY),
        lambda: [bearer(f"{KEY}x"), bearer("omcp_eve_secret")],
    ),
    Case(
        "jwt",
        JwtSourceSettings(issuer=ISSUER, keys=json.dumps(key_set()).encode()),
        IdentitySpec(principal_id=f"jwt:{NAME}:bot", source=NAME),
        Trust.TOKEN,
        lambda: bearer(token()),
        lambda: [bearer(token(claims(exp=NOW - 60))), bearer(token(key="eve", header={"kid": "one"}))],
        ends=NOW + 330,
    ),
    Case(
        "kubernetes",
        KubernetesSourceSettings(issuer=ISSUER, keys=json.dumps(key_set()).encode()),
        IdentitySpec(principal_id=f"k8s:{NAME}:support:bot", source=NAME),
        Trust.TOKEN,
        lambda: bearer(token(claims(sub="system:serviceaccount:support:bot"))),
        lambda: [bearer(token()), bearer(token(claims(aud="https://kubernetes.default.svc")))],
        ends=NOW + 330,
    ),
    Case(
        "basic",
        BasicSourceSettings(),
        BasicIdentity(principal_id=f"basic:{NAME}:bot", source=NAME, user="bot", hashed=PASSWORD),
        Trust.SHARED_SECRET,
        lambda: request({"authorization": basic("bot", "correct")}),
        lambda: [
            request({"authorization": basic("bot", "wrong")}),
            request({"authorization": basic("eve", "correct")}),
        ],
    ),
    Case(
        "signature",
        SignatureSourceSettings(60.0),
        SignatureIdentity(
            principal_id=f"sig:{NAME}:bot-1", source=NAME, key_id="bot-1", algorithm="hmac-sha256", key=SECRET
        ),
        Trust.SHARED_SECRET,
        lambda: request(signed(SECRET, created=NOW)),
        lambda: [request(signed(SECRET[::-1], created=NOW)), request(signed(SECRET, created=NOW), body=b"[]")],
    ),
]

CA, DOMAIN = Authority("partners"), TrustDomain("a.org")
BOT, SVID = CA.issue(x509.DNSName("bot.example")), DOMAIN.svid()
XFCC, URI = "x-forwarded-client-cert", "spiffe://cluster.local/ns/support/sa/bot"


def showing(made: Made) -> Request:
    peer = Peer("192.0.2.1", certificate=made.der, chain=tuple(der(one) for one in made.intermediates))
    return msgspec.structs.replace(request(), peer=peer)


def relayed(value: str) -> Request:
    return msgspec.structs.replace(request({XFCC: value}), peer=Peer("192.0.2.1", is_trusted=True))


CASES += [
    Case(
        "mtls",
        MtlsSettings((CA.der,)),
        IdentitySpec(principal_id=f"x509:{NAME}:dns:bot.example", source=NAME),
        Trust.CERTIFICATE,
        lambda: showing(BOT),
        lambda: [showing(CA.issue(x509.DNSName("a"), x509.DNSName("b"))), showing(CA.issue(life=-DAY))],
        ends=BOT.certificate.not_valid_after_utc.timestamp(),
        at=time.time(),
    ),
    Case(
        "spiffe",
        SpiffeSettings({"a.org": Bundle((DOMAIN.authority.der,))}, frozenset({"a.org"})),
        IdentitySpec(principal_id="spiffe://a.org/bot"),
        Trust.CERTIFICATE,
        lambda: showing(SVID),
        lambda: [showing(DOMAIN.svid("")), showing(TrustDomain("a.org").svid())],
        ends=SVID.certificate.not_valid_after_utc.timestamp(),
        at=time.time(),
    ),
    Case(
        "mesh",
        MeshSettings(XFCC, Trust.HEADER, is_xfcc=True),
        IdentitySpec(principal_id=f"mesh:{NAME}:{URI}", source=NAME),
        Trust.HEADER,
        lambda: relayed(f"By=x;Hash=y;URI={URI}"),
        lambda: [relayed(f"URI={URI};URI={URI}"), relayed(URI), relayed('URI="')],
    ),
]


@pytest.fixture(params=CASES, ids=lambda case: case.method)
def case(request: pytest.FixtureRequest) -> Case:
    found = request.param
    assert isinstance(found, Case)
    return found


def chain(case: Case, clock: Clock | None = None, *, agents: Sequence[str] = ("bot",)) -> IdentityChain:
    known = [AgentSpec(name, "", frozenset({"staff"}), {}, (case.identity,)) for name in agents]
    return identity_chain(
        [SourceSpec(NAME, 1, case.method, case.settings)], known, lasting=Lasting(clock or Clock(case.at))
    )


async def refusal(chain: IdentityChain, request: Request, server: Server = SERVER) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await chain.identify(request, server)
    return caught.value


async def test_a_credential_names_the_agent_that_has_it(case: Case) -> None:
    found = await chain(case).identify(case.presents(), SERVER)
    assert (found.name, found.is_configured) == ("bot", True)
    principal = found.principal
    assert (principal.id, principal.source, principal.method) == (case.identity.principal_id, NAME, case.method)
    assert principal.trust is case.trust
    assert principal.expires_at == case.ends
    assert principal.fingerprint


async def test_without_a_credential_the_source_says_nothing(case: Case) -> None:
    error = await refusal(chain(case), request())
    assert error.is_missing
    assert (await chain(case).identify(request(), OPEN)).name == "anonymous"


async def test_a_wrong_credential_is_never_anonymous_and_looks_like_none_at_all(case: Case) -> None:
    asked = chain(case)
    missing = await refusal(asked, request())
    for wrong in case.wrong():
        error = await refusal(asked, wrong, OPEN)
        assert not error.is_missing
        assert error.detail != missing.detail
        assert (error.text, error.headers, dict(error.data)) == (missing.text, missing.headers, {})


async def test_the_true_reason_names_the_source_and_holds_no_credential(case: Case) -> None:
    asked = chain(case)
    for wrong in case.wrong():
        error = await refusal(asked, wrong)
        assert error.source == NAME
        for value in wrong.headers.values():
            for piece in value.replace(",", " ").split():
                assert len(piece) < 12 or piece not in error.detail


async def test_who_comes_again_is_the_same_agent(case: Case) -> None:
    asked = chain(case)
    one, two = [await asked.identify(case.presents(), SERVER) for _ in range(2)]
    assert one.principal.id == two.principal.id
    assert one is two or one.principal != two.principal


async def test_an_agent_holds_until_its_credential_ends(case: Case) -> None:
    clock = Clock(case.at)
    asked = chain(case, clock)
    found = await asked.identify(case.presents(), SERVER)
    assert asked.current(found, SERVER) is found
    if case.ends is not None:
        clock.now = case.ends
        assert asked.current(found, SERVER) is None


async def test_two_agents_for_one_principal_are_refused(case: Case) -> None:
    error = await refusal(chain(case, agents=("bot", "eve")), case.presents())
    assert "two agents" in error.detail


async def test_the_credential_is_announced_to_the_chain(case: Case) -> None:
    """So that it is never taken for anonymous where no source of the server reads it."""
    made = chain(case)
    headers = case.presents().headers
    elsewhere = Server("notes", "/notes", (), Authentication((), is_anonymous_allowed=True))
    if headers:
        assert not (await refusal(made, request(headers), elsewhere)).is_missing


def test_every_built_in_source_has_a_case() -> None:
    assert {case.method for case in CASES} == set(plugins.BUILT_IN["identity_source"])
