"""How a worker stops: nothing new, what is under way ends, and what does not end is ended cleanly."""

import asyncio
import signal
import sys
import textwrap
import time

import pytest

from openmcp.model.http import Request, Wire
from openmcp.server.limits import ListenerLimits
from openmcp.server.listener import ListenerConfig
from openmcp.server.worker import Worker
from tests.support.edge import JSON, STREAM, WAIT_S, Gate, Recording, connected, edge, eventually, post, within


async def is_refused(worker: Worker) -> bool:
    (host, port), *_ = worker.addresses.values()
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return True
    writer.transport.abort()
    return False


async def test_draining_lets_the_running_exchange_end_and_accepts_nothing_new() -> None:
    gate = Gate()
    async with edge(gate) as worker, connected(worker) as busy, connected(worker) as idle:
        await busy.send(post(b"last"))
        await within(gate.has_begun.wait())
        assert worker.is_ready
        draining = asyncio.create_task(worker.drain())
        await eventually(lambda: not worker.is_ready)
        assert await is_refused(worker)
        assert await idle.rest() == b""
        gate.open.set()
        answer = await busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"last", "close")
        assert await busy.rest() == b""
        await within(draining)
    assert not gate.was_cancelled


async def test_request_that_is_coming_in_while_draining_is_served() -> None:
    async with edge(Recording()) as worker, connected(worker) as client:
        raw = post(b"late")
        await client.send(raw[:30])
        await eventually(lambda: worker.connections == 1)
        await asyncio.sleep(0.05)
        draining = asyncio.create_task(worker.drain())
        await eventually(lambda: not worker.is_ready)
        await client.send(raw[30:])
        answer = await client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"late", "close")
        await within(draining)


async def test_exchange_that_does_not_end_in_time_is_cancelled_as_draining() -> None:
    messages: list[object] = []
    begun = asyncio.Event()

    async def handler(request: Request, wire: Wire) -> None:
        wire.begin(200, STREAM)
        wire.write(b"data: 1\n\n")
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancelled:
            messages.append(cancelled.args[0])
            wire.write(b"data: bye\n\n")
            wire.end()
            raise

    async with edge(handler, drain_timeout_s=0.1) as worker, connected(worker) as client:
        await client.send(post())
        await within(begun.wait())
        await within(worker.drain())
        answer = await client.answer()
    assert answer.body == b"data: 1\n\ndata: bye\n\n"
    assert messages == ["draining"]


async def test_exchange_that_had_not_answered_is_refused_as_draining() -> None:
    gate = Gate()
    async with edge(gate, drain_timeout_s=0.1) as worker, connected(worker) as client:
        await client.send(post())
        await within(gate.has_begun.wait())
        await within(worker.drain())
        answer = await client.answer()
    assert (answer.status, answer.reason) == (503, "draining")
    assert gate.was_cancelled


async def test_address_in_use_by_another_program_is_an_error() -> None:
    taken = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    config = ListenerConfig(name="public", host="127.0.0.1", port=port)
    with pytest.raises(OSError, match="in use"):
        await Worker([config], ListenerLimits(), Recording(), drain_timeout_s=1).start()
    taken.close()


async def test_every_listener_is_bound_and_named() -> None:
    handler = Recording()
    configs = [ListenerConfig(name=name, host=host, port=0) for name, host in (("a", "127.0.0.1"), ("b", "localhost"))]
    worker = Worker(configs, ListenerLimits(), handler, drain_timeout_s=1)
    await worker.start()
    try:
        for host, port in worker.addresses.values():
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(post())
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT_S)
            writer.transport.abort()
    finally:
        await worker.close()
    assert [request.listener for request in handler.requests] == ["a", "b"]


PROGRAM = textwrap.dedent(
    """
    import asyncio
    from openmcp.server.limits import ListenerLimits
    from openmcp.server.listener import ListenerConfig
    from openmcp.server.worker import Worker, run

    async def handler(request, wire):
        wire.begin(200, ())
        wire.write(b"begun")
        await asyncio.sleep(float(request.query))
        wire.end()

    async def main():
        config = ListenerConfig(name="public", host="127.0.0.1", port=0)
        worker = Worker([config], ListenerLimits(tick_s=0.05), handler, drain_timeout_s=20,
                        on_hangup=lambda: print("hangup", flush=True))
        await worker.start()
        print(worker.addresses["public"][1], flush=True)
        await worker.run_until_stopped()
        print("stopped", flush=True)

    run(main())
    """
)


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), WAIT_S)).decode().strip()


@pytest.mark.parametrize(("signals", "takes_s"), [((signal.SIGTERM,), 1.0), ((signal.SIGTERM, signal.SIGINT), 30.0)])
async def test_signals_drain_and_a_second_one_hurries(signals: tuple[signal.Signals, ...], takes_s: float) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, stdout=asyncio.subprocess.PIPE)
    try:
        port = int(await _line(process))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(target=f"/x?{takes_s}"))
        await asyncio.wait_for(reader.readuntil(b"begun"), WAIT_S)
        process.send_signal(signal.SIGHUP)
        assert await _line(process) == "hangup"
        begun = time.monotonic()
        for number in signals:
            process.send_signal(number)
        assert await _line(process) == "stopped"
        assert time.monotonic() - begun < WAIT_S
        assert await asyncio.wait_for(process.wait(), WAIT_S) == 0
        if len(signals) == 1:
            assert (await asyncio.wait_for(reader.read(), WAIT_S)).endswith(b"0\r\n\r\n")
        writer.transport.abort()
    finally:
        if process.returncode is None:
            process.kill()


async def test_answer_under_way_when_the_worker_closes_is_broken_off() -> None:
    gate = Gate()

    async def handler(request: Request, wire: Wire) -> None:
        wire.begin(200, JSON)
        await gate(request, wire)

    async with edge(handler) as worker, connected(worker) as client:
        await client.send(post())
        await within(gate.has_begun.wait())
        await within(worker.close())
        assert worker.connections == worker.exchanges == 0
    assert gate.was_cancelled
