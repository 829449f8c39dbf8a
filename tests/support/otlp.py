"""A collector that takes spans by OTLP over HTTP and keeps them for a test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WAIT_S = 10.0


@dataclass(frozen=True)
class Seen:
    """One span as the collector got it."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    """Trace ids."""

    attributes: dict[str, Any]
    events: dict[str, dict[str, Any]]
    is_error: bool
    duration_ns: int

    @property
    def is_server(self) -> bool:
        return self.kind == 2

    @property
    def is_client(self) -> bool:
        return self.kind == 3


@dataclass
class Collector:
    url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    resources: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    spans: list[Seen] = field(default_factory=list[Seen])
    _news: threading.Condition = field(default_factory=threading.Condition)

    def takes(self, headers: dict[str, str], body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._news:
            self.headers.append(headers)
            for resource in request.resource_spans:
                self.resources.append(_attributes(resource.resource.attributes))
                for scope in resource.scope_spans:
                    self.spans.extend(_seen(span) for span in scope.spans)
            self._news.notify_all()

    def gets(self, count: int) -> list[Seen]:
        """Wait until there are so many spans, and return them, the server's first."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.spans) >= count, WAIT_S), self.spans
            return sorted(self.spans, key=lambda span: span.kind)

    def of(self, trace: str, count: int) -> list[Seen]:
        """Wait until there are so many spans of this trace, and return them, the server's first."""
        with self._news:
            assert self._news.wait_for(lambda: len(self._in(trace)) >= count, WAIT_S), self.spans
            return self._in(trace)

    def _in(self, trace: str) -> list[Seen]:
        return sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.kind)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port of loopback."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.takes({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join(WAIT_S)


def _seen(span: Any) -> Seen:
    return Seen(
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple(link.trace_id.hex() for link in span.links),
        attributes=_attributes(span.attributes),
        events={event.name: _attributes(event.attributes) for event in span.events},
        is_error=span.status.code == 2,
        duration_ns=span.end_time_unix_nano - span.start_time_unix_nano,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
