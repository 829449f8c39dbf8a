"""What the stages tell of an exchange for distributed traces, without knowing who keeps it.

The record of an exchange begins a `Span` and makes it the current one of its task; the
upstream client asks for it and adds an `Attempt` for each try. `telemetry.traces` is the
one implementation; without it nothing is ever current, which is all that it costs.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol, TypeAlias

import msgspec

Attributes: TypeAlias = Mapping[str, str | int | bool]


class Parent(msgspec.Struct, frozen=True):
    """The place in a trace that a request claims for itself (W3C Trace Context), as it came."""

    traceparent: str
    tracestate: str = ""


class Attempt(Protocol):
    """One try to reach a replica: a CLIENT span."""

    @property
    def traceparent(self) -> str:
        """What the server is told as its parent."""
        ...

    @property
    def tracestate(self) -> str:
        """The state of the other tracers on the way; may be empty."""
        ...

    def end(self, *, status: int, fault: str = "") -> None:
        """The head of the answer has come with this HTTP status, or a fault in its place."""


class Span(Protocol):
    """One exchange: a SERVER span."""

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        ...

    @property
    def span_id(self) -> str:
        """16 hex digits."""
        ...

    @property
    def is_sampled(self) -> bool:
        """Whether it is kept."""
        ...

    def event(self, name: str, attributes: Attributes, *, at_ns: int) -> None:
        """Something happened at this Unix time in nanoseconds."""

    def attempt(self, method: str, *, host: str, port: int) -> Attempt:
        """Begin a try to reach a replica."""
        ...

    def end(self, name: str, attributes: Attributes, *, fault: str, at_ns: int) -> None:
        """The exchange is over. `fault`: the kind of refusal or failure; empty = it went well."""


class Tracer(Protocol):
    """Begins spans and sends them somewhere."""

    def begin(self, parent: Parent | None, *, is_continued: bool, at_ns: int) -> Span:
        """Return the span of a new exchange.

        `is_continued`: it belongs to the parent's trace; else to one of its own, which links to the parent.
        """
        ...

    def close(self) -> None:
        """Send what is left; waits for a few seconds at most."""


_current: ContextVar[Span | None] = ContextVar("openmcp_span", default=None)


def current() -> Span | None:
    """Return the span of the exchange that this task carries; `None` without tracing."""
    return _current.get()


def enter(span: Span) -> None:
    """Make this the span of the running task, and of the tasks that it starts."""
    _current.set(span)
