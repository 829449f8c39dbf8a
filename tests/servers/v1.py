"""A legacy-only MCP server on the 1.x line of the SDK, to be run by an interpreter that has it.

Prints one JSON line with its address when it answers, like `reference`. The SDK is taken by
name at run time, because the code around it is checked against 2.x.
"""

import argparse
import asyncio
import importlib
import json
import os
import socket
from typing import Any

fastmcp: Any = importlib.import_module("mcp.server.fastmcp")
uvicorn: Any = importlib.import_module("uvicorn")


def build(name: str) -> Any:
    """The server with its two tools."""
    server = fastmcp.FastMCP("openmcp-v1")

    @server.tool()  # type: ignore[untyped-decorator]
    def whoami() -> str:
        """Which replica answers."""
        return json.dumps({"replica": name, "pid": os.getpid()})

    @server.tool()  # type: ignore[untyped-decorator]
    def echo(text: str) -> str:
        """Gives back its text."""
        return text

    return server


async def serve(name: str) -> None:
    """Announce the address, then serve until SIGTERM."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(build(name).streamable_http_app(), log_level="warning", timeout_graceful_shutdown=1)
    # The socket listens before the announcement: who connects early waits in its queue.
    listener.listen(128)
    origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
    print(json.dumps({"origin": origin, "replica": name, "pid": os.getpid()}), flush=True)
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replica", default="a")
    asyncio.run(serve(parser.parse_args().replica))
