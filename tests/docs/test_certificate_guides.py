"""The set-ups of the guides about certificates and proxies, as they stand there, let in whom they name."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cryptography import x509

from openmcp.config.identities import Bundle, SpiffeSettings
from openmcp.config.loader import load
from openmcp.identity.agents import identity_chain
from openmcp.identity.lasting import Lasting
from openmcp.identity.workload import WorkloadBundles
from openmcp.model.http import Peer, Request
from tests.docs import made, pages
from tests.unit.identity.certs import presenting

GUIDES = pages.ROOT / "docs" / "guides"
WORKLOAD = "spiffe://cluster.local/ns/support/sa/bot"
RELAYED = f'By=spiffe://cluster.local/ns/mcp/sa/gateway;Hash=00;Subject="";URI={WORKLOAD}'
TRUSTED = Peer("127.0.0.1", is_trusted=True)

SHOWN: Mapping[str, tuple[str, str, Callable[[], Request]]] = {
    "identity-mtls.md": (
        "partner-bot",
        "x509:partners:dns:bot.partner.example",
        lambda: presenting(made.PARTNERS.issue(x509.DNSName("bot.partner.example"))),
    ),
    "identity-spiffe.md": (
        "support-bot",
        "spiffe://prod.example.com/ns/support/sa/bot",
        lambda: presenting(made.PROD.svid("/ns/support/sa/bot")),
    ),
    "identity-mesh.md": (
        "support-bot",
        f"mesh:istio:{WORKLOAD}",
        lambda: Request("POST", "/desk", {"x-forwarded-client-cert": RELAYED}, b"", TRUSTED),
    ),
}


@pytest.mark.parametrize("name", SHOWN)
async def test_the_guides_set_up_lets_in_whom_it_names(name: str, tmp_path: Path) -> None:
    agent, principal, shows = SHOWN[name]
    (block,) = [one for one in pages.blocks(GUIDES / name) if one.label == "complete"]
    path = tmp_path / "gateway.yaml"
    path.write_text(block.text)
    made.certificates(block.text, tmp_path)
    loaded = load([path], env={})
    assert loaded.warnings == ()
    lasting = Lasting()
    for source in loaded.snapshot.sources:
        if isinstance(source.settings, SpiffeSettings):
            _told(source.settings.workload_api, lasting)
    chain = identity_chain(loaded.snapshot.sources, loaded.snapshot.agents, lasting=lasting)
    (server,) = loaded.snapshot.servers
    found = await chain.identify(chain.cleansed(shows()), server)
    assert (found.name, found.principal.id) == (agent, principal)


def _told(address: str, lasting: Lasting) -> None:
    """Leave where the source looks for it what the agent of the guide would have told."""
    bundles = WorkloadBundles(lasting.clock, lasting.anchors.refresh)
    bundles.bundles = {made.PROD.name: Bundle((made.PROD.authority.der,))}
    lasting.kept(WorkloadBundles, address, lambda: bundles)
