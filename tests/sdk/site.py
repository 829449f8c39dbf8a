"""Where the SDK tests send their clients: the gateway with two replicas behind it, or one replica itself.

Used by the fixtures of this folder. `OPENMCP_TARGET=direct` takes the server alone, which
proves that a test asks for nothing that the server does not do by itself; tests about
replicas, policy and refusals need the gateway and are skipped then.
"""

import asyncio
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.gateway import Gateway
from tests.support.servers import Backend

IS_DIRECT = os.environ.get("OPENMCP_TARGET") == "direct"


@dataclass(frozen=True)
class Site:
    """One address for clients, and the replicas that it may lead to."""

    url: str
    replicas: Sequence[Backend]
    gateway: Gateway | None = None

    async def where(self, kind: str, tag: str) -> Backend:
        """The replica where a call with this tag came to that; there must be exactly one."""
        answers = [asyncio.ensure_future(backend.saw(kind, tag)) for backend in self.replicas]
        await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        for task in answers:
            task.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
        found = [backend for backend in self.replicas if await backend.has_seen(kind, tag)]
        assert len(found) == 1, f"{kind} {tag} was seen by {[backend.name for backend in found]}"
        return found[0]

    async def was_seen(self, kind: str, tag: str) -> bool:
        """Whether any replica has come to that by now."""
        return any([await backend.has_seen(kind, tag) for backend in self.replicas])

    async def open_gate(self, tag: str) -> None:
        """Let the tool go on, wherever it holds."""
        for backend in self.replicas:
            await backend.open_gate(tag)


def new_tag(what: str) -> str:
    """A name that no other call has."""
    return f"{what}-{uuid.uuid4().hex[:12]}"
