"""What every state store promises; one suite, run on each of them."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from openmcp.errors import StoreConflict, StoreUnavailable
from openmcp.state.opening import make_store
from openmcp.state.store import ABSENT, MAX_SCAN, MAX_VALUE_BYTES, Item, Store

BOUND_S = 20.0
NS = "sessions"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Place:
    """Where one test keeps its state; opens as many stores on it as asked."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.clock = Clock()
        self.stores: list[Store] = []

    async def open(self) -> Store:
        store = make_store(self.url, self.folder, clock=self.clock, deadline_s=BOUND_S)
        await store.open()
        self.stores.append(store)
        return store


ALL = ["memory:", "sqlite"]
SHARED = ["sqlite"]
"""Stores that several processes see, and that survive their end; asserted below, so that no store hides here."""


@pytest.fixture(params=ALL)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(request.param, tmp_path / "data")
    yield place
    for store in place.stores:
        await store.close()


@pytest.fixture
async def store(place: Place) -> Store:
    return await place.open()


async def bounded(waiting: Awaitable[object]) -> object:
    return await asyncio.wait_for(waiting, BOUND_S)


async def test_a_store_says_truly_whether_others_see_its_items(place: Place) -> None:
    store = await place.open()
    assert (store.capabilities.shared and store.capabilities.durable) == (place.url in SHARED)


# ------------------------------------------------------------ values and versions


async def test_what_was_put_is_there_and_what_was_not_is_not(store: Store) -> None:
    version = await store.put(NS, "a", b"\x00value")
    assert await store.get(NS, "a") == Item(b"\x00value", version, None)
    assert await store.get(NS, "b") is None
    assert await store.get("other", "a") is None


async def test_an_empty_value_is_a_value(store: Store) -> None:
    await store.put(NS, "a", b"")
    item = await store.get(NS, "a")
    assert item is not None
    assert item.value == b""


async def test_every_write_gives_another_version_even_after_a_delete(store: Store) -> None:
    versions = []
    for _ in range(3):
        versions.append(await store.put(NS, "a", b"1"))
        versions.append(await store.put(NS, "a", b"1"))
        await store.delete(NS, "a")
    assert len(set(versions)) == 6


async def test_put_with_the_version_it_read_replaces_and_with_an_older_one_conflicts(store: Store) -> None:
    first = await store.put(NS, "a", b"1")
    second = await store.put(NS, "a", b"2", if_version=first)
    with pytest.raises(StoreConflict):
        await store.put(NS, "a", b"3", if_version=first)
    assert await store.get(NS, "a") == Item(b"2", second, None)


async def test_put_with_a_version_conflicts_where_nothing_is(store: Store) -> None:
    version = await store.put(NS, "a", b"1")
    await store.delete(NS, "a")
    with pytest.raises(StoreConflict):
        await store.put(NS, "a", b"2", if_version=version)
    assert await store.get(NS, "a") is None


async def test_put_if_absent_creates_once(store: Store) -> None:
    await store.put(NS, "a", b"1", if_version=ABSENT)
    with pytest.raises(StoreConflict):
        await store.put(NS, "a", b"2", if_version=ABSENT)
    await store.delete(NS, "a")
    await store.put(NS, "a", b"3", if_version=ABSENT)
    item = await store.get(NS, "a")
    assert item is not None
    assert item.value == b"3"


async def test_a_conflict_does_not_undo_what_is_written_beside_it(store: Store) -> None:
    await store.put(NS, "taken", b"1")
    results = await asyncio.gather(
        store.put(NS, "x", b"x"),
        store.put(NS, "taken", b"2", if_version=ABSENT),
        store.put(NS, "y", b"y"),
        return_exceptions=True,
    )
    assert isinstance(results[1], StoreConflict)
    assert await store.get(NS, "x") is not None
    assert await store.get(NS, "y") is not None


async def test_delete_says_whether_there_was_something(store: Store) -> None:
    await store.put(NS, "a", b"1")
    assert await store.delete(NS, "a") is True
    assert await store.delete(NS, "a") is False
    assert await store.get(NS, "a") is None


