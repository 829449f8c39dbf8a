"""What each identity source adds to an exchange, in microseconds, with a warm cache: `python -m bench.identity`.

Measures `IdentityChain.identify` as the gateway calls it, on requests that differ only in
their credential. The least of several rounds counts: the machine is rarely alone.
"""

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from openmcp.config.identities import (
    AgentSpec,
    ApiKeyIdentity,
    ApiKeySourceSettings,
    BasicIdentity,
    BasicSourceSettings,
    Bundle,
    IdentitySpec,
    JwtSourceSettings,
    MeshSettings,
    MtlsSettings,
    SignatureIdentity,
    SignatureSourceSettings,
    SourceSettings,
    SourceSpec,
    SpiffeSettings,
)
from openmcp.identity.agents import identity_chain
from openmcp.identity.lasting import Lasting
from openmcp.model.agent import Trust
from openmcp.model.http import Peer, Request
from openmcp.model.server import Authentication, Server
from tests.support.certificates import Authority
from tests.support.credentials import ISSUER, argon2id, basic, claims, key_set, request, signed, token
from tests.support.spire import TrustDomain

ROUNDS = 7
CALLS = 5000
KEY = "omcp_bot_secret"
SECRET = b"a shared secret of at least 32 bytes"
SERVER = Server("desk", "/desk", (), Authentication(("source",)))


XFCC, GATEWAY = "x-forwarded-client-cert", "spiffe://cluster.local/ns/mcp/sa/gateway"
WORKLOAD = "spiffe://cluster.local/ns/support/sa/bot"
RELAYED = ",".join(f'By={GATEWAY};Hash={"0" * 64};Subject="CN=bot,O=Foo";URI={uri}' for uri in (GATEWAY, WORKLOAD))
MESH = MeshSettings(XFCC, Trust.HEADER, is_xfcc=True, by=frozenset({GATEWAY}))
NUMBERS = itertools.count()


def from_peer(peer: Peer, headers: Mapping[str, str] | None = None) -> Request:
    return msgspec.structs.replace(request(dict(headers or {})), peer=peer)


@dataclass(frozen=True)
class Contestant:
    """One source with one agent."""

    method: str
    settings: SourceSettings
    identity: IdentitySpec
    presents: Callable[[], Request]
    is_once: bool = False
    """Whether each request can be shown one time only."""

    goal_us: float | None = None
    note: str = ""


def contestants() -> list[Contestant]:
    ca, domain = Authority("partners"), TrustDomain("a.org")
    certificate, svid = ca.issue(x509.DNSName("bot.example")), domain.svid()
    said = claims(time.time())
    text = token(said)
    digest = hashlib.sha256(KEY.encode()).digest()
    return [
        Contestant(
            "apiKey",
            ApiKeySourceSettings("authorization"),
            ApiKeyIdentity(principal_id="key:source:bot", source="source", id="bot", digest=digest),
            lambda: request({"authorization": f"Bearer {KEY}"}),
            goal_us=3.0,
        ),
        Contestant(
            "jwt",
            JwtSourceSettings(issuer=ISSUER, keys=json.dumps(key_set()).encode()),
            IdentitySpec(principal_id="jwt:source:bot", source="source"),
            lambda: request({"authorization": f"Bearer {text}"}),
            goal_us=3.0,
        ),
        Contestant(
            "basic",
            BasicSourceSettings(),
            BasicIdentity(principal_id="basic:source:bot", source="source", user="bot", hashed=argon2id("correct")),
            lambda: request({"authorization": basic("bot", "correct")}),
        ),
        Contestant(
            "signature",
            SignatureSourceSettings(60.0),
            SignatureIdentity(
                principal_id="sig:source:bot-1", source="source", key_id="bot-1", algorithm="hmac-sha256", key=SECRET
            ),
            lambda: request(signed(SECRET)),
            is_once=True,
        ),
        Contestant(
            "mtls",
            MtlsSettings((ca.der,), (x509.load_pem_x509_crl(ca.crl()).public_bytes(Encoding.DER),)),
            IdentitySpec(principal_id="x509:source:dns:bot.example", source="source"),
            lambda: from_peer(Peer("192.0.2.1", certificate=certificate.der)),
            goal_us=2.0,
        ),
        Contestant(
            "spiffe",
            SpiffeSettings({"a.org": Bundle((domain.authority.der,))}, frozenset({"a.org"})),
            IdentitySpec(principal_id="spiffe://a.org/bot"),
            lambda: from_peer(Peer("192.0.2.1", certificate=svid.der)),
            goal_us=2.0,
        ),
        Contestant(
            "mesh",
            MESH,
            IdentitySpec(principal_id=f"mesh:source:{WORKLOAD}", source="source"),
            lambda: from_peer(Peer("192.0.2.1", is_trusted=True), {XFCC: RELAYED}),
            goal_us=15.0,
        ),
        Contestant(
            "mesh",
            MESH,
            IdentitySpec(principal_id=f"mesh:source:{WORKLOAD}", source="source"),
            lambda: from_peer(Peer("192.0.2.1", is_trusted=True), {XFCC: f"{RELAYED};Hash={next(NUMBERS)}"}),
            is_once=True,
            note="read anew each time",
        ),
    ]


async def measure(one: Contestant) -> float:
    """Return the microseconds of one call."""
    agents = [AgentSpec("bot", "", frozenset(), {}, (one.identity,))]
    chain = identity_chain([SourceSpec("source", 1, one.method, one.settings)], agents, lasting=Lasting())
    best = float("inf")
    for _ in range(ROUNDS):
        calls = CALLS // 25 if one.is_once else CALLS
        shown = [one.presents() for _ in range(calls)] if one.is_once else [one.presents()] * calls
        if not one.is_once:
            await chain.identify(shown[0], SERVER)
        began = time.perf_counter()
        for each in shown:
            await chain.identify(each, SERVER)
        best = min(best, (time.perf_counter() - began) / calls * 1e6)
    return best


def main() -> None:
    print(f"{'source':<12} {'µs':>8}  goal")
    for one in contestants():
        found = asyncio.run(measure(one))
        goal = "" if one.goal_us is None else f"< {one.goal_us:g} {'ok' if found < one.goal_us else 'MISSED'}"
        print(f"{one.method:<12} {found:>8.2f}  {goal}{one.note}")


if __name__ == "__main__":
    main()
