"""The admin listener: liveness, readiness and metrics for probes and scrapers, and nothing else.

Runs in a thread of its own, so that a probe never waits for an exchange nor an exchange
for a scraper. What it shows is handed in; both callables are called from that thread.
"""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import TypeAlias

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from openmcp.model.tls import ServingTls
from openmcp.server.tls import H1, serving_context
from openmcp.telemetry.exposition import CONTENT_TYPE

_log = logging.getLogger(__name__)

Scrape: TypeAlias = Callable[[], bytes]
"""Returns the metrics as Prometheus reads them."""

Readiness: TypeAlias = Callable[[], tuple[bool, Mapping[str, object]]]
"""Whether new work can be taken, and what a person wants to know beside it (JSON values)."""

_STOP_TIMEOUT_S = 5.0
_START_TIMEOUT_S = 10.0


class Admin:
    """Answers `/livez`, `/readyz` and `/metrics`."""

    def __init__(
        self,
        host: str,
        port: int,
        scrape: Scrape,
        readiness: Readiness,
        *,
        tls: ServingTls | None = None,
    ) -> None:
        """`tls`: `None` = plaintext."""
        self._tls = tls
        self._context: ssl.SSLContext | None = None
        self._host = host
        self._port = port
        self._scrape = scrape
        self._readiness = readiness
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that are bound, once started."""
        return (self._host, self._port)

    def start(self) -> None:
        """Answer from now on.

        Raises: OSError: the address cannot be bound; ssl.SSLError: the certificate cannot be used.
        """
        self._context = context = serving_context(self._tls, protocols=[H1]) if self._tls is not None else None
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
            ssl_context_factory=_giving(context) if context is not None else None,
        )
        self._server = server = _Server(config)
        self._thread = threading.Thread(target=server.run, args=([listening],), name="openmcp-admin", daemon=True)
        self._thread.start()
        server.has_started.wait(_START_TIMEOUT_S)

    def turn(self, tls: ServingTls | None) -> None:
        """Present another certificate on connections to come; call it from any thread but the listener's own."""
        server, context = self._server, self._context
        if server is None or server.loop is None or context is None or tls is None or tls == self._tls:
            return
        self._tls = tls
        # In the thread that accepts: OpenSSL wants nobody to read a context while it is changed.
        server.loop.call_soon_threadsafe(_install, tls, context)

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
        return Response(self._scrape(), headers={"Content-Type": CONTENT_TYPE})


def _giving(context: ssl.SSLContext) -> Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext]:
    return lambda config, default: context


def _install(tls: ServingTls, context: ssl.SSLContext) -> None:
    try:
        # Nobody is asked for a certificate here, so nothing but the pair could have to go again.
        tls.pair.install(context)
        context.minimum_version = tls.min_version
    except (OSError, ValueError):
        _log.exception("tls-not-turned", extra={"listener": "admin"})


class _Server(uvicorn.Server):
    """Says when it accepts, and on which loop."""

    loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.has_started.set()
