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
from openmcp.mcp.methods import Listing, Sender, Subject, SubjectKind
from openmcp.mcp.revisions import Era
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
        kept = list[Json](
            uri
            for uri in uris
            if isinstance(uri, str) and self._may_follow(agent, server, methods.SUBSCRIPTIONS_LISTEN, uri=uri)
        )
        trimmed: JsonObject = {**wanted, "resourceSubscriptions": kept}
        return message.with_params({**message.params, "notifications": trimmed})

    def review(self, message: Message, permitted: Permitted) -> Message:
        """Return what the agent may see of a server's message.

        Raises: Dropped if nothing of it; the refusal of the call, if a newer rule denies it or its answer asks what the
        server may not ask this agent.
        """
        if permitted.decision is not None and permitted.decision.revision != self.engine.revision:
            decision = self._decided_again(permitted)
            if decision is not None and not decision.is_allowed:
                return _withheld(message, permitted, decision)
        kind = message.kind
        if kind.is_reply:
            return self._reply(message, permitted)
        era = permitted.arrival.revision.era
        agent, server = self._concerned(permitted)
        if kind.is_notification:
            if not self._may_be_told(agent, server, message, era=era):
                raise Dropped("the notification is none of a server's, or about what the agent may not read")
            return message
        # In the modern era a server asks in results only, and an agent could not even answer.
        if era is Era.MODERN or not self._may_ask(agent, server, message.method, era=era):
            raise Dropped(f"the server may not ask for {message.method}", answer=declined(message, era))
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

    def _decided_again(self, permitted: Permitted) -> Decision | None:
        """Return what is decided now on the call that a message belongs to; `None` on a stream of no call."""
        arrival, origin = permitted.arrival, permitted.arrival.origin
        if origin is None:
            return None
        # A stream that is resumed has the name only.
        subject = arrival.subject if arrival.method else methods.subject_of(origin.method, origin.name)
        agent, server = self._concerned(permitted)
        return self.engine.decide(agent, server, method=origin.method, subject=subject)

    def _reply(self, message: Message, permitted: Permitted) -> Message:
        asked = results.input_methods(message)
        message = results.private(message)
        listings = _listings(message, permitted)
        if not asked and not listings:
            return message
        agent, server = self._concerned(permitted)
        for method in asked:
            if not self._may_ask(agent, server, method, era=Era.MODERN):
                return _unasked(message, permitted, method)
        for listing in listings:
            message, _ = filter_list(message, listing, lambda use, subject: self._may(agent, server, use, subject))
        return results.private_list(message, permitted.arrival.revision) if listings else message

    def _may_ask(self, agent: Agent, server: Server, method: str, *, era: Era) -> bool:
        known = methods.lookup(method)
        if known is not None and (known.is_notification or not known.is_sent_by(Sender.SERVER, era)):
            return False
        return self.engine.decide(agent, server, method=method).effect is Effect.ALLOW

    def _may_be_told(self, agent: Agent, server: Server, message: Message, *, era: Era) -> bool:
        known = methods.lookup(message.method)
        if known is None or not known.is_notification or not known.is_sent_by(Sender.SERVER, era):
            return False
        if message.method != methods.RESOURCES_UPDATED:
            return True
        uri = message.params.get("uri")
        by = methods.SUBSCRIPTIONS_LISTEN if era is Era.MODERN else methods.RESOURCES_SUBSCRIBE
        return isinstance(uri, str) and self._may_follow(agent, server, by, uri=uri)

    def _may_follow(self, agent: Agent, server: Server, by: str, *, uri: str) -> bool:
        """Whether the agent may read a resource, and no rule forbids to subscribe to it by this method."""
        subject = Subject(SubjectKind.RESOURCE, uri)
        if not self._may(agent, server, methods.RESOURCES_READ, subject):
            return False
        decision = self.engine.decide(agent, server, method=by, subject=subject)
        return decision.is_allowed or decision.rule is None

    def _may(self, agent: Agent, server: Server, method: str, subject: Subject) -> bool:
        return self.engine.decide(agent, server, method=method, subject=subject).is_allowed


def declined(message: Message, era: Era) -> Message | None:
    """Return the answer to a server's request that does not go on; `None` where nobody can answer it."""
    assert message.id is not None  # a request has an id
    if era is Era.MODERN:
        return None
    if message.method == methods.ELICITATION_CREATE:
        return messages.result(message.id, {"action": "decline"})
    known = methods.lookup(message.method)
    refused: type[OpenMCPError] = Denied
    if known is None or known.is_notification or not known.is_sent_by(Sender.SERVER, era):
        refused = UnknownMethod
    return messages.error(message.id, refused.code, refused.sentence)


def _listings(message: Message, permitted: Permitted) -> tuple[Listing, ...]:
    """Return how a reply is read as a list: by its shape, unless its request was for something else."""
    origin = permitted.arrival.origin
    if message.result is None or (origin is not None and methods.listing(origin.method) is None):
        return ()
    return methods.listings_by_shape(message.result)


def _withheld(message: Message, permitted: Permitted, decision: Decision) -> Message:
    """Say no to what belongs to a call that a newer rule denies."""
    if message.kind.is_reply:
        return _refused(message, permitted, _refusal(decision, permitted.arrival))
    why = "belongs to a call that is denied by now"
    raise Dropped(why, answer=declined(message, permitted.arrival.revision.era) if message.kind.is_request else None)


def _unasked(message: Message, permitted: Permitted, method: str) -> Message:
    why = f"the server may not ask this agent for {method or 'an unnamed input'}"
    return _refused(message, permitted, Denied(detail=why))


def _refused(message: Message, permitted: Permitted, error: OpenMCPError) -> Message:
    """Raise the error where the request is at hand; on a stream that was resumed, return an answer that says no."""
    if permitted.message is not None:
        raise error
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
