"""Where configuration comes from: the protocol `ConfigSource`.

Implementations are in `sources/`, named in `plugins`; held by the composition root.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from openmcp.config.loader import Loaded
from openmcp.errors import Misconfigured


class ConfigSource(Protocol):
    """Loads the configuration, and tells when it has become another one."""

    def load(self) -> Loaded:
        """Return the configuration of this moment.

        Raises: Misconfigured with every fault.
        """
        ...

    def changes(self) -> AsyncIterator[Loaded | Misconfigured]:
        """Yield what each change since the last `load` has led to, valid or not, until closed.

        Keeping the last good one is the caller's part. To be iterated once.
        """
        ...
