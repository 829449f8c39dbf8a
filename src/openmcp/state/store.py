"""A `Store`: bytes under (namespace, key), with versions, lifetimes and compare-and-set.

The interface that every backend implements and that routing and approvals use. The
contract is tests/contract/test_store.py; an implementation is right when it passes.
Knows nothing of what the values mean.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol, TypeAlias

from openmcp import errors

MAX_VALUE_BYTES: Final = 256 * 1024
MAX_KEY_BYTES: Final = 1024
"""Of a key, UTF-8 encoded; namespaces are ours and short."""

MAX_SCAN: Final = 1000
DEADLINE_S: Final = 0.25
"""How long a call may take before it is `StoreUnavailable`, unless the constructor says otherwise."""

Version: TypeAlias = int
"""Changes with every write of a key and never comes back, not even after a delete."""


class Absent(Enum):
    """The type of `ABSENT`, so that a checker tells it from a version."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""For `if_version`: only if no live item is there."""

Expected: TypeAlias = Version | Literal[Absent.ABSENT] | None
"""What a write demands of the item that is there: `None` = nothing."""


@dataclass(frozen=True, slots=True)
class Item:
    """One stored value."""

    value: bytes
    version: Version
    expires_at: float | None
    """Unix seconds; `None` = lives until deleted."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a scan, in the order of keys."""

    items: tuple[tuple[str, Item], ...]
    cursor: str | None
    """Give it to the next `scan`; `None` = this was the last page. Pages may be shorter than asked."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the store answers now."""

    is_ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend promises beyond the interface."""

    durable: bool
    """Survives a restart of the process."""

    shared: bool
    """Other processes see the same items."""

    push_watch: bool
    """Hints come at once, not by polling."""

    max_value_bytes: int = MAX_VALUE_BYTES
    ttl_granularity_s: float = 0.0
    """Lifetimes may end this much late."""

    clock: Literal["caller", "store"] = "caller"
    """Whose clock decides that an item has expired."""


class Store(Protocol):
    """Bytes under (namespace, key). Expired items do not exist for any method.

    Every method but `open` and `close` raises `errors.StoreUnavailable` when the backend
    does not answer within the deadline, or the store is not open. A write that ended so
    may or may not have happened: who must know puts a random token into the value and
    reads again. `ValueError` means a key or value that no store would take.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    async def open(self) -> None:
        """Get ready. Raises: StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Finish accepted writes, wake watchers with their end, release everything. May be repeated."""
        ...

    async def get(self, ns: str, key: str) -> Item | None:
        """Return the live item, or `None`."""
        ...

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
        """Write the value and return its version.

        `ttl_s`: seconds from now until it expires; `None` = never. `durable`: return only when it
        would survive a loss of power, where the backend is able to.
        Raises: StoreConflict when the item is not as `if_version` demands.
        """
        ...

    async def delete(self, ns: str, key: str, *, if_version: Version | None = None) -> bool:
        """Remove the item and return whether there was one.

        Raises: StoreConflict when `if_version` is given and the item is another, or gone.
        """
        ...

    async def add(self, ns: str, key: str, delta: int, *, ttl_s: float | None = None) -> int:
        """Return the counter after adding; an absent one counts from 0.

        `ttl_s` counts from the first `add`: later ones keep the end, so a counter is a fixed window.
        `get` gives it as decimal digits. Raises: StoreConflict when the item is no counter.
        """
        ...

    async def scan(self, ns: str, prefix: str = "", *, limit: int = 100, cursor: str | None = None) -> Page:
        """Return up to `limit` (at most `MAX_SCAN`) items whose key begins with `prefix`."""
        ...

    def watch(self, ns: str, prefix: str = "") -> AsyncIterator[str]:
        """Yield keys that were written or deleted since the first step of the iteration.

        Hints: several changes of a key may come as one, expiry gives none, and an empty string
        says "something changed, look yourself". Ends when the store closes. The watch is in
        force when `__anext__` was awaited once; whoever needs to be sure also polls.
        """
        ...

    async def health(self) -> Health:
        """Return whether the store can be read and written now; never raises."""
        ...


def check(key: str, value: bytes = b"") -> None:
    """Raise `ValueError` for what no store takes."""
    if not key or len(key) > MAX_KEY_BYTES or (not key.isascii() and len(key.encode()) > MAX_KEY_BYTES):
        raise ValueError("a key has 1 to 1024 bytes")
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError("a value has at most 256 KiB")


def check_limit(limit: int) -> None:
    """Raise `ValueError` for a scan that no store makes."""
    if not 1 <= limit <= MAX_SCAN:
        raise ValueError(f"a scan returns 1 to {MAX_SCAN} items")


def counted(value: bytes | None, delta: int) -> int:
    """Return a counter's next value. Raises: StoreConflict when `value` is no counter."""
    if value is None:
        return delta
    try:
        return int(value.decode("ascii")) + delta
    except ValueError:
        raise errors.StoreConflict(detail="the item is not a counter") from None


def admits(expected: Expected, version: Version | None) -> bool:
    """Whether a live item of this version (`None` = there is none) is what a write demands."""
    if expected is None:
        return True
    if expected is ABSENT:
        return version is None
    return expected == version
