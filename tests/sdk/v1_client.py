"""A client on the 1.x line of the MCP SDK, to be run by an interpreter that has it: `v1_client.py URL DOOR…`.

Does everything a legacy client does and prints one JSON object of what it found;
`test_v1_client` runs it and judges. DOORs are the side doors of the servers behind the URL.
The SDK is taken by name at run time, because the code around it is checked against 2.x.
"""

import asyncio
import importlib
import json
import sys
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

mcp: Any = importlib.import_module("mcp")
types: Any = importlib.import_module("mcp.types")
transport: Any = importlib.import_module("mcp.client.streamable_http")

WAIT_S = 15.0


class Client:
    """One session, with what it received."""

    def __init__(self, url: str, doors: list[str]) -> None:
        self.url = url
        self.doors = doors
        self.notifications: list[str] = []
        self.arrived = asyncio.Event()
        self.session: Any = None
        self.session_id: Callable[[], str | None] = lambda: None

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Client"]:
        async with AsyncExitStack() as stack:
            read, write, self.session_id = await stack.enter_async_context(transport.streamable_http_client(self.url))
            self.session = await stack.enter_async_context(
                mcp.ClientSession(
                    read,
                    write,
                    read_timeout_seconds=timedelta(seconds=WAIT_S),
                    elicitation_callback=_elicit,
                    sampling_callback=_sample,
                    message_handler=self._receive,
                )
            )
            await self.session.initialize()
            yield self

    async def text(self, tool: str, **arguments: Any) -> str:
        return str((await self.session.call_tool(tool, arguments)).content[0].text)

    async def facts(self, tool: str, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.text(tool, **arguments))
        return found

    async def seen(self, kind: str, tag: str) -> list[str]:
        """The doors behind which a call came to that, in bounded time for the first of them."""
        query = f"/journal?kind={kind}&tag={tag}&timeout_s=0.2"
        async with asyncio.timeout(WAIT_S):
            while True:
                found = [door for door in self.doors if await _get(f"{door}{query}")]
                if found:
                    return found

    async def open_gate(self, tag: str) -> None:
        for door in self.doors:
            await _post(f"{door}/gates/{tag}")

    async def _receive(self, message: Any) -> None:
        if isinstance(message, types.ServerNotification) and message.root.method.endswith("list_changed"):
            self.notifications.append(message.root.method)
            self.arrived.set()


async def _elicit(context: Any, params: Any) -> Any:
    return types.ElicitResult(action="accept", content={"answer": f"answer to {params.message}"})


async def _sample(context: Any, params: Any) -> Any:
    words = types.TextContent(type="text", text="words of the model")
    return types.CreateMessageResult(role="assistant", content=words, model="test-model")


async def basics(client: Client) -> dict[str, Any]:
    """Lists, calls, resources, prompts, completion."""
    session = client.session
    prompt = await session.get_prompt("test_prompt_with_arguments", {"arg1": "x", "arg2": "y"})
    reference = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
    completed = await session.complete(reference, {"name": "arg1", "value": "par"})
    resource = await session.read_resource("test://static-text")
    failed = await session.call_tool("test_error_handling", {})
    return {
        "tools": [tool.name for tool in (await session.list_tools()).tools],
        "prompts": [prompt.name for prompt in (await session.list_prompts()).prompts],
        "resources": [str(found.uri) for found in (await session.list_resources()).resources],
        "echo": await client.text("echo", text="Grüße"),
        "is_error": failed.isError,
        "prompt": prompt.messages[0].content.text,
        "resource": resource.contents[0].text,
        "completed": completed.completion.values,
        "replicas": sorted({(await client.facts("whoami"))["replica"] for _ in range(5)}),
    }


async def progress(client: Client) -> dict[str, Any]:
    """Progress while the call is held."""
    tag, first, steps = f"v1-{uuid.uuid4().hex}", asyncio.Event(), list[float]()

    async def report(value: float, total: float | None, message: str | None) -> None:
        steps.append(value)
        first.set()

    call = asyncio.create_task(client.session.call_tool("hold", {"tag": tag}, progress_callback=report))
    await asyncio.wait_for(first.wait(), WAIT_S)
    was_running = not call.done()
    await client.open_gate(tag)
    await call
    return {"was_running": was_running, "steps": steps}


async def questions(client: Client) -> dict[str, Any]:
    """The server asks the user, and the model."""
    return {"asked": await client.facts("ask", question="Why?"), "sampled": await client.facts("sample", prompt="Say")}


async def cancellation(client: Client) -> dict[str, Any]:
    """A call is cancelled by notification, and the session goes on."""
    tag = f"v1-{uuid.uuid4().hex}"
    call = asyncio.create_task(client.session.call_tool("stream_forever", {"tag": tag}))
    started = await client.seen("started", tag)
    # The 1.x client has no call for it: it names the id that it used last.
    params = types.CancelledNotificationParams(requestId=client.session._request_id - 1, reason="test")
    await client.session.send_notification(
        types.ClientNotification(types.CancelledNotification(method="notifications/cancelled", params=params))
    )
    cancelled = await client.seen("cancelled", tag)
    outcome = (await asyncio.gather(call, return_exceptions=True))[0]
    return {"same": started == cancelled and len(started) == 1, "ended": type(outcome).__name__}


async def resumption(client: Client) -> dict[str, Any]:
    """The server closes the stream, the client comes back by itself with `Last-Event-ID`."""
    tag = f"v1-{uuid.uuid4().hex}"
    call = asyncio.create_task(client.facts("drop_stream", tag=tag))
    await client.seen("started", tag)
    await client.open_gate(tag)
    return {"tag": (await call)["tag"] == tag}


async def announcements(client: Client) -> dict[str, Any]:
    """What arrives on the GET stream; the client opens it in its own time, so it is triggered until it comes."""
    async with asyncio.timeout(WAIT_S):
        while not client.notifications:
            await client.session.call_tool("test_trigger_tool_change", {})
            try:
                await asyncio.wait_for(client.arrived.wait(), 0.5)
            except TimeoutError:
                continue
    return {"methods": sorted(set(client.notifications))}


PARTS: list[Callable[[Client], Awaitable[dict[str, Any]]]] = [
    basics,
    progress,
    questions,
    announcements,
    resumption,
    cancellation,
]


async def _get(url: str) -> Any:
    return json.loads(await asyncio.to_thread(_fetch, urllib.request.Request(url)))


async def _post(url: str) -> None:
    await asyncio.to_thread(_fetch, urllib.request.Request(url, method="POST"))


def _fetch(request: urllib.request.Request) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=WAIT_S + 5) as answer:
        body: bytes = answer.read()
    return body


async def main(url: str, doors: list[str]) -> None:
    """Do all parts in one session, each with its own outcome."""
    found: dict[str, Any] = {}
    client = Client(url, doors)
    async with client.open():
        for part in PARTS:
            async with asyncio.timeout(3 * WAIT_S):
                found[part.__name__] = await part(client)
        found["session"] = client.session_id()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
