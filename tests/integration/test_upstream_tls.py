"""TLS towards replicas: who is believed, what is presented, and that it can be exchanged while exchanges run."""

import asyncio
import ssl
from dataclasses import replace

import pytest
from cryptography import x509

from openmcp import errors
from openmcp.model.server import Timeouts
from openmcp.model.tls import CallingTls
from tests.support.certificates import Authority
from tests.unit.upstream.replica import (
    LAST_CHUNK,
    RESULT,
    STREAM_HEAD,
    WAIT_S,
    Peer,
    always,
    answer,
    asking,
    chunk,
    permitted,
    scripted,
    server_of,
)

CA = Authority()
REPLICA = CA.server_context(CA.issue())
TRUSTING = CallingTls(CA.pem)


async def refusal(replica_context: ssl.SSLContext, tls: CallingTls) -> str:
    """What the operator is told; nothing of it reaches the agent."""
    async with scripted(always(answer()), tls=replica_context) as up, asking() as asker:
        with pytest.raises(errors.UpstreamFailed) as failure:
            await asker.ask(server_of(up.replica, tls=tls))
        assert not up.asked
        assert failure.value.detail.startswith(up.replica.url)
        assert asker.observed == [(up.replica.url, False)]
        assert "certificate" not in failure.value.sentence
        return failure.value.detail


async def test_a_replica_is_called_over_tls_and_its_connection_used_again() -> None:
    async with scripted(always(answer()), tls=REPLICA) as up, asking() as asker:
        server = server_of(up.replica, tls=TRUSTING)
        assert [await asker.ask(server) for _ in range(3)] == [(200, RESULT)] * 3
        assert up.connections == 1
        assert up.asked[0].field("host") == [up.replica.authority]


async def test_a_replica_of_an_unknown_ca_is_refused() -> None:
    assert "certificate of the replica is not accepted" in await refusal(REPLICA, CallingTls(Authority("Other").pem))


async def test_without_a_ca_file_the_operating_system_decides() -> None:
    assert "certificate of the replica is not accepted" in await refusal(REPLICA, CallingTls())


async def test_a_certificate_for_another_name_is_refused() -> None:
    other = CA.server_context(CA.issue(x509.DNSName("other.example")))
    assert "not valid for '127.0.0.1'" in await refusal(other, TRUSTING)


async def test_the_name_in_the_certificate_can_be_said() -> None:
    other = CA.server_context(CA.issue(x509.DNSName("other.example")))
    asked: list[str | None] = []
    other.sni_callback = lambda _, name, __: asked.append(name)
    async with scripted(always(answer()), tls=other) as up, asking() as asker:
        server = server_of(up.replica, tls=CallingTls(CA.pem, server_name="other.example"))
        assert await asker.ask(server) == (200, RESULT)
    assert asked == ["other.example"]


async def test_plaintext_behind_https_is_refused() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(answer())
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        with pytest.raises(errors.UpstreamUnreachable, match="TLS failed"):
            await asker.ask(server_of(replace(up.replica, is_tls=True), tls=TRUSTING))


async def test_a_replica_that_cannot_be_believed_is_passed_over_for_the_next() -> None:
    stranger = Authority("Stranger")
    async with (
        scripted(always(answer()), tls=stranger.server_context(stranger.issue())) as first,
        scripted(always(answer()), tls=REPLICA) as second,
        asking() as asker,
    ):
        assert await asker.ask(server_of(first.replica, second.replica, tls=TRUSTING)) == (200, RESULT)
        assert not first.asked


async def test_the_gateway_presents_its_certificate() -> None:
    made = CA.issue(name="gateway")
    presented: list[bytes | None] = []

    async def script(peer: Peer) -> None:
        connection: ssl.SSLObject = peer.writer.get_extra_info("ssl_object")
        presented.append(connection.getpeercert(binary_form=True))
        await always(answer())(peer)

    async with scripted(script, tls=CA.server_context(CA.issue(), clients=CA.pem)) as up, asking() as asker:
        assert await asker.ask(server_of(up.replica, tls=CallingTls(CA.pem, made.pair))) == (200, RESULT)
    assert presented == [made.der]


async def test_without_a_certificate_a_replica_that_wants_one_is_of_no_use() -> None:
    # With TLS 1.3 the replica says so only after the request was sent.
    await refusal(CA.server_context(CA.issue(), clients=CA.pem), TRUSTING)


async def test_a_new_certificate_counts_for_new_connections_and_exchanges_under_way_go_on() -> None:
    first, second = CA.issue(name="first"), CA.issue(name="second")
    presented: list[bytes | None] = []
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        connection: ssl.SSLObject = peer.writer.get_extra_info("ssl_object")
        presented.append(connection.getpeercert(binary_form=True))
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(b"data: 1\n\n"))
        await asyncio.wait_for(go_on.wait(), WAIT_S)
        await peer.send(chunk(b"data: 2\n\n") + LAST_CHUNK)

    context = CA.server_context(CA.issue(), clients=CA.pem)
    async with scripted(script, tls=context) as up, asking() as asker, asyncio.timeout(WAIT_S):
        before = server_of(up.replica, tls=CallingTls(CA.pem, first.pair))
        after = server_of(up.replica, tls=CallingTls(CA.pem, second.pair))
        async with asker.client.send(permitted(before), before.replicas) as old:
            async with asker.client.send(permitted(after), after.replicas) as new:
                assert asker.client.in_flight(up.replica) == 2
                go_on.set()
                assert [event.data async for event in new.events() if event] == [b"1", b"2"]
            assert [event.data async for event in old.events() if event] == [b"1", b"2"]
        assert asker.client.in_flight(up.replica) == 0
    assert presented == [first.der, second.der]


async def test_servers_that_differ_in_their_certificates_do_not_share_connections() -> None:
    async with scripted(always(answer()), tls=REPLICA) as up, asking() as asker:
        for name in ("one", "two"):
            await asker.ask(server_of(up.replica, tls=CallingTls(CA.pem, CA.issue(name=name).pair)))
        assert up.connections == 2


async def test_a_handshake_that_hangs_is_given_up_within_the_connect_timeout() -> None:
    async def script(peer: Peer) -> None:
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        server = server_of(replace(up.replica, is_tls=True), tls=TRUSTING, timeouts=Timeouts(connect_s=0.2))
        with pytest.raises(errors.UpstreamUnreachable, match="no connection within"):
            await asker.ask(server)


async def test_names_that_share_an_address_do_not_share_connections() -> None:
    both = CA.server_context(CA.issue(x509.DNSName("one.example"), x509.DNSName("two.example")))
    async with scripted(always(answer()), tls=both) as up, asking() as asker:
        for name in ("one.example", "two.example"):
            await asker.ask(server_of(replace(up.replica, name=name), tls=TRUSTING))
        assert up.connections == 2
        assert [asked.field("host")[0].partition(":")[0] for asked in up.asked] == ["one.example", "two.example"]
        with pytest.raises(errors.UpstreamUnreachable):
            await asker.ask(server_of(replace(up.replica, name="three.example"), tls=TRUSTING))
