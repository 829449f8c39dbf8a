"""An exchange keeps the order of an answer, and always comes to its end."""

import asyncio
from collections.abc import Sequence

import pytest

from openmcp.errors import OpenMCPError
from openmcp.model.http import Peer, Request, Wire
from openmcp.server.exchange import CLIENT_LEFT, DRAINING, Exchange

REQUEST = Request("POST", "/x", {}, b"{}", Peer("127.0.0.1"))


class Outlet:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.has_ended = asyncio.Event()

    def send(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self.told.append(f"send {status}")

    def open(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        self.told.append(f"open {status}")

    def append(self, data: bytes) -> None:
        self.told.append(f"append {data.decode()}")

    async def drain(self) -> None:
        return

    def finish(self) -> None:
        self.told.append("finish")

    def abort(self) -> None:
        self.told.append("abort")

    def turned_away(self, error: OpenMCPError, status: int) -> None:
        self.told.append(f"turned away {error.kind}")

    def exchange_ended(self, exchange: Exchange) -> None:
        self.told.append("ended")
        self.has_ended.set()


async def waits(request: Request, wire: Wire) -> None:
    await asyncio.Event().wait()


async def told(outlet: Outlet) -> list[str]:
    await asyncio.wait_for(outlet.has_ended.wait(), 5)
    await asyncio.sleep(0)
    return outlet.told


async def test_exchange_that_is_cancelled_before_its_first_step_ends_as_well() -> None:
    outlet = Outlet()
    exchange = Exchange(REQUEST, outlet)
    exchange.start(waits, asyncio.get_running_loop())
    exchange.client_left()
    assert await told(outlet) == ["ended"]


async def test_drained_exchange_that_had_not_begun_is_refused() -> None:
    outlet = Outlet()
    exchange = Exchange(REQUEST, outlet)
    exchange.start(waits, asyncio.get_running_loop())
    exchange.cancel(DRAINING)
    # Not a JSON-RPC request that connects: the refusal depends on what was asked.
    assert await told(outlet) == ["turned away draining", "send 503", "ended"]


async def test_exchange_that_is_cancelled_in_the_middle_of_an_answer_breaks_it_off() -> None:
    begun = asyncio.Event()

    async def begins(request: Request, wire: Wire) -> None:
        wire.begin(200, ())
        begun.set()
        await asyncio.Event().wait()

    outlet = Outlet()
    exchange = Exchange(REQUEST, outlet)
    exchange.start(begins, asyncio.get_running_loop())
    await asyncio.wait_for(begun.wait(), 5)
    exchange.cancel(DRAINING)
    assert await told(outlet) == ["open 200", "abort", "ended"]


async def test_nothing_is_written_to_a_client_that_has_left() -> None:
    left = asyncio.Event()

    async def goes_on(request: Request, wire: Wire) -> None:
        wire.outlives_client = True
        await left.wait()
        assert not wire.is_open
        wire.begin(200, ())
        wire.write(b"a")
        await wire.drain()
        wire.end()

    outlet = Outlet()
    exchange = Exchange(REQUEST, outlet)
    exchange.start(goes_on, asyncio.get_running_loop())
    await asyncio.sleep(0)
    exchange.client_left()
    left.set()
    assert await told(outlet) == ["ended"]


async def test_answer_out_of_order_is_a_fault_of_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    async def answers_twice(request: Request, wire: Wire) -> None:
        wire.respond(200, (), b"")
        wire.respond(200, (), b"")

    outlet = Outlet()
    Exchange(REQUEST, outlet).start(answers_twice, asyncio.get_running_loop())
    assert await told(outlet) == ["send 200", "ended"]
    assert "RuntimeError" in caplog.text


def test_cancelling_what_never_started_does_nothing() -> None:
    Exchange(REQUEST, Outlet()).cancel(CLIENT_LEFT)