async def test_delete_with_another_version_conflicts_and_keeps_the_item(store: Store) -> None:
    first = await store.put(NS, "a", b"1")
    second = await store.put(NS, "a", b"2")
    with pytest.raises(StoreConflict):
        await store.delete(NS, "a", if_version=first)
    assert await store.get(NS, "a") is not None
    assert await store.delete(NS, "a", if_version=second) is True
    with pytest.raises(StoreConflict):
        await store.delete(NS, "a", if_version=second)


async def test_the_longest_value_fits_and_a_longer_one_is_refused(store: Store) -> None:
    longest = bytes(MAX_VALUE_BYTES)
    await store.put(NS, "a", longest)
    item = await store.get(NS, "a")
    assert item is not None
    assert item.value == longest
    with pytest.raises(ValueError, match="256 KiB"):
        await store.put(NS, "a", longest + b"1")


@pytest.mark.parametrize("key", ["", "k" * 1025, "ü" * 513])
async def test_a_key_that_no_store_takes_is_refused(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="a key has"):
        await store.put(NS, key, b"1")


async def test_keys_are_compared_exactly(store: Store) -> None:
    await store.put(NS, "Ä%_", b"1")
    assert await store.get(NS, "ä%_") is None
    assert await store.get(NS, "Ä%_") is not None
    assert [key for key, _ in (await store.scan(NS, "Ä%")).items] == ["Ä%_"]


# ------------------------------------------------------------ races


async def test_of_fifty_racers_one_creates(store: Store) -> None:
    racers = [store.put(NS, "a", b"%d" % n, if_version=ABSENT) for n in range(50)]
    results = await asyncio.gather(*racers, return_exceptions=True)
    won = [n for n, result in enumerate(results) if isinstance(result, int)]
    assert len(won) == 1
    item = await store.get(NS, "a")
    assert item is not None
    assert item.value == b"%d" % won[0]
    assert sum(isinstance(result, StoreConflict) for result in results) == 49


@pytest.mark.parametrize("place", SHARED, indirect=True)
async def test_of_fifty_racers_over_two_stores_one_replaces(place: Place) -> None:
    first = await place.open()
    second = await place.open()
    version = await first.put(NS, "a", b"0")
    racers = [(first, second)[n % 2].put(NS, "a", b"%d" % n, if_version=version) for n in range(50)]
    results = await asyncio.gather(*racers, return_exceptions=True)
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, StoreConflict) for result in results) == 49


async def test_of_twenty_deletions_one_finds_something(store: Store) -> None:
    await store.put(NS, "a", b"1")
    assert sum(await asyncio.gather(*(store.delete(NS, "a") for _ in range(20)))) == 1


async def test_counting_together_loses_nothing(store: Store) -> None:
    counts = await asyncio.gather(*(store.add(NS, "n", 1) for _ in range(100)))
    assert sorted(counts) == list(range(1, 101))


# ------------------------------------------------------------ counters


async def test_a_counter_begins_at_zero_and_goes_both_ways(store: Store) -> None:
    assert await store.add(NS, "n", 5) == 5
    assert await store.add(NS, "n", -7) == -2
    item = await store.get(NS, "n")
    assert item is not None
    assert item.value == b"-2"


async def test_a_counter_keeps_the_end_of_its_first_addition(place: Place, store: Store) -> None:
    await store.add(NS, "n", 1, ttl_s=10)
    place.clock.now += 6
    assert await store.add(NS, "n", 1, ttl_s=10) == 2
    place.clock.now += 6
    assert await store.add(NS, "n", 1, ttl_s=10) == 1


async def test_adding_to_something_else_than_a_counter_conflicts(store: Store) -> None:
    await store.put(NS, "a", b"text")
    with pytest.raises(StoreConflict):
        await store.add(NS, "a", 1)
    item = await store.get(NS, "a")
    assert item is not None
    assert item.value == b"text"


# ------------------------------------------------------------ lifetimes


