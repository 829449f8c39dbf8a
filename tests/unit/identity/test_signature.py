"""Signed requests: what a signature has to cover, how long it holds, and that it counts once."""

from typing import Any

import msgspec
import pytest

from openmcp.config.identities import AgentSpec, SignatureIdentity, SignatureSourceSettings, SourceSpec
from openmcp.identity.failures import BURST
from openmcp.identity.lasting import Lasting
from openmcp.identity.signature import Nonces, SignatureSource
from openmcp.identity.source import Absent, Invalid, Verdict
from openmcp.model.agent import Principal, Trust
from openmcp.model.server import Authentication, Server
from tests.support.credentials import NOW, RESOURCE, Clock, ed25519_pem, request, signed

SERVER = Server("desk", "/desk", (), Authentication(("hmac",)))
SECRET = b"a shared secret of at least 32 bytes"
PRIVATE, PUBLIC = ed25519_pem()
SPEC = SourceSpec("hmac", 1, "signature", SignatureSourceSettings(60.0))


def identity(key_id: str, algorithm: str, key: bytes) -> SignatureIdentity:
    return SignatureIdentity(
        principal_id=f"sig:hmac:{key_id}", source="hmac", key_id=key_id, algorithm=algorithm, key=key
    )


IDENTITIES = (identity("bot-1", "hmac-sha256", SECRET), identity("ed-1", "ed25519", PUBLIC))


def source(lasting: Lasting | None = None, *identities: SignatureIdentity) -> SignatureSource:
    agents = [AgentSpec("bot", "", frozenset(), {}, identities or IDENTITIES)]
    return SignatureSource.from_spec(SPEC, agents, lasting or Lasting(Clock()))


async def verdict(source: SignatureSource, headers: dict[str, str], **changes: Any) -> Verdict:
    return await source.verify(request(headers, **changes), SERVER)


async def why(source: SignatureSource, headers: dict[str, str], **changes: Any) -> str:
    found = await verdict(source, headers, **changes)
    assert isinstance(found, Invalid), found
    return found.why


def made(key: bytes = SECRET, **changes: Any) -> dict[str, str]:
    return signed(key, **{"created": NOW, **changes})


async def test_a_signed_request_names_its_key() -> None:
    found = await verdict(source(), made())
    assert isinstance(found, Principal)
    assert (found.id, found.method, found.trust) == ("sig:hmac:bot-1", "signature", Trust.SHARED_SECRET)


async def test_a_private_key_signs_too() -> None:
    found = await verdict(source(), made(PRIVATE, key_id="ed-1", algorithm="ed25519"))
    assert isinstance(found, Principal)
    assert found.id == "sig:hmac:ed-1"


async def test_the_target_may_be_given_in_parts() -> None:
    parts = ("@method", "@authority", "@path", "content-digest")
    assert isinstance(await verdict(source(), made(covered=parts)), Principal)
    url = f"{RESOURCE}?a=b"
    assert "target" in await why(source(), made(covered=parts, url=url), query="a=b")
    whole = (*parts, "@query")
    assert isinstance(await verdict(source(), made(covered=whole, url=url), query="a=b"), Principal)


async def test_a_request_without_a_body_needs_no_digest() -> None:
    bare = made(method="GET", covered=("@method", "@target-uri"))
    assert isinstance(await verdict(source(), bare, method="GET", body=b""), Principal)


async def test_an_unsigned_request_is_left_to_others() -> None:
    assert await verdict(source(), {"authorization": "Bearer x"}) is Absent.ABSENT


# ------------------------------------------------------------ attacks


@pytest.mark.parametrize(
    "covered",
    [
        ("@target-uri", "content-digest"),
        ("@method", "content-digest"),
        ("@method", "@path", "content-digest"),
        ("@method", "@authority", "content-digest"),
        ("@method", "@target-uri"),
        ("@method",),
    ],
)
async def test_a_signature_that_covers_too_little_is_refused(covered: tuple[str, ...]) -> None:
    assert isinstance(await verdict(source(), made(covered=covered)), Invalid)


async def test_what_was_sent_once_is_refused_the_second_time() -> None:
    keys, headers = source(), made()
    assert isinstance(await verdict(keys, headers), Principal)
    assert "nonce" in await why(keys, headers)


async def test_a_nonce_stays_used_over_a_reload_and_belongs_to_its_key() -> None:
    lasting = Lasting(Clock())
    await verdict(source(lasting), made(nonce="n1"))
    lasting.sweep()
    assert "nonce" in await why(source(lasting), made(nonce="n1"))
    other = made(PRIVATE, key_id="ed-1", algorithm="ed25519", nonce="n1")
    assert isinstance(await verdict(source(lasting), other), Principal)


