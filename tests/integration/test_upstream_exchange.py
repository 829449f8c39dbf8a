"""One exchange with a replica whose every byte is scripted: what is sent, what is kept alive, what is never resent."""

import asyncio
from dataclasses import replace

import pytest

from openmcp import errors
from openmcp.model.server import Credential, Timeouts
from tests.unit.upstream.replica import (
    RESULT,
    WAIT_S,
    Peer,
    always,
    answer,
    asking,
    chunk,
    nobody,
    permitted,
    scripted,
    server_of,
)

PATIENT_S = 600.0
"""An idle time that no test sees the end of."""

QUICK = Timeouts(connect_s=0.2, response_s=0.2, stream_idle_s=0.2)


async def test_what_is_permitted_arrives_as_one_request() -> None:
    async with scripted(always(answer())) as up, asking() as asker:
        server = server_of(up.replica, credentials=(Credential("X-Api-Key", "of the gateway"),))
        wish = (("Accept", "application/json"), ("Mcp-Session-Id", "s1"), ("X-Api-Key", "of the agent"))
        assert await asker.ask(server, headers=wish) == (200, RESULT)
    asked = up.asked[0]
    assert asked.line == "POST /mcp HTTP/1.1"
    assert asked.body.startswith(b'{"jsonrpc":"2.0","id":1,"method":"tools/call"')
    assert asked.field("content-length") == [str(len(asked.body))]
    assert asked.field("content-type") == ["application/json"]
    assert asked.field("accept-encoding") == ["identity"]
    assert asked.field("host") == [up.replica.authority]
    assert asked.field("mcp-session-id") == ["s1"]
    assert asked.field("x-api-key") == ["of the gateway"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_get_and_delete_carry_no_body(method: str) -> None:
    async with scripted(always(answer(b"", status="200 OK"))) as up, asking() as asker:
        assert await asker.ask(server_of(up.replica), method=method) == (200, b"")
    assert up.asked[0].line == f"{method} /mcp HTTP/1.1"
    assert not up.asked[0].field("content-length")


@pytest.mark.parametrize(
    "raw",
    [
        answer(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(RESULT[:7]) + chunk(RESULT[7:]) + b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(RESULT) + b"0\r\nX-Checksum: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLocation: /x\r\n\r\n" + answer(),
        b"HTTP/1.1 200\r\nContent-Length: %d\r\n\r\n" % len(RESULT) + RESULT,
    ],
    ids=["length", "chunks", "trailer", "interim", "no reason phrase"],
)
async def test_a_whole_answer_is_read_however_it_is_cut_and_its_connection_used_again(raw: bytes) -> None:
    async def script(peer: Peer) -> None:
        for cut in range(1, len(raw)):
            await peer.request()
            await peer.send(raw[:cut])
            # Two turns of the loop, so that the halves are read apart.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await peer.send(raw[cut:])

    async with scripted(script) as up, asking() as asker:
        for _ in range(1, len(raw)):
            assert await asker.ask(server_of(up.replica)) == (200, RESULT)
        assert up.connections == 1
        assert asker.observed == [(up.replica.url, True)] * (len(raw) - 1)


async def test_an_answer_without_length_ends_with_its_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + RESULT)

    async with scripted(script) as up, asking() as asker:
        assert await asker.ask(server_of(up.replica)) == (200, RESULT)


async def test_a_connection_that_the_replica_will_close_is_not_used_again() -> None:
    async with scripted(always(answer(RESULT, "Connection: close"))) as up, asking() as asker:
        await asker.ask(server_of(up.replica))
        await asker.ask(server_of(up.replica))
        assert up.connections == 2


async def test_exchanges_side_by_side_have_connections_of_their_own() -> None:
    arrived = asyncio.Semaphore(0)
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.release()
        await go.wait()
        await peer.send(answer())

    async with scripted(script) as up, asking() as asker:
        server = server_of(up.replica)
        tasks = [asyncio.create_task(asker.ask(server)) for _ in range(40)]
        for _ in tasks:
            await asyncio.wait_for(arrived.acquire(), WAIT_S)
        assert asker.client.in_flight(up.replica) == 40
        go.set()
        assert await asyncio.gather(*tasks) == [(200, RESULT)] * 40
        assert asker.client.in_flight(up.replica) == 0


async def test_an_idle_connection_is_given_up_after_its_time() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        server = server_of(up.replica, idle_connection_s=0.1)
        await asker.ask(server)
        await up.script_ended()
        await asker.ask(server)
        assert up.connections == 2


async def test_a_connection_closed_while_idle_is_noticed_before_the_next_request() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        peer.writer.write_eof()
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        for _ in range(3):
            assert (await asker.ask(server_of(up.replica, idle_connection_s=PATIENT_S)))[0] == 200
            await up.script_ended()
        assert up.connections == 3


@pytest.mark.parametrize("surplus", [answer(b'{"evil":1}'), b"garbage", b"HTT"])
async def test_bytes_behind_an_answer_never_become_the_next_answer(surplus: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer() + surplus)
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        for _ in range(3):
            assert await asker.ask(server_of(up.replica, idle_connection_s=PATIENT_S)) == (200, RESULT)
            await up.script_ended()
        assert up.connections == 3


async def test_bytes_that_nobody_asked_for_close_an_idle_connection() -> None:
    speak = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await speak.wait()
        await peer.send(answer(b'{"evil":1}'))
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        server = server_of(up.replica, idle_connection_s=PATIENT_S)
        await asker.ask(server)
        speak.set()
        await up.script_ended()
        assert await asker.ask(server) == (200, RESULT)
        assert up.connections == 2


async def test_a_refused_connect_falls_to_the_next_replica() -> None:
    async with nobody() as dead, scripted(always(answer())) as up, asking() as asker:
        assert await asker.ask(server_of(dead, up.replica)) == (200, RESULT)
        assert asker.observed == [(dead.url, False), (up.replica.url, True)]
        assert asker.client.in_flight(dead) == 0


async def test_no_more_replicas_are_tried_than_attempts_are_allowed() -> None:
    async with nobody() as one, nobody() as two, scripted(always(answer())) as up, asking() as asker:
        with pytest.raises(errors.UpstreamUnreachable) as failure:
            await asker.ask(server_of(one, two, up.replica, retry_attempts=2))
        assert two.url in failure.value.detail
        assert up.connections == 0


async def test_no_replica_at_all_is_unreachable() -> None:
    async with asking() as asker:
        with pytest.raises(errors.UpstreamUnreachable):
            await asker.ask(server_of())


async def test_a_replica_that_wants_tls_is_never_spoken_to_in_the_clear() -> None:
    async with scripted(always(answer())) as up, asking() as asker:
        with pytest.raises(errors.UpstreamUnreachable):
            await asker.ask(server_of(replace(up.replica, is_tls=True), timeouts=QUICK))
        assert not up.asked


@pytest.mark.parametrize("partial", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", answer()[:-1]])
@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_request_that_was_sent_is_never_sent_again(partial: bytes, ending: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await peer.request()
        await peer.send(partial)
        getattr(peer, ending)()

    async with scripted(script) as up, scripted(always(answer())) as other, asking() as asker:
        server = server_of(up.replica, other.replica)
        assert (await asker.ask(server))[0] == 200
        with pytest.raises(errors.OutcomeUnknown) as failure:
            await asker.ask(server)
        assert up.replica.url in failure.value.detail
        assert len(up.asked) == 2
        assert not other.asked
        assert asker.observed == [(up.replica.url, True), (up.replica.url, False)]


@pytest.mark.parametrize("partial", [b"", b"HTTP/1.1 2", answer()[:-1]])
async def test_a_slow_answer_is_a_timeout_and_cuts_the_connection(partial: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(partial)
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        with pytest.raises(errors.UpstreamTimeout) as failure:
            await asker.ask(server_of(up.replica, timeouts=QUICK))
        assert up.replica.url in failure.value.detail
        # An agent could choose slow calls to have a replica ejected.
        assert asker.observed == []
        await up.script_ended()


@pytest.mark.parametrize(("status", "is_ok"), [(500, True), (501, True), (502, False), (503, False), (504, True)])
async def test_a_replica_is_observed_to_fail_where_somebody_before_it_says_so(status: int, is_ok: bool) -> None:
    async with scripted(always(answer(b"{}", status=f"{status} Oops"))) as up, asking() as asker:
        assert await asker.ask(server_of(up.replica)) == (status, b"{}")
        assert asker.observed == [(up.replica.url, is_ok)]


async def test_an_answer_before_the_request_was_read_is_given_and_its_connection_dropped() -> None:
    async def script(peer: Peer) -> None:
        await peer.head_only()
        await peer.send(answer(b"{}", status="413 Too Large"))
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        server = server_of(up.replica, idle_connection_s=PATIENT_S)
        # Far more than the kernel takes without a reader.
        assert (await asker.ask(server, text="x" * (24 << 20)))[0] == 413
        await up.script_ended()
        assert (await asker.ask(server))[0] == 413
        assert up.connections == 2


async def test_a_cancelled_task_closes_its_connection() -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        task = asyncio.create_task(asker.ask(server_of(up.replica)))
        await asyncio.wait_for(arrived.wait(), WAIT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await up.script_ended()
        assert asker.client.in_flight(up.replica) == 0
        assert asker.observed == []


async def test_closing_the_client_fails_what_is_under_way_and_refuses_the_rest() -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.until_closed()

    async with scripted(script) as up, asking() as asker:
        task = asyncio.create_task(asker.ask(server_of(up.replica)))
        await asyncio.wait_for(arrived.wait(), WAIT_S)
        await asyncio.wait_for(asker.client.close(), WAIT_S)
        with pytest.raises(errors.OutcomeUnknown):
            await task
        with pytest.raises(errors.UpstreamUnreachable):
            await asker.ask(server_of(up.replica))
        assert up.connections == 1


async def test_a_header_that_would_break_out_of_its_line_is_not_sent() -> None:
    async with scripted(always(answer())) as up, asking() as asker:
        with pytest.raises(errors.Malformed):
            await asker.ask(server_of(up.replica), headers=(("Mcp-Name", "a\r\nX-Evil: 1"),))
        assert up.connections == 0
        assert asker.client.in_flight(up.replica) == 0


async def test_only_the_headers_that_matter_are_told() -> None:
    fields = ("MCP-SESSION-ID: abc", "Allow: GET", "allow: POST", "Cache-Control:  no-store ", "Set-Cookie: a=b")
    async with scripted(always(answer(RESULT, *fields))) as up, asking() as asker:
        server = server_of(up.replica)
        async with asker.client.send(permitted(server), server.replicas) as reply:
            assert reply.header("Mcp-Session-Id") == "abc"
            assert reply.header("allow") == "GET, POST"
            assert reply.header("cache-control") == "no-store"
            assert reply.header("set-cookie") is None
            assert reply.content_type == "application/json"
            assert not reply.is_stream


async def test_fields_of_an_interim_answer_are_not_those_of_the_final_one() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nMcp-Session-Id: early\r\nAllow: GET\r\n\r\n"
    async with scripted(always(interim + answer(RESULT, "Mcp-Session-Id: late"))) as up, asking() as asker:
        server = server_of(up.replica)
        async with asker.client.send(permitted(server), server.replicas) as reply:
            assert reply.header("mcp-session-id") == "late"
            assert reply.header("allow") is None


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("location", ["/mcp/", "http://{authority}/mcp/", "mcp/"])
async def test_a_redirect_to_the_same_replica_is_followed_with_method_and_body(status: int, location: str) -> None:
    async def script(peer: Peer) -> None:
        while True:
            asked = await peer.request()
            where = location.format(authority=asked.field("host")[0])
            is_there = asked.line.split()[1] == "/mcp/"
            await peer.send(answer() if is_there else answer(b"", f"Location: {where}", status=f"{status} Moved"))

    async with scripted(script) as up, asking() as asker:
        assert await asker.ask(server_of(up.replica)) == (200, RESULT)
        assert [asked.line for asked in up.asked] == ["POST /mcp HTTP/1.1", "POST /mcp/ HTTP/1.1"]
        assert up.asked[0].body == up.asked[1].body
        assert up.connections == 1


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (302, "/mcp/"),
        (303, "/mcp/"),
        (304, "/mcp/"),
        (307, "http://127.0.0.1:1/mcp"),
        (307, "https://{authority}/mcp"),
        (307, "//example.com/mcp"),
        (307, "http://user@{authority}/mcp"),
        (307, "http://[::1/mcp"),
        (307, "/mcp/ HTTP/1.1"),
        (307, ""),
        (307, "/mcp"),
    ],
)
async def test_any_other_redirect_is_a_broken_answer(status: int, location: str) -> None:
    async def script(peer: Peer) -> None:
        while True:
            asked = await peer.request()
            where = location.format(authority=asked.field("host")[0])
            if status == 304:
                await peer.send(f"HTTP/1.1 304 Not Modified\r\nLocation: {where}\r\n\r\n".encode())
            else:
                await peer.send(answer(b"", f"Location: {where}", status=f"{status} Moved"))

    async with scripted(script) as up, asking() as asker:
        with pytest.raises(errors.UpstreamBroken):
            await asker.ask(server_of(up.replica))
        # The last one leads in circles, which is noticed after two steps.
        assert len(up.asked) == (3 if location == "/mcp" else 1)
        assert asker.client.in_flight(up.replica) == 0
