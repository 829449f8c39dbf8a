"""The reference server's resources, prompts and completions; the suite's names among them.

Used by `reference`. Pure: no state but what is written here.
"""

import json
import re
from collections.abc import Mapping

import mcp_types as types
from mcp.shared.exceptions import MCPError

from tests.servers.suite import PNG
from tests.servers.table import elicitation

TEMPLATE = "test://template/{id}/data"
_TEMPLATE = re.compile(r"test://template/([^/]+)/data")
TEXTS = {
    "test://static-text": "This is the content of the static text resource.",
    "test://watched-resource": "This resource is watched.",
}

RESOURCES = [
    types.Resource(uri="test://static-text", name="static-text", description="A text", mime_type="text/plain"),
    types.Resource(uri="test://static-binary", name="static-binary", description="A pixel", mime_type="image/png"),
    types.Resource(uri="test://watched-resource", name="watched", description="Can change", mime_type="text/plain"),
]
TEMPLATES = [
    types.ResourceTemplate(
        uri_template=TEMPLATE, name="template", description="One record", mime_type="application/json"
    )
]


def read(uri: str, *, is_modern: bool) -> types.ReadResourceResult:
    """What stands at `uri`.

    Raises: `MCPError` in the era's own form of "not found".
    """
    if uri in TEXTS:
        return _contents(types.TextResourceContents(uri=uri, mime_type="text/plain", text=TEXTS[uri]))
    if uri == "test://static-binary":
        return _contents(types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG))
    if found := _TEMPLATE.fullmatch(uri):
        record = {"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"}
        body = json.dumps(record)
        return _contents(types.TextResourceContents(uri=uri, mime_type="application/json", text=body))
    raise MCPError(types.INVALID_PARAMS if is_modern else -32002, "Resource not found", {"uri": uri})


def _contents(item: types.TextResourceContents | types.BlobResourceContents) -> types.ReadResourceResult:
    return types.ReadResourceResult(contents=[item])


def _argument(name: str) -> types.PromptArgument:
    return types.PromptArgument(name=name, description=f"Test argument {name}", required=True)


PROMPTS = [
    types.Prompt(name="test_simple_prompt", description="No arguments"),
    types.Prompt(
        name="test_prompt_with_arguments", description="Two texts", arguments=[_argument("arg1"), _argument("arg2")]
    ),
    types.Prompt(name="test_prompt_with_embedded_resource", description="Embeds", arguments=[_argument("resourceUri")]),
    types.Prompt(name="test_prompt_with_image", description="Shows a pixel"),
    types.Prompt(name="test_input_required_result_prompt", description="Asks the user first (MCP 2026-07-28)"),
]


def prompt(params: types.GetPromptRequestParams) -> types.GetPromptResult | types.InputRequiredResult:
    """The messages of the named prompt.

    Raises: `MCPError` -32602 for a name that is not in the list.
    """
    arguments: Mapping[str, str] = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            return _messages(_text("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            one, two = arguments.get("arg1", ""), arguments.get("arg2", "")
            return _messages(_text(f"Prompt with arguments: arg1='{one}', arg2='{two}'"))
        case "test_prompt_with_embedded_resource":
            uri, body = arguments.get("resourceUri", ""), "Embedded resource content for testing."
            inner = types.TextResourceContents(uri=uri, mime_type="text/plain", text=body)
            embedded = types.EmbeddedResource(type="resource", resource=inner)
            return _messages(embedded, _text("Please process the embedded resource above."))
        case "test_prompt_with_image":
            image = types.ImageContent(type="image", data=PNG, mime_type="image/png")
            return _messages(image, _text("Please analyze the image above."))
        case "test_input_required_result_prompt":
            return _asked(params)
        case name:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {name}")


def _asked(params: types.GetPromptRequestParams) -> types.GetPromptResult | types.InputRequiredResult:
    answer = (params.input_responses or {}).get("user_context")
    if isinstance(answer, types.ElicitResult):
        return _messages(_text(f"Use this context: {(answer.content or {}).get('context')}"))
    question = elicitation("What context should the prompt use?", {"context": {"type": "string"}})
    return types.InputRequiredResult(input_requests={"user_context": question})


def _text(value: str) -> types.TextContent:
    return types.TextContent(type="text", text=value)


def _messages(*blocks: types.ContentBlock) -> types.GetPromptResult:
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=block) for block in blocks])


def complete(params: types.CompleteRequestParams) -> types.CompleteResult:
    """Words that begin with what was typed."""
    words = [word for word in ("paris", "park", "party", "test") if word.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=words, total=len(words), has_more=False))
