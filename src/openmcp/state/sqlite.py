"""A `Store` in one SQLite file: durable, shared by the processes of one host.

Reads happen on the event loop (a few microseconds, never behind a lock: the file is in
WAL mode, and a busy database is asked again instead of waited for). Writes go to one
thread that commits them in groups. Versions come from one counter in the file, so they
never repeat; a deleted item leaves a marker for a while, so that watchers in other
processes hear of it.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from openmcp.errors import StoreConflict, StoreUnavailable
from openmcp.state import store
from openmcp.state.grouping import Grouping
from openmcp.state.opening import StoreUrl
from openmcp.state.store import Capabilities, Expected, Health, Item, Page, Store, Version
from openmcp.state.watchers import Watchers

_FILE: Final = "state.db"
_OPEN_S: Final = 2.0
_POLL_S: Final = 0.1
_AGAIN_S: Final = 0.002
_MARKER_S: Final = 60.0
_TIDY_S: Final = 30.0
_TIDY_ROWS: Final = 5_000
_PAGE_BYTES: Final = 1 << 20
"""A page of a scan ends early here, since it is read on the event loop."""

_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS items (
  ns TEXT NOT NULL, key TEXT NOT NULL, value BLOB, version INTEGER NOT NULL, expires_at REAL,
  PRIMARY KEY (ns, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_version ON items (version);
CREATE INDEX IF NOT EXISTS items_expires_at ON items (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 0), n INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES (0, 0);
COMMIT;
"""
_GET: Final = """
SELECT value, version, expires_at FROM items
WHERE ns = ? AND key = ? AND value IS NOT NULL AND (expires_at IS NULL OR expires_at > ?)
"""
_SCAN: Final = """
SELECT key, value, version, expires_at FROM items
WHERE ns = ? AND key > ? AND key >= ? AND value IS NOT NULL AND (expires_at IS NULL OR expires_at > ?)
ORDER BY key LIMIT ?
"""
_CHANGED: Final = "SELECT ns, key, version FROM items WHERE version > ? ORDER BY version LIMIT 1000"
_NEXT: Final = "UPDATE counter SET n = n + 1 RETURNING n"
_SET: Final = "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)"
_TIDY: Final = "DELETE FROM items WHERE (ns, key) IN (SELECT ns, key FROM items WHERE expires_at <= ? LIMIT ?)"


class SqliteStore:
    """Items in a file."""

    capabilities = Capabilities(durable=True, shared=True, push_watch=False)

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, deadline_s: float = store.DEADLINE_S
    ) -> None:
        self._path = path
        self._clock = clock
        self._deadline_s = deadline_s
        self._reader: sqlite3.Connection | None = None
        self._writes = Grouping[_Session]()
        self._watchers = Watchers()
        self._poller: asyncio.Task[None] | None = None
        self._told: Version = 0

    @classmethod
    def from_url(cls, url: StoreUrl, *, data_dir: Path, clock: Callable[[], float], deadline_s: float) -> "SqliteStore":
        """`sqlite` is a file in the data folder, `sqlite:PATH` any other."""
        return cls(data_dir / (url.rest or _FILE), clock=clock, deadline_s=deadline_s)

    async def open(self) -> None:
        try:
            async with asyncio.timeout(_OPEN_S):
                session = await asyncio.to_thread(_Session, self._path, clock=self._clock)
                self._writes.start(session)
                self._reader = await asyncio.to_thread(_connect, self._path, is_read_only=True)
        except (OSError, sqlite3.Error) as error:
            await self.close()
            raise _unavailable(self._path, error) from error

    async def close(self) -> None:
        self._watchers.close()
        if self._poller is not None:
            self._poller.cancel()
            self._poller = None
        await self._writes.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    async def get(self, ns: str, key: str) -> Item | None:
        rows = await self._read(_GET, (ns, key, self._clock()))
        return Item(*rows[0]) if rows else None

    async def put(
        self,
        ns: str,
        key: str,
        value: bytes,
        *,
        ttl_s: float | None = None,
        if_version: Expected = None,
        durable: bool = False,
    ) -> Version:
        store.check(key, value)
        ends = None if ttl_s is None else self._clock() + ttl_s

        def write(session: _Session) -> Version:
            if if_version is not None:
                session.demand(ns, key, if_version)
            return session.set(ns, key, value, ends)

        return await self._writes.submit(write, deadline_s=self._deadline_s, is_durable=durable)

    async def delete(self, ns: str, key: str, *, if_version: Version | None = None) -> bool:
        def write(session: _Session) -> bool:
            if session.demand(ns, key, if_version) is None:
                return False
            session.set(ns, key, None, self._clock() + _MARKER_S)
            return True

        return await self._writes.submit(write, deadline_s=self._deadline_s)

    async def add(self, ns: str, key: str, delta: int, *, ttl_s: float | None = None) -> int:
        store.check(key)
        ends = None if ttl_s is None else self._clock() + ttl_s

        def write(session: _Session) -> int:
            item = session.demand(ns, key, None)
            count = store.counted(item.value if item else None, delta)
            session.set(ns, key, str(count).encode(), item.expires_at if item else ends)
            return count

        return await self._writes.submit(write, deadline_s=self._deadline_s)

    async def scan(self, ns: str, prefix: str = "", *, limit: int = 100, cursor: str | None = None) -> Page:
        store.check_limit(limit)
        found: list[tuple[str, Item]] = []
        size = 0
        for key, *item in await self._read(_SCAN, (ns, cursor or "", prefix, self._clock(), limit + 1)):
            if not key.startswith(prefix):
                break
            if len(found) == limit or size >= _PAGE_BYTES:
                return Page(tuple(found), found[-1][0])
            found.append((key, Item(*item)))
            size += len(item[0])
        return Page(tuple(found), None)

    async def watch(self, ns: str, prefix: str = "") -> AsyncIterator[str]:
        if self._poller is None or self._poller.done():
            [(self._told,)] = await self._read("SELECT n FROM counter", ())
            self._poller = asyncio.create_task(self._poll())
        async with aclosing(self._watchers.watch(ns, prefix)) as hints:
            async for key in hints:
                yield key

    async def health(self) -> Health:
        try:
            await self._read("SELECT 1", ())
            await self._writes.submit(lambda _: None, deadline_s=self._deadline_s)
        except StoreUnavailable as error:
            return Health(False, error.detail)
        return Health(True)

    async def _read(self, query: str, values: tuple[object, ...]) -> list[Any]:
        deadline = time.monotonic() + self._deadline_s
        while True:
            if self._reader is None:
                raise StoreUnavailable(detail="the store is closed")
            try:
                return self._reader.execute(query, values).fetchall()
            except sqlite3.Error as error:
                # Busy while somebody recovers or truncates the log: soon over, or not at all.
                if not _is_busy(error) or time.monotonic() >= deadline:
                    raise _unavailable(self._path, error) from error
            await asyncio.sleep(_AGAIN_S)

    async def _poll(self) -> None:
        """Look for changes of any process, as long as somebody watches."""
        seen = -1
        while True:
            try:
                [(now,)] = await self._read("PRAGMA data_version", ())
                if now != seen:
                    await self._tell()
                seen = now
            except StoreUnavailable:
                # Something may be missed meanwhile, and saying so is all that a hint can do.
                self._watchers.notify_all()
            await asyncio.sleep(_POLL_S)
            if not self._watchers:
                return

    async def _tell(self) -> None:
        while rows := await self._read(_CHANGED, (self._told,)):
            for ns, key, version in rows:
                self._watchers.notify(ns, key)
                self._told = version


