"""How the demo's servers run: as commands of their own, on a port of loopback, with the SDK's own transport.

Called by `tickets` and `notes`. Knows nothing of the gateway: these servers could
stand anywhere.
"""

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable

from mcp.server.mcpserver import MCPServer

_GRACE_S = 2.0
"""For connections to end; afterwards the process goes in any case."""


def main(description: str, build: Callable[[str], MCPServer]) -> None:
    """Serve what `build` makes of the name that `--desk` gives, until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True, help="port of 127.0.0.1 to listen on")
    parser.add_argument("--desk", default="a", help="name of this replica, shown in answers")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    arguments = parser.parse_args()
    if arguments.until_eof:
        threading.Thread(target=_end_with_input, daemon=True).start()
    asyncio.run(build(arguments.desk).run_streamable_http_async(host="127.0.0.1", port=arguments.port))


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE_S)
    os._exit(0)
