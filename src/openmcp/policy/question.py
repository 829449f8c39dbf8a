"""One message as conditions see it: its `DecisionInput`, and the engine's scope, made when the first one looks."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from openmcp.language.expressions import Scope
from openmcp.mcp.message import Json
from openmcp.model.facts import DecisionInput


class Response(Protocol):
    """What came back, for conditions about it."""

    @property
    def result(self) -> Json: ...

    @property
    def is_error(self) -> bool: ...

    @property
    def findings(self) -> Mapping[str, int]: ...


class Question:
    """What the conditions of all rules are asked about one message."""

    __slots__ = ("_scope", "asked", "response")

    def __init__(self, asked: DecisionInput, response: Response | None = None) -> None:
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


def _values(asked: DecisionInput, response: Response | None) -> dict[str, Any]:
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
