"""Keeps from agents what a server offers in versions that nobody has accepted; asked by `routing` where pins are on.

Brings together who knows what is accepted (the pinboard) and what is offered (the
catalogues). Servers without pinning never get here.
"""

from typing import Final

from openmcp.errors import Hidden
from openmcp.mcp import methods
from openmcp.mcp.message import Message
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent
from openmcp.model.catalogue import Definition
from openmcp.model.decision import Permitted
from openmcp.model.facts import ToolFacts
from openmcp.model.pin import PinKey, Pinning
from openmcp.model.server import Server
from openmcp.routing.catalogues import Catalogues
from openmcp.routing.pinboard import Pinboard

_JUST_NOW_S: Final = 0.05


class Guard:
    """Judges lists and calls."""

    def __init__(self, pinboard: Pinboard, catalogues: Catalogues) -> None:
        self._pinboard = pinboard
        self._catalogues = catalogues

    def watches(self, server: Server) -> bool:
        """Whether the server's definitions are pinned, by the newest snapshot."""
        return self._pinboard.mode(server.name) is not Pinning.NONE

    def tool(self, server: Server, agent: Agent, subject: Subject) -> ToolFacts:
        """Return what rules may know of the definition of what is used."""
        definition = self._catalogues.definition(server, agent, subject=subject)
        if definition is None:
            return ToolFacts(subject.name)
        is_pinned = self._pinboard.is_pinned(server.name, PinKey(subject.kind.value, subject.name), definition.digest)
        return ToolFacts(subject.name, definition.digest, is_pinned, definition.declared)

    async def ready(self, server: Server) -> None:
        """Make sure that lists and calls can be compared with what is accepted. Raises: StoreUnavailable."""
        await self._pinboard.confirm(server)
        if self._catalogues.is_outdated(server) or not self._pinboard.is_seen(server.name):
            await self._catalogues.refresh_if_due(server)

    async def require(self, server: Server, subject: Subject, definition: Definition | None) -> None:
        """Return if what is used is not kept from agents. Raises: Hidden; StoreUnavailable."""
        if self._is_held(server, subject, definition):
            # Somebody may have accepted it this moment.
            await self._pinboard.confirm(server, within_s=_JUST_NOW_S)
            if self._is_held(server, subject, definition):
                why = f"nobody has accepted the {subject.kind} {subject.name!r:.200} as it is offered now"
                raise Hidden(detail=f"{why}: see `openmcp pin list {server.name}`")

    def sift(self, message: Message, permitted: Permitted) -> Message:
        """Return a result whose lists hold only what is not kept from agents, and learn what they held."""
        origin, result = permitted.arrival.origin, message.result or {}
        if origin is not None and methods.listing(origin.method) is None:
            return message
        self._catalogues.learn_from(message, permitted)
        sifted, replica = result, permitted.arrival.bound_to or ""
        for listing in methods.listings_by_shape(result):
            sifted = self._pinboard.sift(permitted.server.name, listing, sifted, replica=replica)
        return message if sifted is result else message.with_result(sifted)

    def _is_held(self, server: Server, subject: Subject, definition: Definition | None) -> bool:
        name = server.name
        if definition is not None:
            return self._pinboard.is_held(name, PinKey(subject.kind.value, subject.name), definition.digest)
        if subject.kind is not SubjectKind.RESOURCE:
            # What nobody lists cannot be compared.
            return self._pinboard.mode(name) is Pinning.BLOCK
        fitting = self._catalogues.fitting(server, subject)
        return bool(fitting) and all(self._pinboard.is_held(name, PinKey("template", one), None) for one in fitting)
