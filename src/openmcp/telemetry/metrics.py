"""What the gateway counts, for Prometheus.

The stages' owners call the methods of `Metrics`; the admin listener asks for the `exposition`.
Names and labels are in `catalogue`. Callers pass names that cannot grow without bound:
`OTHER` for a method that is not the protocol's, a tool that is not in the server's list
and an agent that is not configured; never sessions, URIs or arguments.
"""

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from openmcp import __version__
from openmcp.telemetry import catalogue, exposition
from openmcp.telemetry.catalogue import CATALOGUE
from openmcp.telemetry.series import MAX_SERIES, OTHER, Cell, Counter, Histogram, Labels, Row

__all__ = ["NO_DECISION", "OTHER", "Metrics"]

NO_DECISION: Final = "none"
"""The label `decision` of an exchange that was refused before policy was asked."""

_WITH_AGENT: Final = MAX_SERIES * 3 // 4
_WITH_TOOL: Final = MAX_SERIES * 9 // 10
"""Up to so many series of requests name the agent, or the tool; the room behind that is for what tells neither."""

_REQUEST: Final = "request"
_RESPONSE: Final = "response"

Probe: TypeAlias = Callable[[], Mapping[Labels, float]]
"""Asked at each scrape; for what is known elsewhere anyhow. Called on the scraper's thread."""

_Ending: TypeAlias = tuple[Cell, Cell, Row, Row]
"""What the end of an exchange steps, found by its labels once: in flight, requests, durations, overheads."""


