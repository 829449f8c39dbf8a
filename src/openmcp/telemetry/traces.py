"""Spans by OpenTelemetry, sent by OTLP over HTTP. Imported only where tracing is switched on (extra `otel`).

Whether a trace is kept is decided here, by its id and the configured ratio: an agent can
neither force nor prevent it. Spans are sent by a thread of the library's own.
"""

from collections.abc import Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from openmcp import __version__
from openmcp.telemetry import conventions as names
from openmcp.telemetry import spans
from openmcp.telemetry.spans import Attributes, Parent

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_CLOSE_MS: Final = 3000
_NOTHING: Final = Context()


class OtlpTracer:
    """Keeps spans in batches and sends them to a collector."""

    def __init__(self, endpoint: str, *, headers: Mapping[str, str], ratio: float, service: str, instance: str) -> None:
        """`endpoint`: base URL of the collector, `/v1/traces` is added; `ratio`: part of the traces that is kept."""
        about = {names.SERVICE: service, names.SERVICE_VERSION: __version__, names.SERVICE_INSTANCE: instance}
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", headers=dict(headers))
        # The plain sampler, not the one that asks the parent: a parent here is whatever an agent says.
        self._provider = TracerProvider(
            sampler=TraceIdRatioBased(ratio), resource=Resource(about), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("openmcp", __version__)

    def begin(self, parent: Parent | None, *, is_continued: bool, at_ns: int) -> spans.Span:
        """Return the span of a new exchange."""
        context, links = _NOTHING, list[trace.Link]()
        if parent is not None:
            claimed = _PROPAGATOR.extract(
                {"traceparent": parent.traceparent, "tracestate": parent.tracestate}, context=_NOTHING
            )
            remote = trace.get_current_span(claimed).get_span_context()
            if is_continued:
                context = claimed
            elif remote.is_valid:
                links.append(trace.Link(remote))
        span = self._tracer.start_span(
            "exchange", context=context, kind=trace.SpanKind.SERVER, links=links, start_time=at_ns
        )
        return _Exchange(self._tracer, span)

    def close(self) -> None:
        """Send what is left."""
        self._provider.force_flush(_CLOSE_MS)
        self._provider.shutdown()


_: type[spans.Tracer] = OtlpTracer


class _Exchange:
    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = span.get_span_context()

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self._context.trace_id)

    @property
    def span_id(self) -> str:
        return trace.format_span_id(self._context.span_id)

    @property
    def is_sampled(self) -> bool:
        return self._context.trace_flags.sampled

    def event(self, name: str, attributes: Attributes, *, at_ns: int) -> None:
        self._span.add_event(name, attributes, at_ns)

    def attempt(self, method: str, *, host: str, port: int) -> spans.Attempt:
        # A span that is not kept needs no children; the server still learns which trace it is part of.
        about: Attributes = {names.UPSTREAM_HOST: host, names.UPSTREAM_PORT: port, names.METHOD: method}
        parent = trace.set_span_in_context(self._span, _NOTHING)
        return _Attempt(self._tracer.start_span(method or "stream", parent, trace.SpanKind.CLIENT, about))

    def end(self, name: str, attributes: Attributes, *, fault: str, at_ns: int) -> None:
        if self._span.is_recording():
            self._span.update_name(name)
            self._span.set_attributes(attributes)
            _judge(self._span, fault)
        self._span.end(at_ns)


class _Attempt:
    def __init__(self, span: trace.Span) -> None:
        self._span = span
        sent: dict[str, str] = {}
        _PROPAGATOR.inject(sent, trace.set_span_in_context(span, _NOTHING))
        self.traceparent = sent.get("traceparent", "")
        self.tracestate = sent.get("tracestate", "")

    def end(self, *, status: int, fault: str = "") -> None:
        if status:
            self._span.set_attribute(names.HTTP_STATUS, status)
        _judge(self._span, fault)
        self._span.end()


def _judge(span: trace.Span, fault: str) -> None:
    if fault:
        span.set_attribute(names.ERROR, fault)
        span.set_status(trace.StatusCode.ERROR)
