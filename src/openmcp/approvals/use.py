"""One use of a call's grants: held from right before it is sent until it is known whether anything was."""

import asyncio
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from openmcp.approvals.grants import Grants
from openmcp.errors import OpenMCPError, UpstreamUnreachable
from openmcp.model.grant import Grant


class Use(AbstractAsyncContextManager[None]):
    """Reserves on entry; consumes or gives back on exit."""

    def __init__(self, grants: Grants, wanted: Iterable[Grant]) -> None:
        self._grants = grants
        # In one order, so that two calls under the same grants cannot each hold what the other one needs.
        self._wanted = sorted(wanted, key=lambda grant: grant.id)
        self._held: list[tuple[Grant, str]] = []

    async def __aenter__(self) -> None:
        try:
            for grant in self._wanted:
                self._held.append((grant, await self._grants.reserve(grant)))
        except OpenMCPError:
            await self._give_back()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, UpstreamUnreachable):
            # The one failure that says that no byte has reached the server.
            await self._give_back()
            return
        # Also when the agent has left: what was sent was sent.
        await asyncio.shield(self._use_up())

    async def _give_back(self) -> None:
        for grant, reservation in self._held:
            await self._grants.release(grant, reservation)

    async def _use_up(self) -> None:
        for grant, reservation in self._held:
            await self._grants.consume(grant, reservation)
