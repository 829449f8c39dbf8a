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
from openmcp.mcp.results import InputRequest
from openmcp.mcp.revisions import Era
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.content import ContentRule
from openmcp.model.decision import Decision, Effect, Permitted
from openmcp.model.server import Server
from openmcp.policy import asking
from openmcp.policy.asking import Asking, Surroundings
from openmcp.policy.engine import PolicyEngine
from openmcp.policy.listing import USE, filter_list

Current = Callable[[Permitted], tuple[Agent, Server] | None]
"""Finds the agent and the server of an exchange as they are now; `None` if one of them is gone."""

_NOTHING_AROUND = Surroundings()


class Policy:
    """Decides on what goes to a server, and on what comes back."""

    def __init__(
        self, engine: PolicyEngine, current: Current | None = None, around: Surroundings = _NOTHING_AROUND
    ) -> None:
        """`current` finds in this snapshot who and what an exchange is about that began under an older one."""
        self.engine = engine
        self._current = current or _as_permitted
        self._around = around

    def authorize(self, agent: Agent, server: Server, arrival: Arrival) -> Decision:
        """Return the decision on what an agent asks; GET and DELETE need only some access to the server."""
        if not arrival.method:
            return self.engine.access(agent, server)
        # A reply was asked for by a server, with arguments of its own: they are not in it.
        return self.engine.decide(
            agent,
            server,
            method=arrival.method,
            subject=arrival.subject,
            asked=asking.of_arrival(self._around, agent, server, arrival),
            knows_arguments=arrival.message is None or not arrival.message.kind.is_reply,
        )

    def response_rules(self, permitted: Permitted) -> tuple[ContentRule, ...]:
        """Return the rules about what comes back on an exchange: those of its decision, or newer ones."""
        decision = permitted.decision
        if decision is None:
            return ()
        if decision.revision != self.engine.revision:
            decision = self._decided_again(permitted) or self.engine.access(*self._concerned(permitted))
        return decision.response_rules

    def content_rules(self, message: Message, permitted: Permitted) -> tuple[ContentRule, ...]:
        """Return the rules about a message towards the agent: what a server asks is a request, and an answer too."""
        rules = self.response_rules(permitted)
        is_request = message.kind.is_request
        asked = (InputRequest(message.method, message.params),) if is_request else results.input_requests(message)
        if not asked:
            return rules
        agent, server = self._concerned(permitted)
        for asks in asked:
            about = self._asking(agent, server, permitted.arrival, method=asks.method, params=asks.params)
            decision = self.engine.decide(agent, server, method=asks.method, asked=about)
            rules += tuple(rule for rule in decision.request_rules if rule not in rules)
        return rules

    def enforce(self, decision: Decision, agent: Agent, *, server: Server, arrival: Arrival) -> Arrival:
        """Return what the decision lets go on: subscriptions lose the resources that the agent may not read.

        Raises: the error that tells the agent no more than it may know.
        """
        if not decision.is_allowed:
            raise self._refusal(decision, agent, server=server, arrival=arrival)
        if arrival.message is None or arrival.method != methods.SUBSCRIPTIONS_LISTEN:
            return arrival
        return replace(arrival, message=self._trimmed(agent, server, arrival, arrival.message))

    def _trimmed(self, agent: Agent, server: Server, arrival: Arrival, message: Message) -> Message:
        wanted = message.params.get("notifications")
        uris = wanted.get("resourceSubscriptions") if isinstance(wanted, dict) else None
        if not isinstance(wanted, dict) or not isinstance(uris, list):
            return message
        kept = list[Json](
            uri
            for uri in uris
            if isinstance(uri, str)
            and self._may_follow(agent, server, methods.SUBSCRIPTIONS_LISTEN, uri=uri, arrival=arrival)
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
                agent, server = self._concerned(permitted)
                refusal = self._refusal(decision, agent, server=server, arrival=permitted.arrival)
                return _withheld(message, permitted, refusal)
        kind = message.kind
        if kind.is_reply:
            return self._reply(message, permitted)
        era = permitted.arrival.revision.era
        agent, server = self._concerned(permitted)
        if kind.is_notification:
            if not self._may_be_told(agent, server, message, arrival=permitted.arrival):
                raise Dropped("the notification is none of a server's, or about what the agent may not read")
            return message
        # In the modern era a server asks in results only, and an agent could not even answer.
        asks = InputRequest(message.method, message.params)
        if era is Era.MODERN or not self._may_ask(agent, server, asks, arrival=permitted.arrival):
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
        agent, server = self._concerned(permitted)
        if arrival.method:
            return self.authorize(agent, server, arrival)
        # A stream that is resumed has the name only.
        subject = methods.subject_of(origin.method, origin.name)
        asked = self._asking(agent, server, arrival, method=origin.method, subject=subject)
        return self.engine.decide(
            agent, server, method=origin.method, subject=subject, asked=asked, knows_arguments=False
        )

    def _reply(self, message: Message, permitted: Permitted) -> Message:
        asked = results.input_requests(message)
        message = results.private(message)
        listings = _listings(message, permitted)
        if not asked and not listings:
            return message
        agent, server = self._concerned(permitted)
        for asks in asked:
            if not self._may_ask(agent, server, asks, arrival=permitted.arrival):
                return _unasked(message, permitted, asks.method)
        for listing in listings:
            message, _ = filter_list(
                message, listing, lambda use, subject, entry: self._shows(agent, server, permitted, use, subject, entry)
            )
        return results.private_list(message, permitted.arrival.revision) if listings else message

    def _shows(
        self, agent: Agent, server: Server, permitted: Permitted, method: str, subject: Subject, entry: JsonObject
    ) -> bool:
        asked = self._asking(agent, server, permitted.arrival, method=method, subject=subject, entry=entry)
        return self.engine.shows(agent, server, method=method, subject=subject, asked=asked)

    def _may_ask(self, agent: Agent, server: Server, asks: InputRequest, *, arrival: Arrival) -> bool:
        method, era = asks.method, arrival.revision.era
        known = methods.lookup(method)
        if known is not None and (known.is_notification or not known.is_sent_by(Sender.SERVER, era)):
            return False
        asked = self._asking(agent, server, arrival, method=method, params=asks.params)
        return self.engine.decide(agent, server, method=method, asked=asked).effect is Effect.ALLOW

    def _may_be_told(self, agent: Agent, server: Server, message: Message, *, arrival: Arrival) -> bool:
        era = arrival.revision.era
        known = methods.lookup(message.method)
        if known is None or not known.is_notification or not known.is_sent_by(Sender.SERVER, era):
            return False
        if message.method != methods.RESOURCES_UPDATED:
            return True
        uri = message.params.get("uri")
        by = methods.SUBSCRIPTIONS_LISTEN if era is Era.MODERN else methods.RESOURCES_SUBSCRIBE
        return isinstance(uri, str) and self._may_follow(agent, server, by, uri=uri, arrival=arrival)

    def _may_follow(self, agent: Agent, server: Server, by: str, *, uri: str, arrival: Arrival) -> bool:
        """Whether the agent may read a resource, and no rule forbids to subscribe to it by this method."""
        subject = Subject(SubjectKind.RESOURCE, uri)

        def decided(method: str) -> Decision:
            asked = self._asking(agent, server, arrival, method=method, subject=subject)
            return self.engine.decide(agent, server, method=method, subject=subject, asked=asked)

        if not decided(methods.RESOURCES_READ).is_allowed:
            return False
        following = decided(by)
        return following.is_allowed or following.rule is None

    def _refusal(self, decision: Decision, agent: Agent, *, server: Server, arrival: Arrival) -> OpenMCPError:
        """Return the error that tells the agent no more than it may know."""
        why = f"denied by {decision.rule or 'default'}"
        if not arrival.method or arrival.method in methods.CONNECTING:
            return Forbidden(detail=why)
        if methods.lookup(arrival.method) is None:
            return UnknownMethod(detail=f"unknown method {arrival.method!r}")
        if decision.reason:
            return Denied(decision.reason, detail=why)
        # What the agent can see in a list is refused for its arguments, and is never unknown.
        return Denied(detail=why) if self._is_listed(decision, agent, server, arrival) else Hidden(detail=why)

    def _is_listed(self, decision: Decision, agent: Agent, server: Server, arrival: Arrival) -> bool:
        subject = arrival.subject
        if decision.input is None or subject is None:
            return False
        use = USE[subject.kind]
        asked = self._asking(agent, server, arrival, method=use, subject=subject)
        return self.engine.shows(agent, server, method=use, subject=subject, asked=asked)

    def _asking(
        self,
        agent: Agent,
        server: Server,
        arrival: Arrival,
        *,
        method: str,
        subject: Subject | None = None,
        params: JsonObject | None = None,
        entry: JsonObject | None = None,
    ) -> Asking:
        return Asking(
            self._around,
            agent,
            server,
            arrival=arrival,
            method=method,
            subject=subject,
            message=params,
            entry=entry,
        )


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


def _withheld(message: Message, permitted: Permitted, refusal: OpenMCPError) -> Message:
    """Say no to what belongs to a call that a newer rule denies."""
    if message.kind.is_reply:
        return _refused(message, permitted, refusal)
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
