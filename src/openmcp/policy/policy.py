"""The door of this stage: what the gateway asks, in the words of exchanges.

The engine below knows methods and subjects only; here an arrival, an answer or a
stream is put to it.
"""

from collections.abc import Callable

from msgspec.structs import replace

from openmcp.errors import Denied, Dropped, Forbidden, Hidden, OpenMCPError, UnknownMethod
from openmcp.mcp import message as messages
from openmcp.mcp import methods, results
from openmcp.mcp.message import Json, JsonObject, Message
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.decision import Decision, Effect, Permitted
from openmcp.model.server import Server
from openmcp.policy.engine import PolicyEngine
from openmcp.policy.listing import filter_list

Current = Callable[[Permitted], tuple[Agent, Server] | None]
"""Finds the agent and the server of an exchange as they are now; `None` if one of them is gone."""


class Policy:
    """Decides on what goes to a server, and on what comes back."""

    def __init__(self, engine: PolicyEngine, current: Current | None = None) -> None:
        """`current` finds in this snapshot who and what an exchange is about that began under an older one."""
        self.engine = engine
        self._current = current or _as_permitted

    def authorize(self, agent: Agent, server: Server, arrival: Arrival) -> Decision:
        """Return the decision on what an agent asks; GET and DELETE need only some access to the server."""
        if not arrival.method:
            return self.engine.access(agent, server)
        return self.engine.decide(agent, server, method=arrival.method, subject=arrival.subject)

    def enforce(self, decision: Decision, agent: Agent, *, server: Server, arrival: Arrival) -> Arrival:
        """Return what the decision lets go on: subscriptions lose the resources that the agent may not read.

        Raises: the error that tells the agent no more than it may know.
        """
        if not decision.is_allowed:
            raise _refusal(decision, arrival)
        if arrival.message is None or arrival.method != methods.SUBSCRIPTIONS_LISTEN:
            return arrival
        return replace(arrival, message=self._trimmed(agent, server, arrival.message))

    def _trimmed(self, agent: Agent, server: Server, message: Message) -> Message:
        wanted = message.params.get("notifications")
        uris = wanted.get("resourceSubscriptions") if isinstance(wanted, dict) else None
        if not isinstance(wanted, dict) or not isinstance(uris, list):
            return message
        kept = list[Json](uri for uri in uris if isinstance(uri, str) and self._may_read(agent, server, uri))
        trimmed: JsonObject = {**wanted, "resourceSubscriptions": kept}
        return message.with_params({**message.params, "notifications": trimmed})

    def review(self, message: Message, permitted: Permitted) -> Message:
        """Return what the agent may see of a server's message.

        Raises: Dropped if nothing of it; Denied if a result asks what the server may not ask this agent.
        """
        kind = message.kind
        if kind.is_result:
            return self._result(message, permitted)
        if kind.is_reply:
            return message
        agent, server = self._concerned(permitted)
        if kind.is_request and not self._may_ask(agent, server, message.method):
            raise Dropped(f"the server may not ask for {message.method}", answer=declined(message))
        if kind.is_notification and not self._may_be_told(agent, server, message):
            raise Dropped("the notification is unknown, or about what the agent may not read")
        return message

    def require_still(self, permitted: Permitted) -> None:
        """Return if the agent may still use the server of a stream that is open: both are there, and a rule allows it.

        Raises: Forbidden.
        """
        found = self._current(permitted)
        if found is None or not self.engine.may_use(*found):
            raise Forbidden(detail="access was withdrawn while the stream was open")

    def _concerned(self, permitted: Permitted) -> tuple[Agent, Server]:
        # What began is brought to its end, even for an agent or a server that is gone: there is nobody to ask again.
        return self._current(permitted) or _as_permitted(permitted)

    def _result(self, message: Message, permitted: Permitted) -> Message:
        origin, result = permitted.arrival.origin, message.result
        asked = results.input_methods(result)
        listing = methods.listing(origin.method) if origin is not None else methods.listing_by_shape(result or {})
        if not asked and listing is None:
            return message
        agent, server = self._concerned(permitted)
        for method in asked:
            if not self._may_ask(agent, server, method):
                raise Denied(detail=f"the server may not ask this agent for {method or 'an unnamed input'}")
        if listing is None:
            return message
        filtered, _ = filter_list(message, listing, lambda use, subject: self._may(agent, server, use, subject))
        return results.private(filtered)

    def _may_ask(self, agent: Agent, server: Server, method: str) -> bool:
        return self.engine.decide(agent, server, method=method).effect is Effect.ALLOW

    def _may_be_told(self, agent: Agent, server: Server, message: Message) -> bool:
        known = methods.lookup(message.method)
        if known is None or not known.is_notification:
            return False
        if message.method != methods.RESOURCES_UPDATED:
            return True
        uri = message.params.get("uri")
        return isinstance(uri, str) and self._may_read(agent, server, uri)

    def _may_read(self, agent: Agent, server: Server, uri: str) -> bool:
        return self._may(agent, server, methods.RESOURCES_READ, Subject(SubjectKind.RESOURCE, uri))

    def _may(self, agent: Agent, server: Server, method: str, subject: Subject) -> bool:
        return self.engine.decide(agent, server, method=method, subject=subject).is_allowed


def declined(message: Message) -> Message:
    """Return the answer to a server's request that policy does not let through."""
    assert message.id is not None  # a request has an id
    if message.method == methods.ELICITATION_CREATE:
        return messages.result(message.id, {"action": "decline"})
    return messages.error(message.id, Denied.code, Denied.sentence)


def _as_permitted(permitted: Permitted) -> tuple[Agent, Server]:
    assert permitted.agent is not None  # only answers to agents are reviewed
    return permitted.agent, permitted.server


def _refusal(decision: Decision, arrival: Arrival) -> OpenMCPError:
    why = f"denied by {decision.rule or 'default'}"
    if not arrival.method or arrival.method in methods.CONNECTING:
        return Forbidden(detail=why)
    if methods.lookup(arrival.method) is None:
        return UnknownMethod(detail=f"unknown method {arrival.method!r}")
    return Denied(decision.reason, detail=why) if decision.reason else Hidden(detail=why)
