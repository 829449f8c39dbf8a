"""How an agent is introduced to a server: not at all, by a signed assertion, or by its plain name.

Asked by the upstream side for each request of an agent, with the bytes that are sent. An
agent cannot write these headers itself: nothing that it sends in headers is passed on.
"""

import hashlib
import json
import secrets
from base64 import b64encode
from collections.abc import Callable
from typing import Final

from openmcp.model.decision import Permitted
from openmcp.model.server import IdentityHeader, Replica
from openmcp.state.signing import Signer, text

ASSERTION: Final = "X-OpenMCP-Assertion"
PLAIN: Final = "X-OpenMCP-Agent"
LIFE_S: Final = 60

Headers = tuple[tuple[str, str], ...]


class Introductions:
    """Makes the headers; holds the key that signs."""

    def __init__(self, signer: Signer, issuer: str, clock: Callable[[], float]) -> None:
        """`issuer`: the `iss` of assertions, under which their keys are published."""
        self._signer = signer
        self._issuer = issuer
        self._clock = clock
        self._head = _part({"alg": "EdDSA", "kid": signer.kid, "typ": "JWT"})

    def headers(self, permitted: Permitted, replica: Replica, body: bytes | None) -> Headers:
        """Return what goes beside the request; nothing for what the gateway itself asks."""
        agent = permitted.agent
        match permitted.server.identity_header:
            case IdentityHeader.NONE:
                return ()
            case _ if agent is None:
                return ()
            case IdentityHeader.PLAIN:
                return ((PLAIN, _visible(agent.name)),)
            case IdentityHeader.ASSERTION:
                return ((ASSERTION, self._assertion(permitted, replica, body or b"")),)

    def _assertion(self, permitted: Permitted, replica: Replica, body: bytes) -> str:
        """Return a JWT (RFC 7519) about the agent, for this replica, this body and the next minute."""
        agent, now = permitted.agent, int(self._clock())
        assert agent is not None  # `headers` has looked
        principal = agent.principal
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": [replica.url, permitted.server.name],
            "sub": agent.name,
            "iat": now,
            "exp": now + LIFE_S,
            "jti": secrets.token_hex(16),
            # As Content-Digest writes it (RFC 9530 §2), so that a server can compare with what it received.
            "digest": f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:",
            "principal": principal.id,
            "trust": principal.trust.label,
        }
        if principal.on_behalf_of is not None:
            claims["onBehalfOf"] = principal.on_behalf_of
        signed = f"{self._head}.{_part(claims)}"
        return f"{signed}.{text(self._signer.sign(signed.encode()))}"


def _part(value: object) -> str:
    return text(json.dumps(value, separators=(",", ":")).encode())


def _visible(name: str) -> str:
    """Return a name as a header can carry it: what is not printable ASCII is written as `%XX` of its UTF-8."""
    safe = (chr(byte) if 0x21 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in name.encode())
    return "".join(safe)
