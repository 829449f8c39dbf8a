"""The tools, resources and prompts that the official conformance suite asks for by name.

Used by `reference`. Names, texts and shapes are the suite's (they stand in its scenario
descriptions); multi-round tools are in `rounds`.
"""

import asyncio
import json
import warnings
from typing import Any

import mcp_types as types
from mcp.server.subscriptions import PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.message import ServerMessageMetadata

from tests.servers.table import Answer, Call, ToolTable, elicitation, sampling, strings, text

# One transparent pixel, and a WAV header without samples.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="

DIALECT = "https://json-schema.org/draft/2020-12/schema"

TOOLS = ToolTable()


@TOOLS.tool("test_simple_text", "One text block.")
async def simple_text(call: Call) -> Answer:
    return text("This is a simple text response for testing.")


@TOOLS.tool("test_image_content", "One image block.")
async def image_content(call: Call) -> Answer:
    return types.CallToolResult(content=[_image()])


@TOOLS.tool("test_audio_content", "One audio block.")
async def audio_content(call: Call) -> Answer:
    return types.CallToolResult(content=[types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")])


@TOOLS.tool("test_embedded_resource", "One embedded resource.")
async def embedded_resource(call: Call) -> Answer:
    inner = _embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    return types.CallToolResult(content=[inner])


@TOOLS.tool("test_multiple_content_types", "Text, image and resource in one result.")
async def multiple_content_types(call: Call) -> Answer:
    inner = json.dumps({"test": "data", "value": 123})
    return types.CallToolResult(
        content=[
            types.TextContent(type="text", text="Multiple content types test:"),
            _image(),
            _embedded("test://mixed-content-resource", "application/json", inner),
        ]
    )


@TOOLS.tool("test_tool_with_logging", "Sends three log messages before it answers.")
async def tool_with_logging(call: Call) -> Answer:
    for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await log(call, message)
        await asyncio.sleep(0.02)
    return text("Tool with logging executed successfully")


@TOOLS.tool("test_logging_tool", "Sends one log message, which only reaches a client that asked for a level.")
async def logging_tool(call: Call) -> Answer:
    await log(call, "A message at info level")
    return text("Logged.")


@TOOLS.tool("test_tool_with_progress", "Reports 0, 50 and 100 of 100.")
async def tool_with_progress(call: Call) -> Answer:
    for progress in (0.0, 50.0, 100.0):
        await call.context.session.report_progress(progress, 100.0)
        await asyncio.sleep(0.02)
    return text("Tool with progress executed successfully")


@TOOLS.tool("test_error_handling", "Always answers with an error.")
async def error_handling(call: Call) -> Answer:
    return text("This tool intentionally returns an error for testing", is_error=True)


@TOOLS.tool("test_sampling", "Asks the client's model.", schema=strings("prompt"))
async def ask_model(call: Call) -> Answer:
    if call.capabilities.sampling is None:
        return text("The client does not support sampling.", is_error=True)
    result = await call.context.session.send_request(
        sampling(str(call.arguments["prompt"])), types.CreateMessageResult, metadata=related(call)
    )
    said = result.content.text if isinstance(result.content, types.TextContent) else result.content.type
    return text(f"LLM response: {said}")


@TOOLS.tool("test_elicitation", "Asks the client's user.", schema=strings("message"))
async def ask_user(call: Call) -> Answer:
    fields = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    result = await _ask(call, str(call.arguments["message"]), fields)
    return text(f"User response: {_outcome(result)}")


@TOOLS.tool("test_elicitation_sep1034_defaults", "Asks with a default for each primitive type.")
async def elicitation_defaults(call: Call) -> Answer:
    fields = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return text(f"Elicitation completed: {_outcome(await _ask(call, 'Please check these values', fields))}")


@TOOLS.tool("test_elicitation_sep1330_enums", "Asks with each form of choice.")
async def elicitation_enums(call: Call) -> Answer:
    plain = ["option1", "option2", "option3"]
    titled = [
        {"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(("First", "Second", "Third"), 1)
    ]
    fields = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return text(f"Elicitation completed: {_outcome(await _ask(call, 'Please choose', fields))}")


X_MCP_HEADER = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "note": {"type": "string"}},
    "required": ["region"],
}


@TOOLS.tool("test_x_mcp_header", "Has an argument that is mirrored in a header.", schema=X_MCP_HEADER)
async def x_mcp_header(call: Call) -> Answer:
    return text(f"Region: {call.arguments.get('region')}")


@TOOLS.tool("test_missing_capability", "Needs a client that supports sampling.")
async def missing_capability(call: Call) -> Answer:
    if call.capabilities.sampling is None:
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            "This tool needs the sampling capability",
            {"requiredCapabilities": {"sampling": {}}},
        )
    return text("The client supports sampling.")


@TOOLS.tool("test_streaming_elicitation", "Asks in the middle of a streamed answer.")
async def streaming_elicitation(call: Call) -> Answer:
    await call.context.session.report_progress(1, 2)
    if call.is_modern and call.answer("confirm") is None:
        return types.InputRequiredResult(input_requests={"confirm": elicitation("Go on?", {"ok": {"type": "boolean"}})})
    return text("Went on.")


@TOOLS.tool(
    "test_reconnection", "Closes its stream in the middle of the call; the client must come back for the answer."
)
async def reconnection(call: Call) -> Answer:
    if call.context.close_sse_stream is not None:
        await call.context.close_sse_stream()
        await asyncio.sleep(0.3)
    return text("Reconnection test completed successfully.")


@TOOLS.tool("test_trigger_tool_change", "Tells those who listen that the list of tools has changed.")
async def trigger_tool_change(call: Call) -> Answer:
    if call.is_modern:
        await call.replica.bus.publish(ToolsListChanged())
    else:
        await call.context.session.send_tool_list_changed()
    return text("Tool list change announced.")


@TOOLS.tool("test_trigger_prompt_change", "Tells those who listen that the list of prompts has changed.")
async def trigger_prompt_change(call: Call) -> Answer:
    if call.is_modern:
        await call.replica.bus.publish(PromptsListChanged())
    else:
        await call.context.session.send_prompt_list_changed()
    return text("Prompt list change announced.")


JSON_SCHEMA: dict[str, Any] = {
    "$schema": DIALECT,
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@TOOLS.tool("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", schema=JSON_SCHEMA)
async def json_schema(call: Call) -> Answer:
    return text(f"Got {sorted(call.arguments)}")


# ---------------------------------------------------------------- what tools share


async def log(call: Call, message: str) -> None:
    """Send a log message on the call's own stream."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        await call.context.session.send_log_message(
            level="info", data=message, logger="reference", related_request_id=call.context.request_id
        )


def related(call: Call) -> ServerMessageMetadata:
    """Metadata that puts a request to the client on the call's own stream."""
    return ServerMessageMetadata(related_request_id=call.context.request_id)


async def _ask(call: Call, message: str, fields: dict[str, Any]) -> types.ElicitResult:
    request = elicitation(message, fields)
    assert isinstance(request.params, types.ElicitRequestFormParams)
    return await call.context.session.elicit_form(
        message, request.params.requested_schema, related_request_id=call.context.request_id
    )


def _outcome(result: types.ElicitResult) -> str:
    return f"action={result.action}, content={json.dumps(result.content or {}, sort_keys=True)}"


def _image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def _embedded(uri: str, mime_type: str, body: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(
        type="resource", resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=body)
    )
