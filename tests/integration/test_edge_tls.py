"""TLS at the edge: real handshakes, and every part of it exchanged while connections are open."""

import asyncio
import socket
import ssl
from collections import Counter
from functools import partial

import pytest

from openmcp.model.http import Request, Wire
from openmcp.model.tls import ClientAuth, KeyPair, ServingTls
from openmcp.server.limits import ListenerLimits
from tests.support.certificates import Authority, Made
from tests.support.edge import QUICK, Client, Recording, connected, edge, eventually, listening, post

CA = Authority()
SERVER = CA.issue()


def serving(made: Made = SERVER, client_auth: ClientAuth = ClientAuth.NONE) -> ServingTls:
    return ServingTls(made.pair, client_auth=client_auth)


def tls_of(client: Client) -> ssl.SSLObject:
    connection: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
    return connection


async def answered(client: Client, body: bytes = b"{}") -> int:
    await client.send(post(body))
    return (await client.answer()).status


async def is_refused(client: Client) -> bool:
    """With TLS 1.3 a client learns only from its first read that its certificate is not wanted."""
    try:
        await client.send(post())
        return await client.read() == b""
    except (ssl.SSLError, ConnectionError):
        return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_request_is_served_over_tls(version: ssl.TLSVersion) -> None:
    handler = Recording()
    context = CA.client_context()
    context.minimum_version = context.maximum_version = version
    async with edge(handler, tls=serving()) as worker, connected(worker, tls=context) as client:
        assert await answered(client, b'{"a":1}') == 200
        assert await answered(client, b'{"a":2}') == 200
    assert [request.body for request in handler.requests] == [b'{"a":1}', b'{"a":2}']
    assert handler.requests[0].peer.certificate is None


async def test_a_large_answer_and_a_large_request_pass_whole() -> None:
    body = b"x" * 1_000_000
    async with (
        edge(Recording(), tls=serving()) as worker,
        connected(worker, tls=CA.client_context()) as client,
    ):
        await client.send(post(body))
        assert (await client.answer()).body == body


async def test_plain_http_at_a_tls_port_is_no_request() -> None:
    handler = Recording()
    failures: Counter[tuple[str, str]] = Counter()

    def note(listener: str, reason: str) -> None:
        failures[listener, reason] += 1

    async with edge(handler, tls=serving(), on_handshake_failure=note) as worker, connected(worker) as client:
        await client.send(post())
        assert not (await client.rest()).startswith(b"HTTP/")
    assert not handler.requests
    assert failures == {("public", "protocol"): 1}


async def test_versions_before_the_minimum_are_refused() -> None:
    tls = ServingTls(SERVER.pair, min_version=ssl.TLSVersion.TLSv1_3)
    context = CA.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with edge(Recording(), tls=tls) as worker:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with connected(worker, tls=context):
                pass


async def test_a_handshake_that_does_not_go_on_is_ended() -> None:
    limits = ListenerLimits(tick_s=0.02, headers_timeout_s=0.2)
    async with edge(Recording(), limits, tls=serving()) as worker, connected(worker) as client:
        await client.send(b"\x16\x03\x01")
        assert await client.rest() == b""


async def test_a_refused_request_is_answered_over_tls_too() -> None:
    async with edge(Recording(), tls=serving()) as worker, connected(worker, tls=CA.client_context()) as client:
        await client.send(b"GET http://x/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await client.answer("GET")).status == 400
        assert await client.rest() == b""


# ---------------------------------------------------------------- client certificates


async def test_a_client_certificate_and_its_intermediates_are_at_hand() -> None:
    intermediate = Authority("Intermediate", CA)
    made = intermediate.issue(name="agent")
    handler = Recording()
    async with (
        edge(handler, tls=serving(client_auth=ClientAuth.REQUIRED), client_cas=lambda: CA.pem) as worker,
        connected(worker, tls=CA.client_context(made)) as client,
    ):
        assert await answered(client) == 200
    peer = handler.requests[0].peer
    assert peer.certificate == made.der
    assert peer.chain == (ssl.PEM_cert_to_DER_cert(intermediate.pem.decode()),)


async def test_optional_takes_who_has_no_certificate_but_no_foreign_one() -> None:
    handler = Recording()
    failures: list[tuple[str, str]] = []
    async with edge(
        handler,
        tls=serving(client_auth=ClientAuth.OPTIONAL),
        client_cas=lambda: CA.pem,
        on_handshake_failure=lambda *what: failures.append(what),
    ) as worker:
        async with connected(worker, tls=CA.client_context()) as client:
            assert await answered(client) == 200
        async with connected(worker, tls=CA.client_context(Authority("Other").issue())) as client:
            assert await is_refused(client)
    assert handler.requests[0].peer.certificate is None
    assert failures == [("public", "certificate")]


async def test_required_refuses_who_has_no_certificate() -> None:
    tls = serving(client_auth=ClientAuth.REQUIRED)
    async with (
        edge(Recording(), tls=tls, client_cas=lambda: CA.pem) as worker,
        connected(worker, tls=CA.client_context()) as client,
    ):
        assert await is_refused(client)


async def test_where_no_ca_counts_no_certificate_does() -> None:
    tls = serving(client_auth=ClientAuth.OPTIONAL)
    async with (
        edge(Recording(), tls=tls) as worker,
        connected(worker, tls=CA.client_context(CA.issue())) as client,
    ):
        assert await is_refused(client)


# ---------------------------------------------------------------- rotation


async def test_a_new_certificate_counts_for_new_connections_and_old_ones_stay() -> None:
    fresh = CA.issue(name="fresh")
    async with edge(Recording(), tls=serving()) as worker, connected(worker, tls=CA.client_context()) as before:
        assert await worker.turn([listening(tls=serving(fresh))])
        async with connected(worker, tls=CA.client_context()) as after:
            assert tls_of(before).getpeercert(binary_form=True) == SERVER.der
            assert tls_of(after).getpeercert(binary_form=True) == fresh.der
            assert [await answered(before), await answered(after)] == [200, 200]


async def test_a_pair_that_cannot_be_used_leaves_the_old_one_in_force() -> None:
    wrong = ServingTls(KeyPair(SERVER.pem, CA.issue().key, 0.0))
    async with edge(Recording(), tls=serving()) as worker:
        assert not await worker.turn([listening(tls=wrong)])
        async with connected(worker, tls=CA.client_context()) as client:
            assert await answered(client) == 200


async def test_a_listener_does_not_turn_from_tls_to_plaintext() -> None:
    async with edge(Recording(), tls=serving()) as worker:
        assert not await worker.turn([listening()])
        async with connected(worker, tls=CA.client_context()) as client:
            assert await answered(client) == 200


async def test_a_removed_ca_is_refused_on_new_connections_and_old_connections_stay() -> None:
    old, new = Authority("Old"), Authority("New")
    trusted = [old.pem]
    handler = Recording()
    async with edge(
        handler, tls=serving(client_auth=ClientAuth.REQUIRED), client_cas=lambda: b"".join(trusted)
    ) as worker:
        old_agent, new_agent = CA.client_context(old.issue()), CA.client_context(new.issue())
        async with connected(worker, tls=old_agent) as before:
            assert await answered(before) == 200
            trusted[:] = [new.pem]
            assert await worker.trust_again()
            async with connected(worker, tls=old_agent) as refused:
                assert await is_refused(refused)
            async with connected(worker, tls=new_agent) as welcome:
                assert await answered(welcome) == 200
            assert await answered(before) == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_resumed_connection_does_not_outlive_its_ca(version: ssl.TLSVersion) -> None:
    old, new = Authority("Old"), Authority("New")
    trusted = [old.pem]
    async with edge(Recording(), tls=serving(client_auth=ClientAuth.REQUIRED), client_cas=lambda: trusted[0]) as worker:
        context = CA.client_context(old.issue())
        context.minimum_version = context.maximum_version = version
        (address, *_) = worker.addresses.values()
        session = await asyncio.to_thread(_session, address, context, None)
        trusted[:] = [new.pem]
        assert await worker.trust_again()
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(_session, address, context, session)


def _session(
    address: tuple[str, int], context: ssl.SSLContext, resumed: ssl.SSLSession | None
) -> ssl.SSLSession | None:
    """Make one exchange, perhaps with an earlier session, and return the session that may be resumed later."""
    with (
        socket.create_connection(address, timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=resumed) as connection,
    ):
        connection.sendall(post())
        if not connection.recv(1 << 16):
            raise ConnectionResetError
        return connection.session


async def test_a_turn_that_changes_nothing_leaves_even_tickets_valid() -> None:
    async with edge(Recording(), tls=serving()) as worker:
        context = CA.client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        (address, *_) = worker.addresses.values()
        session = await asyncio.to_thread(_session, address, context, None)
        assert await worker.turn([listening(tls=serving())])
        assert session is not None
        again = await asyncio.to_thread(_session, address, context, session)
        assert again is not None
        assert again.id == session.id


async def test_many_turns_lose_no_connection() -> None:
    handler = Recording()
    async with edge(handler, QUICK, tls=serving()) as worker:
        stop = asyncio.Event()

        async def ask() -> int:
            asked = 0
            while not stop.is_set():
                async with connected(worker, tls=CA.client_context()) as client:
                    assert await answered(client) == 200
                    asked += 1
            return asked

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        for turn in range(20):
            assert await worker.turn([listening(tls=serving(CA.issue(name=f"turn {turn}")))])
            before = len(handler.requests)
            await eventually(partial(_has_grown, handler, before))
        stop.set()
        assert all(await asyncio.gather(*asking))


def _has_grown(handler: Recording, before: int) -> bool:
    return len(handler.requests) > before


async def test_an_endless_answer_over_tls_waits_for_a_slow_reader() -> None:
    written = 0

    async def flood(_: Request, wire: Wire) -> None:
        nonlocal written
        wire.begin(200, ())
        for _turn in range(1000):
            wire.write(b"x" * 65536)
            written += 65536
            await wire.drain()
        wire.end()

    async with edge(flood, tls=serving()) as worker, connected(worker, tls=CA.client_context()) as client:
        await client.send(post())
        await client.read_until(b"\r\n\r\n")
        stalled = -1
        while written != stalled:
            stalled = written
            await asyncio.sleep(0.1)
        # Sockets of the kernel and the client's own buffer hold a few megabytes at most.
        assert written < 20_000_000
