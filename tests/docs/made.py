"""The files that a documented configuration names, made for it: certificates, bundles, revocation lists."""

import base64
import json
import re
from pathlib import Path

from cryptography import x509

from tests.support.certificates import Authority
from tests.support.spire import TrustDomain

OWN, PARTNERS, PROD = Authority("gateway"), Authority("partners"), TrustDomain("prod.example.com")

_NAMED = re.compile(r"(certFile|keyFile|caFile|crlFile|bundleFile): ([\w./-]+)")


def certificates(text: str, folder: Path) -> None:
    """Write every file of that kind; a certificate and its key belong together."""
    serving = OWN.issue(x509.DNSName("mcp.example.com"), name="mcp")
    contents = {
        "certFile": serving.pem,
        "keyFile": serving.key,
        "caFile": PARTNERS.pem,
        "crlFile": PARTNERS.crl(),
        "bundleFile": PROD.authority.pem,
    }
    for field, name in _NAMED.findall(text):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_spiffe_bundle() if name.endswith(".json") else contents[field])


def _spiffe_bundle() -> bytes:
    x5c = [base64.b64encode(PROD.authority.der).decode()]
    keys = [{"use": "x509-svid", "kty": "EC", "x5c": x5c}, *json.loads(PROD.jwks)["keys"]]
    return json.dumps({"keys": keys}).encode()
