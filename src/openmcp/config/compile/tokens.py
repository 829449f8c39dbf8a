"""Sources of signed tokens: seconds, absolute paths, and the keys of files, each fault at the naming field."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from openmcp.config import values
from openmcp.config.documents import Placed
from openmcp.config.identities import JwtSourceSettings, KubernetesSourceSettings
from openmcp.config.resources import IdentitySourceDocument
from openmcp.config.resources.tokens import JwtSource, KubernetesSource, TokenSource
from openmcp.config.secrets import Secrets

_ROUTE = "route"
_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where every pod finds its own token and the cluster's authority."""

_IN_CLUSTER_HOSTS = (".svc", ".svc.cluster.local")

Source = Placed[IdentitySourceDocument]


def compile_jwt(placed: Source, written: JwtSource, secrets: Secrets) -> JwtSourceSettings:
    """Return the settings with the content of the key file."""
    claims = written.claims
    return JwtSourceSettings(
        issuer=written.issuer,
        agent_claim=claims.agent,
        on_behalf_of_claim=claims.on_behalf_of or "",
        groups_claim=claims.groups or "",
        attribute_claims=claims.attributes,
        scopes=written.scopes,
        algorithms=written.algorithms,
        ca_file=_ca_file(placed, written, secrets, method="jwt"),
        **_common(placed, written, secrets, method="jwt"),
    )


def compile_kubernetes(placed: Source, written: KubernetesSource, secrets: Secrets) -> KubernetesSourceSettings:
    """Return the settings; inside a cluster the pod's own token and authority are the default."""
    token_file = _path(placed, written.token_file) if written.token_file else None
    if token_file is not None:
        secrets.read_pem(placed, str(token_file), "spec", "kubernetes", "tokenFile")
    ca_file = _ca_file(placed, written, secrets, method="kubernetes")
    host = urlsplit(written.jwks_uri or written.issuer).hostname or ""
    if host.endswith(_IN_CLUSTER_HOSTS):
        # Only for the cluster's own address: anybody else would get to see the token.
        token_file = token_file or _existing(_IN_CLUSTER / "token")
        ca_file = ca_file or _existing(_IN_CLUSTER / "ca.crt")
    return KubernetesSourceSettings(
        issuer=written.issuer,
        algorithms=written.algorithms,
        ca_file=ca_file,
        token_file=token_file,
        **_common(placed, written, secrets, method="kubernetes"),
    )


def _common(placed: Source, written: TokenSource, secrets: Secrets, *, method: str) -> dict[str, Any]:
    return {
        "jwks_uri": written.jwks_uri or "",
        "keys": _keys(placed, written.keys_file, secrets, method=method) if written.keys_file else None,
        "audiences": frozenset(one.removesuffix("/") for one in written.audiences if one != _ROUTE),
        "takes_route": _ROUTE in written.audiences,
        "types": written.types,
        "leeway_s": values.duration_s(written.leeway),
        "max_lifetime_s": values.duration_s(written.max_lifetime),
        "stale_s": values.duration_s(written.max_stale),
    }


def _ca_file(placed: Source, written: TokenSource, secrets: Secrets, *, method: str) -> Path | None:
    if written.ca_file is None:
        return None
    loc = ("spec", method, "caFile")
    known = len(secrets.faults)
    content = secrets.read_pem(placed, written.ca_file, *loc)
    if b"-----BEGIN CERTIFICATE-----" not in content and len(secrets.faults) == known:
        secrets.report(placed, "the file holds no certificate: give PEM (-----BEGIN CERTIFICATE-----)", *loc)
    return _path(placed, written.ca_file)


def _keys(placed: Source, path: str, secrets: Secrets, *, method: str) -> bytes:
    loc = ("spec", method, "keysFile")
    known = len(secrets.faults)
    content = secrets.read_pem(placed, path, *loc)
    if len(secrets.faults) == known:
        for text in _key_faults(content):
            secrets.report(placed, text, *loc)
    return content


def _key_faults(content: bytes) -> Iterator[str]:
    if b"-----BEGIN" in content:
        yield from _pem_faults(content)
        return
    try:
        document = json.loads(content)
        keys = cast("list[dict[str, object]]", document["keys"])
        kinds = [key.get("kty") for key in keys]
        named = [key["kid"] for key in keys if "kid" in key]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        yield 'the file holds neither a JWK set ({"keys": [...]}) nor public keys in PEM'
        return
    if not keys:
        yield "the key set is empty: no token could ever be verified"
    if any("d" in key for key in keys) or "oct" in kinds:
        yield "the key set holds a private or shared key: give public keys only, and make this one anew"
    for kid in sorted({str(kid) for kid in named if named.count(kid) > 1}):
        yield f"the key id `{kid[:80]}` is given twice: a token could mean either"


def _pem_faults(content: bytes) -> Iterator[str]:
    if b"PRIVATE KEY" in content:
        yield "the file holds a private key: give public keys only (openssl pkey -pubout), and make this one anew"
        return
    for block in content.split(b"-----BEGIN")[1:]:
        try:
            load_pem_public_key(b"-----BEGIN" + block)
        except (ValueError, UnsupportedAlgorithm):
            yield "the file holds something else than public keys in PEM (-----BEGIN PUBLIC KEY-----)"
            return


def _path(placed: Source, path: str) -> Path:
    return (placed.file.parent / Path(path).expanduser()).absolute()


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None
