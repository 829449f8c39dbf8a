"""One message as conditions see it: its `DecisionInput`, and the engine's scope, made when the first one looks."""

from datetime import UTC, datetime, timedelta
from typing import Any

from openmcp.language.expressions import Scope
from openmcp.model.content import ResponseFacts
from openmcp.model.facts import DecisionInput


class Question:
    """What the conditions of all rules are asked about one message."""

    __slots__ = ("_scope", "asked", "response")

    def __init__(self, asked: DecisionInput, response: ResponseFacts | None = None) -> None:
        """`response`: what came back, for conditions about it."""
        self.asked = asked
        self.response = response
        self._scope: Scope | None = None

    @property
    def scope(self) -> Scope:
        """The values as expressions take them."""
        if self._scope is None:
            self._scope = Scope(_values(self.asked, self.response), is_of_response=self.response is not None)
        return self._scope


def _values(asked: DecisionInput, response: ResponseFacts | None) -> dict[str, Any]:
    agent, mcp, tool, request, session = asked.agent, asked.mcp, asked.tool, asked.request, asked.session
    values: dict[str, Any] = {
        "agent.id": agent.id,
        "agent.name": agent.name,
        "agent.groups": [*agent.groups],
        "agent.labels": {**agent.labels},
        "agent.attributes": {**agent.attributes},
        "agent.source": agent.source,
        "agent.trust": agent.trust,
        "server.name": asked.server.name,
        "server.labels": {**asked.server.labels},
        "mcp.method": mcp.method,
        "mcp.kind": mcp.kind,
        "mcp.name": mcp.name,
        "mcp.uri": mcp.uri,
        "mcp.version": mcp.version,
        "tool.name": tool.name,
        "tool.digest": tool.digest,
        "tool.pinned": tool.pinned,
        "tool.declared": {**tool.declared},
        "args": asked.args,
        "request.ip": request.ip,
        "request.headers": {**request.headers},
        "session.id": session.id,
        "session.age": timedelta(seconds=session.age_s),
        "session.calls": session.calls,
        "now": datetime.fromtimestamp(asked.now, UTC),
    }
    if response is not None:
        values["result"] = response.result
        values["isError"] = response.is_error
        values["findings"] = {**response.findings}
    return values
