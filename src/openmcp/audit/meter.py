"""From records to numbers: what each exchange adds to the metrics.

Asked by the records as exchanges begin and end. Keeps labels bounded: methods that are
not the protocol's, tools that no list has and agents that nobody configured are one
label together.
"""

from collections.abc import Callable

from openmcp.audit.exchange import Record
from openmcp.mcp import methods
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent
from openmcp.model.decision import Decision
from openmcp.model.server import Server
from openmcp.telemetry.metrics import NO_DECISION, OTHER, Metrics

_FAILED_LOGIN = "unauthenticated"


class Meter:
    """Feeds the metrics of one process."""

    def __init__(self, metrics: Metrics, is_listed: Callable[[Server, Subject], bool]) -> None:
        """`is_listed`: whether the server's own lists hold the subject."""
        self._metrics = metrics
        self._is_listed = is_listed

    def began(self, server: Server) -> None:
        """An exchange has found its server."""
        self._metrics.began(server.name)

    def ended(self, record: Record) -> None:
        """An exchange is over."""
        server = record.server
        if server is None:
            return
        metrics, decision, waited_s = self._metrics, record.decided, record.upstream_s
        metrics.ended(
            server.name,
            _method(record.method),
            tool=self._tool(server, record),
            agent=_agent(record.agent),
            decision=decision.effect.label if decision is not None else NO_DECISION,
            outcome=record.outcome,
            duration_s=record.duration_s,
            upstream_s=waited_s,
            request_bytes=record.request_bytes,
        )
        if waited_s is not None:
            metrics.answered(server.name, record.replica, upstream_s=waited_s)
        if decision is not None:
            self._decided(decision)
        self._authenticated(record)

    def _decided(self, decision: Decision) -> None:
        rule = decision.rule
        self._metrics.decided(rule.policy if rule else "", rule.rule if rule else "", effect=decision.effect.label)
        for shadow, effect in decision.would:
            self._metrics.decided(shadow.policy, shadow.rule, effect=effect.label, mode="shadow")

    def _authenticated(self, record: Record) -> None:
        if record.agent is not None:
            principal = record.agent.principal
            self._metrics.authenticated(principal.source, "ok" if principal.source else "anonymous")
        elif record.outcome == _FAILED_LOGIN:
            self._metrics.authenticated("", "invalid")

    def _tool(self, server: Server, record: Record) -> str:
        if record.method != methods.TOOLS_CALL or record.name is None:
            return ""
        return record.name if self._is_listed(server, Subject(SubjectKind.TOOL, record.name)) else OTHER


def _method(method: str) -> str:
    return method if not method or methods.lookup(method) is not None else OTHER


def _agent(agent: Agent | None) -> str:
    if agent is None:
        return ""
    return agent.name if agent.is_configured or not agent.principal.source else OTHER
