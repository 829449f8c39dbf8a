"""The codec alone: limits on what it holds, and what comes behind a request."""

import tracemalloc

import pytest

from openmcp.errors import BodyTooLarge, OpenMCPError
from openmcp.model.http import Peer
from openmcp.server.hosts import HostGuard
from openmcp.server.http1 import Arrival, Budget, Http1, Phase, Source
from openmcp.server.limits import MIB, ListenerLimits
from tests.support.edge import post

SOURCE = Source(Peer("127.0.0.1"), "public", "", HostGuard("").check)


def codec(budget: Budget | None = None, **limits: int) -> Http1:
    return Http1(SOURCE, ListenerLimits(**limits), budget or Budget(MIB))


def bodies(http: Http1, data: bytes) -> list[bytes]:
    """Feed everything, and return the bodies of what arrives."""
    found: list[bytes] = []
    while data:
        http.feed(data)
        arrived = http.take()
        if arrived is None:
            break
        assert isinstance(arrived, Arrival)
        found.append(arrived.request.body)
        data, http.rest = http.rest, b""
    return found


def refusal(http: Http1) -> OpenMCPError:
    arrived = http.take()
    assert isinstance(arrived, OpenMCPError)
    return arrived


def test_phase_tells_how_far_the_request_has_come() -> None:
    http = codec()
    phases = []
    for part in (b"POST /x HT", b"TP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n", b"{", b"}"):
        http.feed(part)
        phases.append(http.phase)
    assert phases == [Phase.HEAD, Phase.BODY, Phase.BODY, Phase.IDLE]


def test_requests_in_one_read_are_taken_one_by_one() -> None:
    assert bodies(codec(), post(b"a") + b"\r\n\r\n" + post(b"bb") + post(b"")) == [b"a", b"bb", b""]


def test_request_behind_a_body_that_came_in_pieces_is_found() -> None:
    http = codec()
    http.feed(post(b"0123456789")[:-7])
    http.feed(b"34")
    assert bodies(http, b"56789" + post(b"next")) == [b"0123456789", b"next"]


@pytest.mark.parametrize("cut", range(1, 8))
def test_white_space_at_the_end_of_a_request_is_not_in_front_of_the_next(cut: int) -> None:
    http = codec()
    chunked = post(b"2\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=False)
    for raw in (post(b"{}\n \n\r\n"), chunked, post()):
        http.feed(raw[:-cut])
        assert http.take() is None
        http.feed(raw[-cut:])
        assert isinstance(http.take(), Arrival)


def test_empty_line_between_requests_is_read_alike_wherever_it_is_cut() -> None:
    http = codec()
    assert bodies(http, post(b"a") + b"\r") == [b"a"]
    assert bodies(http, b"\n" + post(b"b")[:-1]) == []
    assert bodies(http, b"\r") == [b"\r"]
    assert bodies(http, post(b"c")) == [b"c"]


def test_second_request_with_another_protocol_is_refused_even_if_the_first_has_its_line() -> None:
    http = codec()
    http.feed(post(b"POST /x HTTP/1.1\r\n") + post(b"a").replace(b"HTTP/1.1", b"RTSP/1.1"))
    assert isinstance(http.take(), Arrival)
    http.feed(http.rest)
    assert refusal(http).kind == "malformed"


def test_connection_ends_behind_chunks_with_more_behind_them() -> None:
    http = codec()
    http.feed(post(b"1\r\na\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=False) + post(b"b"))
    arrived = http.take()
    assert isinstance(arrived, Arrival)
    assert (arrived.request.body, arrived.keeps_alive, http.is_done) == (b"a", False, True)


def test_budget_counts_what_is_held_and_nothing_else() -> None:
    budget = Budget(MIB)
    http = codec(budget)
    http.feed(post(b"x" * 1000)[:-100])
    assert budget.used == 900
    http.feed(b"x" * 100)
    assert budget.used == 1000
    http.close()
    assert budget.used == 0


def test_budget_gets_back_what_a_refused_body_held() -> None:
    budget = Budget(MIB)
    http = codec(budget, request_bytes=1000)
    http.feed(post(b"3e8\r\n" + b"x" * 1000 + b"\r\n", "Transfer-Encoding: chunked", length=False))
    assert budget.used == 1000
    http.feed(b"1\r\nx\r\n")
    assert isinstance(refusal(http), BodyTooLarge)
    assert budget.used == 0


def test_body_in_tiny_chunks_costs_little_more_than_its_size() -> None:
    http = codec(request_bytes=MIB)
    http.feed(post(b"", "Transfer-Encoding: chunked", length=False))
    piece = b"2\r\nab\r\n" * 5000
    tracemalloc.start()
    for _ in range(20):
        http.feed(piece)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    http.feed(b"0\r\n\r\n")
    arrived = http.take()
    assert isinstance(arrived, Arrival)
    assert len(arrived.request.body) == 200_000
    assert most < 800_000


@pytest.mark.parametrize("cut", range(1, 40))
def test_request_line_is_judged_alike_wherever_it_is_cut(cut: int) -> None:
    raw = post(b"a")
    http = codec()
    http.feed(raw[:cut])
    assert bodies(http, raw[cut:]) == [b"a"]


def test_fault_of_our_own_is_not_blamed_on_the_client() -> None:
    def broken(_: object) -> None:
        raise LookupError

    http = Http1(Source(Peer("127.0.0.1"), "public", "", broken), ListenerLimits(), Budget(MIB))
    with pytest.raises(LookupError):
        http.feed(post())
