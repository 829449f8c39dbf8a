"""A collector of evidence on loopback: takes JSON lines and OTLP log records, and fails when it is told to.

OTLP is read with the definitions of opentelemetry-proto, so that what a real collector
would refuse is refused here.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest


class Collector:
    """What came, and what is answered."""

    def __init__(self) -> None:
        self.port = 0
        self.status = 200
        self.answer = b"{}"
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.lines: list[bytes] = []
        self.records: list[Any] = []
        """OTLP log records, with the resource's attributes."""

        self.came = threading.Condition()
        self.is_open = threading.Event()
        """Cleared: requests are read, and wait for their answer."""

        self.is_open.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, count: int, *, within_s: float = 20.0) -> list[bytes]:
        """Return the lines when there are so many."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.lines) >= count, within_s), f"{len(self.lines)} lines came"
            return list(self.lines)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        with self.came:
            self.requests.append((path, headers, body))
            if self.status == 200:
                self.lines += body.splitlines() if "ndjson" in headers["content-type"] else self._otlp(body)
            self.came.notify_all()

    def _otlp(self, body: bytes) -> list[bytes]:
        found: list[bytes] = []
        for resource in _parsed(body).resource_logs:
            attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    self.records.append((attributes, record))
                    found.append(record.body.string_value.encode())
        return found


def _parsed(body: bytes) -> ExportLogsServiceRequest:
    value = json.loads(body)
    for resource in value["resourceLogs"]:
        for scope in resource["scopeLogs"]:
            for record in scope["logRecords"]:
                # OTLP's JSON has ids in hexadecimal (OTLP specification, JSON Protobuf Encoding), protobuf's in base64.
                for key in ("traceId", "spanId"):
                    if key in record:
                        record[key] = base64.b64encode(bytes.fromhex(record[key])).decode()
    request = ExportLogsServiceRequest()
    json_format.ParseDict(value, request)
    return request


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector on a free port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.is_open.wait(60)
            headers = {name.lower(): value for name, value in self.headers.items()}
            collector.take(self.path, headers, body)
            self.send_response(collector.status)
            self.send_header("Content-Length", str(len(collector.answer)))
            self.end_headers()
            self.wfile.write(collector.answer)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.is_open.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
