"""What each identity source adds to an exchange, in microseconds, with a warm cache: `python -m bench.identity`.

Measures `IdentityChain.identify` as the gateway calls it, on requests that differ only in
their credential. The least of several rounds counts: the machine is rarely alone.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from openmcp.config.identities import (
    AgentSpec,
    ApiKeyIdentity,
    ApiKeySourceSettings,
    BasicIdentity,
    BasicSourceSettings,
    IdentitySpec,
    JwtSourceSettings,
    SignatureIdentity,
    SignatureSourceSettings,
    SourceSettings,
    SourceSpec,
)
from openmcp.identity.agents import identity_chain
from openmcp.identity.lasting import Lasting
from openmcp.model.http import Request
from openmcp.model.server import Authentication, Server
from tests.support.credentials import ISSUER, argon2id, basic, claims, key_set, request, signed, token

ROUNDS = 7
CALLS = 5000
KEY = "omcp_bot_secret"
SECRET = b"a shared secret of at least 32 bytes"
SERVER = Server("desk", "/desk", (), Authentication(("source",)))


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


def contestants() -> list[Contestant]:
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
        print(f"{one.method:<12} {found:>8.2f}  {goal}")


if __name__ == "__main__":
    main()
