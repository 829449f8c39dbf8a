"""The admin listener: liveness, readiness and metrics for probes and scrapers, and nothing else.

Runs in a thread of its own, so that a probe never waits for an exchange nor an exchange
for a scraper. What it shows is handed in; both callables are called from that thread.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

Readiness: TypeAlias = Callable[[], tuple[bool, Mapping[str, object]]]
"""Whether new work can be taken, and what a person wants to know beside it (JSON values)."""

_STOP_TIMEOUT_S = 5.0
_START_TIMEOUT_S = 10.0


class Admin:
    """Answers `/livez`, `/readyz` and `/metrics`."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, readiness: Readiness) -> None:
        self._host = host
        self._port = port
        self._registry = registry
        self._readiness = readiness
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that are bound, once started."""
        return (self._host, self._port)

    def start(self) -> None:
        """Answer from now on.

        Raises: OSError: the address cannot be bound.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.create_server((self._host, self._port), family=family, reuse_port=False)
        self._host, self._port = listening.getsockname()[:2]
        config = uvicorn.Config(
            self._app(),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            ws="none",
            loop="asyncio",
        )
        self._server = server = _Server(config)
        self._thread = threading.Thread(target=server.run, args=([listening],), name="openmcp-admin", daemon=True)
        self._thread.start()
        server.has_started.wait(_START_TIMEOUT_S)

    def stop(self) -> None:
        """Answer no more; once more does nothing."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_TIMEOUT_S)
            self._server = self._thread = None

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/livez", self._livez),
                Route("/readyz", self._readyz),
                Route("/metrics", self._metrics),
            ]
        )

    async def _livez(self, _: Request) -> Response:
        # Depends on nothing: a store that is down must not have every node restarted.
        return PlainTextResponse("ok\n")

    async def _readyz(self, _: Request) -> Response:
        is_ready, details = self._readiness()
        return JSONResponse({"ready": is_ready, **details}, status_code=200 if is_ready else 503)

    async def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Server(uvicorn.Server):
    """Says when it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_started.set()
