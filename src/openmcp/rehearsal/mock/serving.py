"""Runs a `Mock` on a socket until it is asked to stop."""

import socket
from collections.abc import Callable

import uvicorn

from openmcp.rehearsal.mock.application import Mock


def serve(mock: Mock, host: str, port: int, *, on_ready: Callable[[str], None]) -> None:
    """Answer until SIGTERM or SIGINT; `on_ready` gets the origin. Raises: OSError if the address cannot be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    config = uvicorn.Config(
        mock.application(),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=2,
    )
    authority = f"[{host}]" if ":" in host else host
    server = _Server(config, mock, lambda: on_ready(f"http://{authority}:{listening.getsockname()[1]}"))
    server.run([listening])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, mock: Mock, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._mock = mock
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Open streams would hold up the end.
        self._mock.stop()
        await super().shutdown(sockets)
