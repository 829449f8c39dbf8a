"""A small agent on the MCP SDK: `python -m openmcp.cli.demo.agent URL KEY`.

An example to copy from: all that a client needs is the server's URL at the gateway and
its key in a header.
"""

import argparse
import asyncio

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

_TIMEOUT_S = 30.0
_CALLS: tuple[tuple[str, dict[str, str]], ...] = (
    ("ticket_list", {}),
    ("ticket_status", {"id": "T-1"}),
    ("ticket_read", {"id": "T-1"}),
)


async def visit(url: str, key: str) -> None:
    """Print what the agent sees on the server, and what its calls come to."""
    async with (
        # A proxy of the machine has no way to loopback.
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_S, trust_env=False) as http,
        # `legacy` opens a session; `auto` would find the newest revision, which has none.
        Client(streamable_http_client(url, http_client=http), mode="legacy") as client,
    ):
        tools = [tool.name for tool in (await client.list_tools()).tools]
        print("tools:", ", ".join(tools) or "none")
        for name, arguments in _CALLS:
            result = await client.call_tool(name, arguments)
            words = " ".join(block.text for block in result.content if isinstance(block, TextContent))
            print(f"{name}: {'refused: ' if result.is_error else ''}{words}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Visit a server of the demo through the gateway.")
    parser.add_argument("url", help="URL of the ticket desk at the gateway")
    parser.add_argument("key", help="API key of the agent")
    arguments = parser.parse_args()
    asyncio.run(visit(arguments.url, arguments.key))


if __name__ == "__main__":
    main()
