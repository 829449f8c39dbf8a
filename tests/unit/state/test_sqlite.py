"""What only the SQLite store has to answer for: its file, locks, corruption, and the event loop."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openmcp import plugins
from openmcp.errors import StoreUnavailable
from openmcp.state.opening import StoreUrl, make_store, open_store, parse
from openmcp.state.sqlite import SqliteStore

NS = "sessions"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "data" / "state.db")
    await store.open()
    yield store
    await store.close()


async def test_the_file_and_its_folder_are_private(store: SqliteStore, tmp_path: Path) -> None:
    await store.put(NS, "a", b"1")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    files = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert files == ["state.db", "state.db-shm", "state.db-wal"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()} == {0o600}


async def test_a_locked_file_is_unavailable_within_the_deadline_and_the_loop_goes_on(
    store: SqliteStore, tmp_path: Path
) -> None:
    await store.put(NS, "a", b"1")
    other = sqlite3.connect(tmp_path / "data" / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    turning = asyncio.create_task(turn())
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await store.put(NS, "a", b"2")
    assert time.monotonic() - started < 2.0
    assert turns >= 5
    # Readers are not behind the lock, and the write that nobody waited for did not happen later.
    item = await store.get(NS, "a")
    assert item is not None
    other.execute("ROLLBACK")
    other.close()
    turning.cancel()
    await store.put(NS, "b", b"1")
    item = await store.get(NS, "a")
    assert item is not None
    assert item.value == b"1"


async def test_a_file_locked_altogether_is_unavailable_to_readers_too(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    first = await open_store(f"sqlite:{path}", tmp_path)
    await first.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await open_store(f"sqlite:{path}", tmp_path)
    assert time.monotonic() - started < 5.0
    other.close()


async def test_a_file_that_is_no_database_is_unavailable_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is no database, and it is longer than a header of one hundred bytes. " * 10)
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable):
        await open_store(f"sqlite:{path}", tmp_path)
    assert path.read_bytes() == before


async def test_a_file_damaged_while_it_is_open_is_unavailable_not_wrong(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await open_store(f"sqlite:{path}", tmp_path)
    for n in range(200):
        await store.put(NS, f"k{n:04d}", bytes(1000))
    await store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(bytes(content))
    with pytest.raises(StoreUnavailable):
        await _scan_once(path)


async def _scan_once(path: Path) -> None:
    store = await open_store(f"sqlite:{path}", path.parent)
    try:
        await store.scan(NS)
    finally:
        await store.close()


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        await open_store("sqlite", tmp_path / "file")


async def test_an_answer_that_came_too_late_is_unavailable(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db", deadline_s=0.0)
    await store.open()
    with pytest.raises(StoreUnavailable):
        await store.put(NS, "a", b"1")
    assert (await store.health()).is_ok is False
    await store.close()


async def test_a_cancelled_write_harms_no_other(store: SqliteStore) -> None:
    writes = [asyncio.ensure_future(store.put(NS, f"k{n}", b"1")) for n in range(20)]
    await asyncio.sleep(0)
    writes[3].cancel()
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(result, int) for result in results) == 19


async def test_expired_items_and_markers_are_removed_from_the_file(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    path = tmp_path / "state.db"
    store = SqliteStore(path, clock=lambda: now)
    await store.open()
    for n in range(20):
        await store.put(NS, f"k{n}", b"1", ttl_s=10)
    await store.put(NS, "gone", b"1")
    await store.delete(NS, "gone")
    await store.close()
    now += 100
    # A writer that begins looks for what has expired, after its first write.
    again = SqliteStore(path, clock=lambda: now)
    await again.open()
    await again.put(NS, "new", b"1")
    await again.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT key FROM items").fetchall() == [("new",)]
    db.close()


def test_urls_name_the_scheme_and_the_rest() -> None:
    assert parse("") == parse("sqlite") == StoreUrl("sqlite", "")
    assert parse("memory:") == StoreUrl("memory", "")
    assert parse("sqlite:/var/lib/a:b.db") == StoreUrl("sqlite", "/var/lib/a:b.db")
    for wrong in (":", "SQLITE", "1:x", "a b"):
        with pytest.raises(ValueError, match="a store is written"):
            parse(wrong)


def test_a_url_that_means_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing behind the colon"):
        make_store("memory:x", tmp_path)
    with pytest.raises(plugins.UnknownPlugin):
        make_store("papyrus:scroll", tmp_path)


async def test_a_relative_path_counts_from_the_data_folder(tmp_path: Path) -> None:
    store = await open_store("sqlite:deep/mine.db", tmp_path)
    await store.close()
    assert (tmp_path / "deep" / "mine.db").exists()