class _Session:
    """The connection of the writing thread."""

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._next_tidy = 0.0
        # SQLite gives its other files the same rights.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = _connect(path, is_read_only=False)

    def begin(self, *, is_durable: bool, deadline: float) -> None:
        try:
            # Outside of a transaction, so that it holds for the next one.
            self._db.execute("PRAGMA synchronous = FULL" if is_durable else "PRAGMA synchronous = NORMAL")
        except sqlite3.Error as error:
            raise _unavailable(self._path, error) from error
        while True:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.Error as error:
                if not _is_busy(error) or time.monotonic() >= deadline:
                    raise _unavailable(self._path, error) from error
            # Another process writes. SQLite's own waiting sleeps ever longer, which is unfair to who waits long.
            time.sleep(_AGAIN_S)

    def demand(self, ns: str, key: str, expected: Expected) -> Item | None:
        """Return the live item. Raises: StoreConflict if it is not as expected."""
        row = self._execute(_GET, (ns, key, self._clock())).fetchone()
        item = Item(*row) if row else None
        if not store.admits(expected, item.version if item else None):
            raise StoreConflict
        return item

    def set(self, ns: str, key: str, value: bytes | None, expires_at: float | None) -> Version:
        """Write a value, or the marker of a deleted one, and return its version."""
        version: Version = self._execute(_NEXT, ()).fetchone()[0]
        self._execute(_SET, (ns, key, value, version, expires_at))
        return version

    def commit(self) -> None:
        self._execute("COMMIT", ())

    def roll_back(self) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.Error:
            # Then the transaction was over already.
            return

    def tidy(self) -> None:
        """Remove what has expired, in small portions, so that nobody waits long behind it."""
        if time.monotonic() < self._next_tidy:
            return
        self._next_tidy = time.monotonic() + _TIDY_S
        try:
            self._db.execute(_TIDY, (self._clock(), _TIDY_ROWS))
        except sqlite3.Error:
            # Another process may write just now; it can wait for the next time.
            self.roll_back()

    def close(self) -> None:
        self._db.close()

    def _execute(self, query: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            return self._db.execute(query, values)
        except sqlite3.Error as error:
            raise _unavailable(self._path, error) from error


def _connect(path: Path, *, is_read_only: bool) -> sqlite3.Connection:
    """Return a connection that never waits for others by itself. Raises: sqlite3.Error, StoreUnavailable."""
    db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise StoreUnavailable(detail=f"{path}: this file system cannot hold a shared SQLite file")
        if is_read_only:
            db.execute("PRAGMA query_only = 1")
        else:
            db.executescript(_SCHEMA)
        # A large log is given back to the file system after it was merged.
        db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA busy_timeout = 0")
    except BaseException:
        db.close()
        raise
    return db


def _is_busy(error: sqlite3.Error) -> bool:
    # Errors of the Python module itself have no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _unavailable(path: Path, error: Exception) -> StoreUnavailable:
    return StoreUnavailable(detail=f"{path}: {str(error) or type(error).__name__}")


_: type[Store] = SqliteStore
