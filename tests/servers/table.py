"""The reference server's tools as one table, filled by decorators.

Used by `suite`, `rounds` and `probes` to name their tools, and by `reference` to
list and call them. Knows the MCP SDK's types and nothing of HTTP.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.servers.journal import Journal

Answer: TypeAlias = types.CallToolResult | types.InputRequiredResult


@dataclass(frozen=True)
class Replica:
    """What every tool of one running server shares."""

    name: str
    pid: int
    journal: Journal
    bus: InMemorySubscriptionBus


@dataclass(frozen=True)
class Call:
    """One `tools/call` as a tool sees it."""

    context: ServerRequestContext[Any, Any]
    params: types.CallToolRequestParams
    replica: Replica

    @property
    def arguments(self) -> Mapping[str, Any]:
        return self.params.arguments or {}

    @property
    def is_modern(self) -> bool:
        return self.context.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def capabilities(self) -> types.ClientCapabilities:
        """What the client declared; nothing, where it declared nothing."""
        return self.context.session.client_capabilities or types.ClientCapabilities()

    def answer(self, key: str) -> types.InputResponse | None:
        """The client's answer to the input request `key` of an earlier round."""
        return (self.params.input_responses or {}).get(key)


Run: TypeAlias = Callable[[Call], Awaitable[Answer]]

NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}


class ToolTable:
    """Tools in the order they were named; the order of a list never changes."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._definitions: dict[str, types.Tool] = {}

    def tool(
        self, name: str, description: str, *, schema: dict[str, Any] | None = None, output: dict[str, Any] | None = None
    ) -> Callable[[Run], Run]:
        """Decorator: list the function as tool `name`."""

        def add(run: Run) -> Run:
            self._definitions[name] = types.Tool(
                name=name, description=description, input_schema=schema or NO_ARGUMENTS, output_schema=output
            )
            self._runs[name] = run
            return run

        return add

    def definitions(self) -> list[types.Tool]:
        return list(self._definitions.values())

    def schema(self, name: str) -> dict[str, Any] | None:
        definition = self._definitions.get(name)
        return definition.input_schema if definition else None

    async def call(self, call: Call) -> Answer:
        """What the tool answers.

        Raises: `MCPError` -32602 for a name that is not in the table.
        """
        run = self._runs.get(call.params.name)
        if run is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {call.params.name}")
        return await run(call)


def strings(*required: str) -> dict[str, Any]:
    """A schema of string arguments, all of them required."""
    return {"type": "object", "properties": {name: {"type": "string"} for name in required}, "required": list(required)}


def text(value: str, *, is_error: bool = False) -> types.CallToolResult:
    """A result of one text block."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=value)], is_error=is_error)


def facts(**values: Any) -> types.CallToolResult:
    """A result whose text is a JSON object, for tests to read back."""
    return text(json.dumps(values, sort_keys=True))


def elicitation(message: str, properties: Mapping[str, Any]) -> types.ElicitRequest:
    """A form that asks for all of `properties`."""
    schema = {"type": "object", "properties": dict(properties), "required": list(properties)}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(prompt: str, *, max_tokens: int = 100) -> types.CreateMessageRequest:
    """A request for one completion of `prompt`."""
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )
