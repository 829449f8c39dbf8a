"""What a server is told of the agent: signed, for it alone, about this very call, for a minute."""

import base64
import hashlib
import json
from typing import Any

import pytest
from joserfc import jwk, jwt

from openmcp.identity.challenges import Challenges
from openmcp.identity.introduction import ASSERTION, PLAIN, Introductions
from openmcp.identity.published import JWKS_PATH, Published
from openmcp.mcp.revisions import LATEST_LEGACY
from openmcp.model.agent import Agent, Principal, Trust
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Permitted
from openmcp.model.server import Authentication, IdentityHeader, Replica, Server
from openmcp.state.signing import Signer
from tests.support.credentials import NOW, Clock, request

SIGNER = Signer((b"1" * 32, b"2" * 32))
REPLICA = Replica("http://10.0.0.11:8080/mcp", "10.0.0.11", 8080, "/mcp")
BOT = Agent(name="bot", principal=Principal("jwt:corp:bot", "corp", "jwt", Trust.TOKEN, on_behalf_of="ann"))


def permitted(header: IdentityHeader, agent: Agent | None = BOT) -> Permitted:
    server = Server("desk", "/desk", (REPLICA,), Authentication(()), identity_header=header)
    return Permitted(server, Arrival(http_method="POST", revision=LATEST_LEGACY), agent=agent)


def introductions() -> Introductions:
    return Introductions(SIGNER, "https://mcp.example.com", Clock())


def published() -> dict[str, Any]:
    document = Published(lambda path, request: None, Challenges({}), SIGNER).document(
        request(method="GET", path=JWKS_PATH)
    )
    assert document is not None
    found: dict[str, Any] = json.loads(document)
    return found


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_an_assertion_verifies_with_the_published_keys_and_says_who_for_whom_and_what() -> None:
    ((name, value),) = introductions().headers(permitted(IdentityHeader.ASSERTION), REPLICA, b'{"a":1}')
    assert name == ASSERTION
    keys = jwk.KeySet.import_key_set(published())  # type: ignore[arg-type]
    said = jwt.decode(value, keys, algorithms=["EdDSA"])
    assert said.header["kid"] == SIGNER.kid
    digest = base64.b64encode(hashlib.sha256(b'{"a":1}').digest()).decode()
    assert len(said.claims.pop("jti")) == 32
    assert said.claims == {
        "iss": "https://mcp.example.com",
        "aud": [REPLICA.url, "desk"],
        "sub": "bot",
        "iat": NOW,
        "exp": NOW + 60,
        "digest": f"sha-256=:{digest}:",
        "principal": "jwt:corp:bot",
        "trust": "token",
        "onBehalfOf": "ann",
    }


def test_no_two_assertions_are_the_same() -> None:
    made = {introductions().headers(permitted(IdentityHeader.ASSERTION), REPLICA, b"") for _ in range(5)}
    assert len(made) == 5


def test_all_keys_are_published_and_no_private_one() -> None:
    keys = published()["keys"]
    assert keys[0]["kid"] == SIGNER.kid
    assert len(keys) == 2
    assert all(set(key) == {"kty", "crv", "x", "kid", "use", "alg"} for key in keys)


def test_a_plain_name_cannot_break_out_of_its_header() -> None:
    odd = Agent(name="jwt:corp:ä b\r\nX: y%", principal=BOT.principal)
    headers = introductions().headers(permitted(IdentityHeader.PLAIN, odd), REPLICA, b"")
    assert headers == ((PLAIN, "jwt:corp:%C3%A4%20b%0D%0AX:%20y%25"),)


def test_nothing_is_told_by_default_and_nothing_for_the_gateway_itself() -> None:
    assert introductions().headers(permitted(IdentityHeader.NONE), REPLICA, b"") == ()
    for header in IdentityHeader:
        assert introductions().headers(permitted(header, None), REPLICA, b"") == ()
