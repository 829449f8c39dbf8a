"""From `state.url` of the configuration to an open `Store`.

Used by the runtime. Knows the form of a URL; what stands behind a scheme is in the
table of `plugins`.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

from openmcp import plugins
from openmcp.state.store import DEADLINE_S, Store

DEFAULT: Final = "sqlite"


class StoreUrl(NamedTuple):
    """`scheme:rest`, or a bare scheme."""

    scheme: str
    rest: str
    """All that stands behind the colon."""


class StoreClass(Protocol):
    """What the table of plugins holds for a scheme."""

    def from_url(self, url: StoreUrl, *, data_dir: Path, clock: Callable[[], float], deadline_s: float) -> Store:
        """Return the store, not yet open. Relative paths count from `data_dir`. Raises: ValueError."""
        ...


_FORM: Final = re.compile(r"([a-z][a-z0-9+.-]*)(?::(.*))?", re.DOTALL)


def parse(url: str) -> StoreUrl:
    """Return the parts of a URL. Raises: ValueError."""
    match = _FORM.fullmatch(url or DEFAULT)
    if match is None:
        raise ValueError("a store is written as `memory:`, `sqlite` or `sqlite:PATH`")
    return StoreUrl(match[1], match[2] or "")


def make_store(
    url: str, data_dir: Path, *, clock: Callable[[], float] = time.time, deadline_s: float = DEADLINE_S
) -> Store:
    """Return the store behind a URL, not yet open.

    Raises: ValueError for a URL that means nothing; plugins.UnknownPlugin for an unknown scheme.
    """
    parts = parse(url)
    return cast("StoreClass", plugins.load("store", parts.scheme)).from_url(
        parts, data_dir=data_dir, clock=clock, deadline_s=deadline_s
    )


async def open_store(url: str, data_dir: Path, *, clock: Callable[[], float] = time.time) -> Store:
    """Return the open store behind a URL. Raises: as `make_store`; StoreUnavailable."""
    store = make_store(url, data_dir, clock=clock)
    await store.open()
    return store