class Metrics:
    """The numbers of one process. Methods are called on one thread, the event loop's."""

    def __init__(self) -> None:
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._counters = {m.name: Counter(len(m.labels)) for m in CATALOGUE if m.kind != "histogram"}
        self._histograms = {m.name: Histogram(len(m.labels), m.buckets) for m in CATALOGUE if m.kind == "histogram"}
        self._probes: dict[str, Probe] = {}
        # Looked up once: every exchange touches these.
        self._requests = self._counters[catalogue.REQUESTS.name]
        self._durations = self._histograms[catalogue.DURATION.name]
        self._overheads = self._histograms[catalogue.OVERHEAD.name]
        self._bytes = self._histograms[catalogue.MESSAGE_BYTES.name]
        self._upstream = self._histograms[catalogue.UPSTREAM_DURATION.name]
        self._decisions = self._counters[catalogue.POLICY_DECISIONS.name]
        self._inflight = self._counters[catalogue.INFLIGHT.name]
        self._authentications = self._counters[catalogue.AUTHENTICATIONS.name]
        self._endings: dict[Labels, _Ending] = {}
        self._responses: dict[str, Row] = {}
        self._counters[catalogue.BUILD_INFO.name].set((__version__, platform.python_version()), 1)

    # ------------------------------------------------------------ each exchange

    def began(self, server: str) -> None:
        """An exchange with this server is under way."""
        self._inflight.add((server,))

    def ended(
        self,
        server: str,
        method: str,
        *,
        tool: str,
        agent: str,
        decision: str,
        outcome: str,
        duration_s: float,
        upstream_s: float | None,
        request_bytes: int,
    ) -> None:
        """The exchange is over. `upstream_s`: waiting for the server and for humans, taken off the overhead.

        `None` where nothing was sent on. Streams, which last as long as they like, pass `upstream_s` = `duration_s`.
        """
        labels = (server, method, tool, agent, decision, outcome)
        inflight, requests, durations, overheads = self._endings.get(labels) or self._ending(labels)
        inflight.value -= 1
        requests.value += 1
        durations.observe(duration_s)
        overheads.observe(duration_s - upstream_s if upstream_s else duration_s)
        if request_bytes:
            self._bytes.observe((server, _REQUEST), request_bytes)

    def answered(self, server: str, replica: str, *, upstream_s: float) -> None:
        """The head of a replica's answer has come."""
        self._upstream.observe((server, replica), upstream_s)

    def message_out(self, server: str, size: int) -> None:
        """A message of this many bytes has come for the agent."""
        row = self._responses.get(server)
        if row is None:
            row = self._responses[server] = self._bytes.row((server, _RESPONSE))
        row.observe(size)

    def decided(self, policy: str, rule: str, *, effect: str, mode: str = "enforce") -> None:
        """Policy has decided; empty names where the default did."""
        self._decisions.add((policy, rule, effect, mode))

    def found(self, detector: str, direction: str, action: str) -> None:
        """A content rule has found something."""
        self._counters[catalogue.FINDINGS.name].add((detector, direction, action))

    def authenticated(self, source: str, result: str) -> None:
        """A source has said who an agent is, or not."""
        self._authentications.add((source, result))

    def _ending(self, labels: Labels) -> _Ending:
        server, method, tool = labels[:3]
        counted = self._bounded(labels)
        if len(self._endings) >= MAX_SERIES:
            self._endings.clear()
        ending = self._endings[labels] = (
            self._inflight.cell((server,)),
            self._requests.cell(counted),
            self._durations.row((server, method, tool)),
            self._overheads.row((server,)),
        )
        return ending

    def _bounded(self, labels: Labels) -> Labels:
        """Return labels that there is still room for: first the agent is given up, then the tool, never the server."""
        server, method, tool, agent, decision, outcome = labels
        without_agent = (server, method, tool, agent and OTHER, decision, outcome)
        without_both = (server, method, tool and OTHER, agent and OTHER, decision, outcome)
        for chosen, most in ((labels, _WITH_AGENT), (without_agent, _WITH_TOOL)):
            if self._requests.has_room(chosen, most):
                return chosen
        return without_both

    # ------------------------------------------------------------ now and then

    def turned_away(self, listener: str, kind: str) -> None:
        """The edge itself has refused something."""
        self._counters[catalogue.EDGE_REFUSALS.name].add((listener, kind))

    def handshake_failed(self, listener: str, reason: str) -> None:
        """A TLS connection did not come about."""
        self._counters[catalogue.HANDSHAKE_FAILURES.name].add((listener, reason))

    def stream_opened(self, server: str) -> None:
        """An event stream to an agent is open."""
        self._counters[catalogue.OPEN_STREAMS.name].add((server,))

    def stream_closed(self, server: str) -> None:
        """It is open no more."""
        self._counters[catalogue.OPEN_STREAMS.name].add((server,), -1)

    def definition_changed(self, server: str, change: str) -> None:
        """A server with pinning offers what nobody has accepted, or somebody has accepted it."""
        self._counters[catalogue.DEFINITION_CHANGES.name].add((server, change))

    def config_loaded(self, source: str, *, is_ok: bool) -> None:
        """A configuration was read; a good one is in force now."""
        self._counters[catalogue.CONFIG_RELOADS.name].add((source, "ok" if is_ok else "refused"))
        if is_ok:
            self._counters[catalogue.CONFIG_GENERATION.name].add(())

    def reviewed(self, approval_flow: str, outcome: str, *, wait_s: float) -> None:
        """A review is over, after this time."""
        self._counters[catalogue.REVIEWS.name].add((approval_flow, outcome))
        self._histograms[catalogue.REVIEW_WAIT.name].observe((approval_flow,), wait_s)

    def channel_failed(self, channel: str) -> None:
        """A channel could not reach people."""
        self._counters[catalogue.CHANNEL_ERRORS.name].add((channel,))

    def store_operation(self, operation: str, *, duration_s: float) -> None:
        """A call to the state store is over."""
        self._histograms[catalogue.STORE_OPERATION.name].observe((operation,), duration_s)

    # ------------------------------------------------------------ asked at a scrape

    def ask_sessions(self, probe: Callable[[], Mapping[str, int]]) -> None:
        """Learn from `probe` how many sessions each server has."""
        self._probes[catalogue.SESSIONS.name] = lambda: {(server,): n for server, n in probe().items()}

    def ask_upstreams(self, probe: Callable[[], Mapping[tuple[str, str], bool]]) -> None:
        """Learn from `probe` which replicas take new work, by (server, replica)."""
        self._probes[catalogue.UPSTREAM_UP.name] = lambda: {labels: float(is_up) for labels, is_up in probe().items()}

    def ask_certificates(self, probe: Callable[[], Mapping[str, float]]) -> None:
        """Learn from `probe` how many seconds each listener's certificate is still valid."""
        self._probes[catalogue.CERTIFICATE_EXPIRY.name] = lambda: {(name,): left for name, left in probe().items()}

    def ask_approvals(self, pending: Callable[[], Mapping[str, int]], grants: Callable[[], Mapping[str, int]]) -> None:
        """Learn how many reviews wait and how many grants are in force, by approval flow."""
        self._probes[catalogue.REVIEWS_PENDING.name] = lambda: {(flow,): float(n) for flow, n in pending().items()}
        self._probes[catalogue.GRANTS_ACTIVE.name] = lambda: {(flow,): float(n) for flow, n in grants().items()}

    def ask_audit(self, depth: Callable[[], int], counts: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Learn from the audit writer how many lines wait, and what came of the others by (sink, result)."""
        self._probes[catalogue.AUDIT_QUEUE.name] = lambda: {(): depth()}
        self._probes[catalogue.AUDIT_RECORDS.name] = lambda: {labels: float(n) for labels, n in counts().items()}

    # ------------------------------------------------------------ for the scraper

    def exposition(self) -> bytes:
        """Return all of it as Prometheus reads it (`exposition.CONTENT_TYPE`). May be called from any thread."""
        return "\n".join([*self._lines(), ""]).encode() + generate_latest(self._process)

    def _lines(self) -> Iterator[str]:
        for metric in CATALOGUE:
            if metric.kind == "histogram":
                yield from exposition.buckets(metric, self._histograms[metric.name])
            else:
                probe = self._probes.get(metric.name)
                items = probe().items() if probe else self._counters[metric.name].items()
                yield from exposition.numbers(metric, items)
