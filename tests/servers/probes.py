"""Tools that show a test what a proxy in front does: where a call landed, how it flowed, how it ended.

Used by `reference`. Answers are JSON texts with the replica's name in them.
"""

import asyncio
import json

import mcp_types as types
from mcp.server.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError

from tests.servers.suite import related
from tests.servers.table import Answer, Call, ToolTable, elicitation, facts, sampling, strings, text

TOOLS = ToolTable()


@TOOLS.tool("whoami", "Which replica answers, and in which era.")
async def whoami(call: Call) -> Answer:
    version = call.context.protocol_version
    return facts(replica=call.replica.name, pid=call.replica.pid, version=version, modern=call.is_modern)


@TOOLS.tool("echo", "Gives back its text.", schema=strings("text"))
async def echo(call: Call) -> Answer:
    call.replica.journal.note("echoed", tool="echo", tag=str(call.arguments["text"])[:200])
    return text(str(call.arguments["text"]))


SUM_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
SUM_OUTPUT = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}


@TOOLS.tool("add", "Adds two integers of any size.", schema=SUM_SCHEMA, output=SUM_OUTPUT)
async def add(call: Call) -> Answer:
    total = int(call.arguments["a"]) + int(call.arguments["b"])
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=json.dumps({"sum": total}))], structured_content={"sum": total}
    )


SLOW_SCHEMA = {
    "type": "object",
    "properties": {"tag": {"type": "string"}, "steps": {"type": "integer"}, "ms": {"type": "integer"}},
    "required": ["tag"],
}


@TOOLS.tool("slow", "Reports progress `steps` times, every `ms` milliseconds.", schema=SLOW_SCHEMA)
async def slow(call: Call) -> Answer:
    tag, steps, pause_ms = str(call.arguments["tag"]), call.arguments.get("steps", 5), call.arguments.get("ms", 20)
    with call.replica.journal.running("slow", tag):
        for step in range(int(steps)):
            await call.context.session.report_progress(step + 1, int(steps), f"{tag} {step + 1}")
            await asyncio.sleep(int(pause_ms) / 1000)
    return facts(replica=call.replica.name, tag=tag, steps=steps)


@TOOLS.tool("stream_forever", "Reports progress every 10 ms until it is cancelled.", schema=strings("tag"))
async def stream_forever(call: Call) -> Answer:
    tag = str(call.arguments["tag"])
    step = 0
    with call.replica.journal.running("stream_forever", tag):
        while True:
            step += 1
            await call.context.session.report_progress(step, message=tag)
            await asyncio.sleep(0.01)


@TOOLS.tool("hold", "Reports progress once, then waits until the side door opens its gate.", schema=strings("tag"))
async def hold(call: Call) -> Answer:
    tag = str(call.arguments["tag"])
    with call.replica.journal.running("hold", tag):
        await call.context.session.report_progress(1, 2, f"{tag} holds")
        await call.replica.journal.gate(tag).wait()
        await call.context.session.report_progress(2, 2, f"{tag} goes on")
    return facts(replica=call.replica.name, tag=tag)


@TOOLS.tool(
    "drop_stream", "Closes its own stream, then answers when the side door opens its gate.", schema=strings("tag")
)
async def drop_stream(call: Call) -> Answer:
    tag = str(call.arguments["tag"])
    with call.replica.journal.running("drop_stream", tag):
        if call.context.close_sse_stream is not None:
            await call.context.close_sse_stream()
        await call.replica.journal.gate(tag).wait()
    return facts(replica=call.replica.name, tag=tag)


@TOOLS.tool("ask", "Asks the user one question, in the way of the client's era.", schema=strings("question"))
async def ask(call: Call) -> Answer:
    question, fields = str(call.arguments["question"]), {"answer": {"type": "string"}}
    if not call.is_modern:
        schema = {"type": "object", "properties": fields, "required": ["answer"]}
        reply = await call.context.session.elicit_form(question, schema, related_request_id=call.context.request_id)
        return facts(replica=call.replica.name, asked=call.replica.name, action=reply.action, content=reply.content)
    answer = call.answer("question")
    if not isinstance(answer, types.ElicitResult):
        # The state names who asked, so that a test sees whether the answer came back to the same replica.
        return types.InputRequiredResult(
            input_requests={"question": elicitation(question, fields)}, request_state=call.replica.name
        )
    asked = call.params.request_state
    return facts(replica=call.replica.name, asked=asked, action=answer.action, content=answer.content)


@TOOLS.tool("sample", "Asks the client's model, in the way of the client's era.", schema=strings("prompt"))
async def sample(call: Call) -> Answer:
    request = sampling(str(call.arguments["prompt"]))
    if not call.is_modern:
        reply = await call.context.session.send_request(request, types.CreateMessageResult, metadata=related(call))
        return facts(replica=call.replica.name, asked=call.replica.name, said=_said(reply))
    answer = call.answer("prompt")
    if not isinstance(answer, types.CreateMessageResult):
        return types.InputRequiredResult(input_requests={"prompt": request}, request_state=call.replica.name)
    return facts(replica=call.replica.name, asked=call.params.request_state, said=_said(answer))


BIG_SCHEMA = {"type": "object", "properties": {"bytes": {"type": "integer"}}, "required": ["bytes"]}


@TOOLS.tool("big", "A text of the asked size.", schema=BIG_SCHEMA)
async def big(call: Call) -> Answer:
    return text("x" * int(call.arguments["bytes"]))


@TOOLS.tool("touch", "Tells those who subscribed that a resource was updated.", schema=strings("uri"))
async def touch(call: Call) -> Answer:
    uri = str(call.arguments["uri"])
    if call.is_modern:
        await call.replica.bus.publish(ResourceUpdated(uri=uri))
    else:
        await call.context.session.send_resource_updated(uri)
    return facts(replica=call.replica.name, uri=uri)


@TOOLS.tool("crash", "Fails with a JSON-RPC error of the server's own.")
async def crash(call: Call) -> Answer:
    raise MCPError(-31999, "The server's own error", {"kept": True})


@TOOLS.tool("events", "The journal of this replica's calls.")
async def events(call: Call) -> Answer:
    return facts(replica=call.replica.name, events=call.replica.journal.entries)


def _said(result: types.CreateMessageResult) -> str:
    return result.content.text if isinstance(result.content, types.TextContent) else result.content.type
