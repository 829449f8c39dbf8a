"""The set-up of each identity guide, as it stands there, lets in whom it names: one credential each, made here."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from openmcp.config.identities import TokenSettings
from openmcp.config.loader import load
from openmcp.config.snapshot import Snapshot
from openmcp.identity.agents import identity_chain
from openmcp.identity.keys import IssuerKeys
from openmcp.identity.lasting import Lasting
from tests.docs import pages
from tests.docs.test_yaml import SECRET, secrets
from tests.support.credentials import PUBLIC_URL, RESOURCE, basic, claims, key_set, request, signed, token

GUIDES = pages.ROOT / "docs" / "guides"
ISSUER = "https://login.example.com"
CLUSTER = "https://kubernetes.default.svc.cluster.local"


def bearer(**said: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token(claims(time.time(), **said))}"}


SHOWN: Mapping[str, tuple[str, str, Callable[[], dict[str, str]]]] = {
    "identity-jwt.md": ("support-bot", "jwt:corp:support-bot", lambda: bearer(iss=ISSUER, sub="support-bot")),
    "identity-kubernetes.md": (
        "support-bot",
        "k8s:cluster:support:support-bot",
        lambda: bearer(iss=CLUSTER, sub="system:serviceaccount:support:support-bot"),
    ),
    "identity-basic.md": ("reports", "basic:legacy:reports", lambda: {"authorization": basic("reports", "correct")}),
    "identity-signature.md": (
        "billing",
        "sig:signed:billing-1",
        lambda: signed(SECRET.encode(), key_id="billing-1", url=RESOURCE),
    ),
}


def configured(page: Path, folder: Path) -> Snapshot:
    (block,) = [one for one in pages.blocks(page) if one.label == "complete"]
    path = folder / "gateway.yaml"
    path.write_text(block.text)
    return load([path], env=secrets(block.text, folder)).snapshot


async def published(url: str) -> Mapping[str, object]:
    """What the issuer of a guide would answer, if there were one."""
    assert url.endswith(("openid-configuration", "jwks"))
    return key_set() if url.endswith("jwks") else {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}


@pytest.mark.parametrize("name", SHOWN)
async def test_the_guides_set_up_lets_in_whom_it_names(name: str, tmp_path: Path) -> None:
    agent, principal, shows = SHOWN[name]
    snapshot, lasting = configured(GUIDES / name, tmp_path), Lasting()
    for source in snapshot.sources:
        if isinstance(source.settings, TokenSettings):
            with_issuer(source.settings, lasting)
    chain = identity_chain(snapshot.sources, snapshot.agents, lasting=lasting)
    (server,) = snapshot.servers
    found = await chain.identify(request(shows(), public_url=PUBLIC_URL), server)
    assert (found.name, found.principal.id) == (agent, principal)


def with_issuer(settings: TokenSettings, lasting: Lasting) -> None:
    """Put the issuer's keys where the source looks for those of an earlier snapshot."""

    async def locate(_: object) -> str:
        return settings.jwks_uri or f"{settings.issuer}/jwks"

    keys = IssuerKeys(locate, published, clock=lasting.clock, beside=lasting.beside, stale_s=settings.stale_s)
    place = (settings.issuer, settings.jwks_uri, settings.ca_file, settings.token_file, settings.stale_s)
    lasting.kept(IssuerKeys, place, lambda: keys)


def test_every_identity_guide_is_run() -> None:
    mine = {page.name for page in GUIDES.glob("identity-*.md")}
    assert set(SHOWN) <= mine
