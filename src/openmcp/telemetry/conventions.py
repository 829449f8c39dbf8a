"""Names of spans, events and attributes, as OpenTelemetry has them; spelled once, because they still change.

Sources: OpenTelemetry semantic conventions for MCP (development, last whole text in 1.41.1), for HTTP and for errors;
what is ours begins with `openmcp.`.
"""

from typing import Final

METHOD: Final = "mcp.method.name"
PROTOCOL_VERSION: Final = "mcp.protocol.version"
SESSION: Final = "mcp.session.id"
"""A keyed digest here: the id itself is a bearer secret."""

TOOL: Final = "gen_ai.tool.name"
PROMPT: Final = "gen_ai.prompt.name"
RESOURCE: Final = "mcp.resource.uri"
OPERATION: Final = "gen_ai.operation.name"
EXECUTE_TOOL: Final = "execute_tool"
HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
PEER: Final = "client.address"
UPSTREAM_HOST: Final = "server.address"
UPSTREAM_PORT: Final = "server.port"
ERROR: Final = "error.type"
TOOL_ERROR: Final = "tool_error"
"""Value of `error.type` for a tool result with `isError`."""

SERVER: Final = "openmcp.server"
AGENT: Final = "openmcp.agent"
EXCHANGE: Final = "openmcp.exchange"
"""The exchange's id in the audit log."""

EFFECT: Final = "openmcp.decision.effect"
RULE: Final = "openmcp.decision.rule"
POLICY: Final = "openmcp.decision.policy"

DECISION_EVENT: Final = "openmcp.decision"

SERVICE: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE: Final = "service.instance.id"