async def test_an_expired_item_does_not_exist_for_any_method(place: Place, store: Store) -> None:
    version = await store.put(NS, "a", b"1", ttl_s=10)
    item = await store.get(NS, "a")
    assert item is not None
    assert item.expires_at == place.clock.now + 10
    place.clock.now += 9.5
    assert await store.get(NS, "a") is not None
    place.clock.now += 0.5
    assert await store.get(NS, "a") is None
    assert (await store.scan(NS)).items == ()
    assert await store.delete(NS, "a") is False
    with pytest.raises(StoreConflict):
        await store.put(NS, "a", b"2", if_version=version)
    await store.put(NS, "a", b"2", if_version=ABSENT)


async def test_a_put_without_lifetime_takes_the_old_end_away(place: Place, store: Store) -> None:
    await store.put(NS, "a", b"1", ttl_s=10)
    await store.put(NS, "a", b"2")
    place.clock.now += 1e9
    assert await store.get(NS, "a") is not None


async def test_many_expired_items_do_not_hide_the_living(place: Place, store: Store) -> None:
    await asyncio.gather(*(store.put(NS, f"old{n}", b"1", ttl_s=1) for n in range(300)))
    place.clock.now += 2
    await asyncio.gather(*(store.put(NS, f"new{n}", b"1", ttl_s=1) for n in range(300)))
    page = await store.scan(NS, limit=MAX_SCAN)
    assert {key for key, _ in page.items} == {f"new{n}" for n in range(300)}


# ------------------------------------------------------------ scans


async def test_a_scan_gives_each_item_once_in_order_over_pages(store: Store) -> None:
    keys = [f"p{n:03d}" for n in range(25)]
    for key in [*keys, "o", "q", "P000"]:
        await store.put(NS, key, key.encode())
    await store.put("other", "p000", b"")
    found: list[str] = []
    cursor, pages = None, 0
    while True:
        page = await store.scan(NS, "p", limit=10, cursor=cursor)
        found += [key for key, item in page.items if item.value == key.encode()]
        pages += 1
        cursor = page.cursor
        if cursor is None:
            break
    assert found == keys
    assert pages == 3


async def test_a_scan_that_ends_with_its_page_has_no_cursor(store: Store) -> None:
    for n in range(10):
        await store.put(NS, f"k{n}", b"1")
    page = await store.scan(NS, limit=10)
    assert len(page.items) == 10
    assert page.cursor is None


async def test_a_scan_of_large_values_still_reaches_all(store: Store) -> None:
    for n in range(10):
        await store.put(NS, f"k{n}", bytes(MAX_VALUE_BYTES))
    found, cursor = 0, None
    while True:
        page = await store.scan(NS, limit=100, cursor=cursor)
        found += len(page.items)
        cursor = page.cursor
        if cursor is None:
            break
    assert found == 10


@pytest.mark.parametrize("limit", [0, -1, MAX_SCAN + 1])
async def test_a_scan_without_sensible_limit_is_refused(store: Store, limit: int) -> None:
    with pytest.raises(ValueError, match="a scan returns"):
        await store.scan(NS, limit=limit)


# ------------------------------------------------------------ watches


async def _begun() -> None:
    """Let a watch take its first step: from then on it is in force."""
    for _ in range(3):
        await asyncio.sleep(0)


async def _hinted(store: Store, prefix: str, act: Callable[[], Awaitable[object]]) -> str:
    hints = aiter(store.watch(NS, prefix))
    first = asyncio.ensure_future(anext(hints))
    try:
        await _begun()
        await act()
        return str(await bounded(first))
    finally:
        first.cancel()


@pytest.mark.parametrize("act", ["put", "delete", "add"])
async def test_a_watch_hears_of_every_kind_of_change(store: Store, act: str) -> None:
    if act == "delete":
        await store.put(NS, "w1", b"1")
    acts: dict[str, Callable[[], Awaitable[object]]] = {
        "put": lambda: store.put(NS, "w1", b"1"),
        "delete": lambda: store.delete(NS, "w1"),
        "add": lambda: store.add(NS, "w1", 1),
    }
    assert await _hinted(store, "w", acts[act]) in ("w1", "")


@pytest.mark.parametrize("place", SHARED, indirect=True)
async def test_a_watch_hears_of_changes_through_another_store(place: Place) -> None:
    watching = await place.open()
    writing = await place.open()
    assert await _hinted(watching, "w", lambda: writing.put(NS, "w1", b"1")) in ("w1", "")


async def test_a_watch_hears_nothing_of_other_prefixes(store: Store) -> None:
    async def act() -> None:
        await store.put(NS, "v1", b"1")
        await store.put("other", "w1", b"1")
        await store.put(NS, "w2", b"1")

    assert await _hinted(store, "w", act) in ("w2", "")


async def test_a_watch_ends_when_the_store_closes(store: Store) -> None:
    async def read() -> list[str]:
        return [key async for key in store.watch(NS)]

    reading = asyncio.ensure_future(read())
    await _begun()
    await store.close()
    await bounded(asyncio.wait([reading]))
    assert reading.done()
    assert reading.exception() is None or isinstance(reading.exception(), StoreUnavailable)


# ------------------------------------------------------------ life cycle


async def test_a_store_that_is_not_open_is_unavailable(place: Place) -> None:
    store = await place.open()
    await store.close()
    await store.close()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.get(NS, "a"),
        lambda: store.put(NS, "a", b"1"),
        lambda: store.delete(NS, "a"),
        lambda: store.add(NS, "a", 1),
        lambda: store.scan(NS),
        lambda: anext(aiter(store.watch(NS))),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await bounded(call())
    assert (await store.health()).is_ok is False


async def test_an_open_store_is_healthy(store: Store) -> None:
    assert (await store.health()).is_ok is True


@pytest.mark.parametrize("place", SHARED, indirect=True)
async def test_what_was_accepted_before_a_close_is_kept(place: Place) -> None:
    store = await place.open()
    writes = [asyncio.ensure_future(store.put(NS, f"k{n}", b"1", durable=n == 5)) for n in range(20)]
    await asyncio.gather(*writes)
    await store.close()
    again = await place.open()
    assert len((await again.scan(NS)).items) == 20


# ------------------------------------------------------------ several processes


def _count(url: str, folder: str, times: int) -> None:
    """Add one, `times` times, by reading and writing back."""

    async def main() -> None:
        store = make_store(url, Path(folder), deadline_s=BOUND_S)
        await store.open()
        done = 0
        while done < times:
            item = await store.get(NS, "n")
            value = int(item.value) + 1 if item else 1
            try:
                await store.put(NS, "n", b"%d" % value, if_version=item.version if item else ABSENT)
                done += 1
            except StoreConflict:
                continue
        await store.close()

    asyncio.run(main())


def _write_for_ever(url: str, folder: str, pipe: Connection) -> None:
    """Put one key after the other, and say each one that is durable."""

    async def main() -> None:
        store = make_store(url, Path(folder), deadline_s=BOUND_S)
        await store.open()
        n = 0
        while True:
            await store.put(NS, f"k{n}", b"%d" % n, durable=True)
            pipe.send_bytes(b"%d" % n)
            n += 1

    asyncio.run(main())


def _rest(reading: Connection) -> int:
    """Return how many messages are left until the end."""
    count = 0
    with reading:
        while True:
            try:
                reading.recv_bytes()
            except EOFError:
                return count
            count += 1


@pytest.mark.parametrize("place", SHARED, indirect=True)
async def test_four_processes_lose_no_update(place: Place) -> None:
    store = await place.open()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(place.url, str(place.folder), 100)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        await asyncio.to_thread(worker.join, 40)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    item = await store.get(NS, "n")
    assert item is not None
    assert item.value == b"400"


@pytest.mark.parametrize("place", SHARED, indirect=True)
async def test_a_killed_writer_leaves_all_it_has_confirmed(place: Place) -> None:
    store = await place.open()
    context = multiprocessing.get_context("spawn")
    reading, writing = context.Pipe(duplex=False)
    worker = context.Process(target=_write_for_ever, args=(place.url, str(place.folder), writing))
    worker.start()
    writing.close()
    for _ in range(50):
        await bounded(asyncio.to_thread(reading.recv_bytes))
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    await asyncio.to_thread(worker.join, BOUND_S)
    confirmed = 50 + _rest(reading)
    # The file serves those who were there, and those who come.
    for each in (store, await place.open()):
        found = 0
        while await each.get(NS, f"k{found}") is not None:
            found += 1
        assert found >= confirmed
        await each.put(NS, "after", b"1")
