"""What the gateway publishes for everybody: where a route's tokens come from, and the keys of its assertions.

Asked by the runtime before an exchange begins; these documents name no agent and no secret,
and are no exchanges. What is not found here goes the way of every request.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from openmcp.identity.challenges import METADATA_PATH, Challenges
from openmcp.model.http import Request
from openmcp.model.server import Server
from openmcp.state.signing import Signer, key_id, text

PREFIX: Final = "/.well-known/"
JWKS_PATH: Final = "/.well-known/openmcp/jwks.json"
HEADERS: Final = (("Content-Type", "application/json"), ("Cache-Control", "public, max-age=300"))


class Published:
    """The documents of one snapshot."""

    def __init__(self, find: Callable[[str, Request], Server | None], challenges: Challenges, signer: Signer) -> None:
        """`find` returns the server at just this path, for the host of the request."""
        self._find = find
        self._challenges = challenges
        self._keys = msgspec.json.encode({"keys": [_jwk(key) for key in signer.public_keys]})

    def document(self, request: Request) -> bytes | None:
        """Return the document at the request's path; `None` where nothing is published."""
        if request.method not in ("GET", "HEAD"):
            return None
        if request.path == JWKS_PATH:
            return self._keys
        if not request.path.startswith(METADATA_PATH):
            return None
        path = request.path.removeprefix(METADATA_PATH).removesuffix("/")
        server = self._find(path, request) if not path or path.startswith("/") else None
        metadata = self._challenges.metadata(server, request.public_url) if server is not None else None
        return msgspec.json.encode(metadata) if metadata is not None else None


def _jwk(public_key: bytes) -> dict[str, str]:
    kid = key_id(public_key)
    return {"kty": "OKP", "crv": "Ed25519", "x": text(public_key), "kid": kid, "use": "sig", "alg": "EdDSA"}
