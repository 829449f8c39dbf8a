"""From records to numbers: what each exchange adds to the metrics.

Asked by the records as exchanges begin and end. Keeps labels bounded: methods that are
not the protocol's, tools that no list has and agents that nobody configured are one
label together.
"""

from collections.abc import Callable
from typing import Final

from openmcp.audit.office import Ended
from openmcp.errors import Unauthenticated
from openmcp.mcp import methods
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent
from openmcp.model.decision import Decision, Effect
from openmcp.model.server import Server
from openmcp.telemetry.metrics import NO_DECISION, OTHER, Metrics

_EFFECTS: Final = {effect: effect.label for effect in Effect}


class Meter:
    """Feeds the metrics of one process."""

    def __init__(self, metrics: Metrics, is_listed: Callable[[Server, Subject], bool]) -> None:
        """`is_listed`: whether the server's own lists hold the subject."""
        self._metrics = metrics
        self._is_listed = is_listed

    def began(self, server: Server) -> None:
        """An exchange has found its server."""
        self._metrics.began(server.name)

    def streaming(self, server: Server) -> None:
        """An event stream to an agent is open."""
        self._metrics.stream_opened(server.name)

    def came(self, server: Server, size: int) -> None:
        """A message of the server has come."""
        self._metrics.message_out(server.name, size)

    def ended(self, record: Ended) -> None:
        """An exchange is over."""
        server = record.server
        if server is None:
            return
        metrics, decision, agent, method = self._metrics, record.decided, record.agent, record.method
        outcome, times = record.outcome, record.steps
        metrics.ended(
            server.name,
            method if method in methods.METHODS or not method else OTHER,
            tool=self._tool(server, record.name) if method == methods.TOOLS_CALL else "",
            agent=_agent(agent) if agent is not None else "",
            decision=_EFFECTS[decision.effect] if decision is not None else NO_DECISION,
            outcome=outcome,
            duration_s=times.duration_s,
            # A stream without a request is all waiting, however long it is.
            upstream_s=times.waited_s if method else times.duration_s,
            request_bytes=record.request_bytes,
        )
        if record.is_stream:
            metrics.stream_closed(server.name)
        if (head_s := times.head_s) is not None:
            metrics.answered(server.name, record.replica, upstream_s=head_s)
        if decision is not None:
            self._decided(decision)
        if agent is not None:
            source = agent.principal.source
            metrics.authenticated(source, "ok" if source else "anonymous")
        elif isinstance(record.refusal, Unauthenticated):
            metrics.authenticated(record.refusal.source, "missing" if record.refusal.is_missing else "invalid")

    def _decided(self, decision: Decision) -> None:
        rule, effect = decision.rule, _EFFECTS[decision.effect]
        self._metrics.decided(rule.policy if rule else "", rule.rule if rule else "", effect=effect)
        for shadow, would in decision.would:
            self._metrics.decided(shadow.policy, shadow.rule, effect=_EFFECTS[would], mode="shadow")

    def _tool(self, server: Server, name: str | None) -> str:
        if name is None:
            return ""
        return name if self._is_listed(server, Subject(SubjectKind.TOOL, name)) else OTHER


def _agent(agent: Agent) -> str:
    return agent.name if agent.is_configured or not agent.principal.source else OTHER
