"""What changes in a message on its way through: ids and states are opened on the way in and sealed on the way out.

Called by the gateway once per message in each direction. A reply of an agent is taken
only for what a server asked this very agent, and only once.
"""

from collections import OrderedDict

import msgspec

from openmcp.errors import InvalidState, StoreConflict
from openmcp.mcp import methods, results
from openmcp.mcp.message import Id, Message
from openmcp.model.agent import Agent
from openmcp.model.arrival import Once
from openmcp.model.decision import Permitted
from openmcp.model.server import Replica, Server
from openmcp.model.session import Session
from openmcp.routing.seals import Seals
from openmcp.state import keys
from openmcp.state.store import ABSENT, Store

_REPLY_LIFE_S = 86400.0
"""How long a reply is remembered as given, in seconds: as long as a session can live by default."""

_ASKED_LIMIT = 10_000
"""Open server requests remembered for their cancellation, oldest forgotten first."""


class Opened(msgspec.Struct, frozen=True):
    """A message with the upstream's own ids and states in it, and where it must go."""

    message: Message
    method: str
    """The message's own method; for a reply, the method of the request that it answers."""

    bound_to: str | None = None
    round: int = 0
    once: Once | None = None


class Passage:
    """Opens what arrives and seals what leaves."""

    def __init__(self, seals: Seals, store: Store) -> None:
        self.seals = seals
        self._store = store
        self._asked: OrderedDict[tuple[str, str, Id], str] = OrderedDict()

    def open(self, message: Message, server: Server, *, agent: Agent, session: Session | None, name: str) -> Opened:
        """Return a request or notification of an agent with the upstream's own state in it; `name`: what it names.

        A state may be forwarded once, and is used up when it is, whatever comes of it: the gateway cannot tell a
        client that sends a round again after a lost connection from a replay, and the call may have run. Both get
        the same refusal, and begin anew with the first round.

        Raises: InvalidState for a state that the gateway did not seal for this agent and call.
        """
        if session is not None:
            return Opened(message, message.method, session.bound_to)
        if message.kind.is_request:
            opened, state = self.seals.open_state(message, server, agent=agent, name=name)
            if state is not None:
                key = self.seals.claim_key(str(message.params["requestState"]))
                once = Once(keys.ROUNDS, key, self.seals.life_left(state))
                return Opened(opened, message.method, state.replica, state.round, once)
        return Opened(message, message.method)

    def reply(self, message: Message, server: Server, *, agent: Agent, session: Session | None) -> Opened:
        """Return an agent's reply under the id that the server gave to its request.

        Raises: InvalidState if the gateway never asked this, or asked somebody else.
        """
        asked = self.seals.open_request_id(message.id, session, agent, server=server)
        once = Once(keys.REPLIES, self.seals.claim_key(str(message.id)), _REPLY_LIFE_S)
        return Opened(message.with_id(asked.id), asked.method, asked.replica, once=once)

    async def claim(self, once: Once) -> None:
        """Take the one time that something may be sent.

        Raises: InvalidState if it was sent before; StoreUnavailable.
        """
        try:
            await self._store.put(once.namespace, once.key, b"", ttl_s=once.life_s, if_version=ABSENT)
        except StoreConflict:
            raise InvalidState(detail="this was sent before") from None

    def leave(self, message: Message, permitted: Permitted, replica: Replica) -> Message:
        """Return a message of the server as the agent shall see it.

        Raises: Dropped for a request that the agent could not answer; UpstreamBroken for a state that could not come
        back.
        """
        if message.kind.is_request:
            return self._ask(message, permitted, replica)
        if message.kind.is_notification:
            return self._cancel(message, permitted, replica) if message.method == methods.CANCELLED else message
        if permitted.arrival.revision.is_modern and results.asks_for_input(message.result):
            return message.with_result(self.seals.seal_state(message.result, permitted, replica))
        return message

    def _ask(self, message: Message, permitted: Permitted, replica: Replica) -> Message:
        assert message.id is not None  # a request has an id
        sealed = self.seals.request_id(message, permitted, replica)
        self._asked[_asked_key(permitted, replica, message.id)] = sealed
        if len(self._asked) > _ASKED_LIMIT:
            self._asked.popitem(last=False)
        return message.with_id(sealed)

    def _cancel(self, message: Message, permitted: Permitted, replica: Replica) -> Message:
        """Name the request that a server cancels by the id that the agent knows."""
        cancelled = message.params.get("requestId")
        known = _asked_key(permitted, replica, cancelled) if isinstance(cancelled, str | int) else None
        sealed = self._asked.pop(known, None) if known is not None else None
        return message.with_params({**message.params, "requestId": sealed}) if sealed is not None else message


def _asked_key(permitted: Permitted, replica: Replica, request_id: Id) -> tuple[str, str, Id]:
    return (replica.url, permitted.session.id if permitted.session else "", request_id)