async def test_a_request_that_is_judged_again_under_a_newer_configuration_is_no_replay() -> None:
    keys, headers = source(), made()
    once, copy = (msgspec.structs.replace(request(headers), received_ns=1) for _ in range(2))
    for _ in range(2):
        assert isinstance(await keys.verify(once, SERVER), Principal)
    assert isinstance(await keys.verify(copy, SERVER), Invalid)
    later = msgspec.structs.replace(once, received_ns=2)
    assert isinstance(await keys.verify(later, SERVER), Invalid)


async def test_a_signature_without_a_nonce_could_be_sent_again() -> None:
    assert "nonce" in await why(source(), made(nonce=None))


async def test_a_changed_body_is_refused() -> None:
    assert isinstance(await verdict(source(), made(), body=b'{"changed": true}'), Invalid)


async def test_a_changed_digest_is_refused() -> None:
    swapped = {**made(), "content-digest": made(body=b'{"changed": true}')["content-digest"]}
    assert isinstance(await verdict(source(), swapped, body=b'{"changed": true}'), Invalid)


@pytest.mark.parametrize("change", [{"method": "DELETE"}, {"path": "/notes"}, {"query": "a=b"}])
async def test_another_method_or_target_is_refused(change: dict[str, str]) -> None:
    assert isinstance(await verdict(source(), made(), **change), Invalid)


async def test_the_host_header_says_nothing_about_the_target() -> None:
    elsewhere = made(url="https://evil.example.com/desk")
    assert isinstance(await verdict(source(), {**elsewhere, "host": "evil.example.com"}), Invalid)
    assert "publicUrl" in await why(source(), made(), public_url="")


@pytest.mark.parametrize(("created", "reason"), [(NOW - 61, "maxAge"), (NOW + 6, "future"), (NOW - 86_000, "maxAge")])
async def test_an_old_or_future_signature_is_refused(created: float, reason: str) -> None:
    old = Clock(NOW - 100_000)
    lasting = Lasting(old)
    keys = source(lasting)
    old.now = NOW
    assert reason in await why(keys, made(created=created))


async def test_what_was_signed_before_nonces_were_remembered_is_refused() -> None:
    """It may have been sent to the process that ended."""
    assert "sign again" in await why(source(), made(created=NOW - 10))


async def test_another_key_or_algorithm_is_refused() -> None:
    assert isinstance(await verdict(source(), made(b"another secret of at least 32 bytes!")), Invalid)
    assert isinstance(await verdict(source(), made(key_id="nobody")), Invalid)
    assert isinstance(await verdict(source(), made(key_id="ed-1")), Invalid)
    # The public key is known to everybody: it must not do as a shared secret.
    assert isinstance(await verdict(source(), made(PUBLIC, key_id="ed-1")), Invalid)


async def test_halves_and_doubles_of_a_signature_are_refused() -> None:
    headers = made()
    assert isinstance(await verdict(source(), {"signature": headers["signature"]}), Invalid)
    assert isinstance(await verdict(source(), {"signature-input": headers["signature-input"]}), Invalid)
    double = {**headers, "signature": f"{headers['signature']}, other=:AAAA:"}
    assert isinstance(await verdict(source(), double), Invalid)
    for garbage in ("", "x", "a=b", "pyhms=()", "\xff" * 10, "pyhms=:x:" * 100):
        assert isinstance(await verdict(source(), {**headers, "signature-input": garbage}), Invalid)


async def test_nonces_are_bounded_for_each_key_and_forgotten_in_time() -> None:
    clock = Clock()
    nonces = Nonces(clock)
    for number in range(65_536):
        assert nonces.is_first("a", str(number), until=NOW + 60)
    assert not nonces.is_first("a", "one more", until=NOW + 60)
    assert nonces.is_first("b", "one more", until=NOW + 60)
    clock.now += 61
    assert nonces.is_first("a", "0", until=clock.now + 60)


async def test_a_forged_signature_uses_up_nobodys_nonce() -> None:
    keys = source()
    genuine = made(nonce="n1")
    forged = {**genuine, "signature": made(b"another secret of at least 32 bytes!", nonce="n1")["signature"]}
    assert isinstance(await verdict(keys, forged), Invalid)
    assert isinstance(await verdict(keys, genuine), Principal)


async def test_a_peer_that_failed_too_often_gets_no_signature_checked() -> None:
    lasting = Lasting(Clock())
    for _ in range(BURST):
        lasting.failures.note("192.0.2.1")
    assert "too many failures" in await why(source(lasting), made())


async def test_a_key_that_was_replaced_vouches_for_nobody() -> None:
    lasting = Lasting(Clock())
    found = await verdict(source(lasting), made())
    assert isinstance(found, Principal)
    assert source(lasting).vouches(found)
    assert not source(lasting, identity("bot-1", "hmac-sha256", SECRET[::-1])).vouches(found)
