"""Every metric that the gateway has: name, kind, labels, help. Spelled once.

Used by `metrics`, which feeds them, and by the reference in docs/reference/metrics.md,
which is made from it (`python -m openmcp.telemetry.reference`).
"""

from dataclasses import dataclass
from typing import Final, Literal

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
SHORT_SECONDS: Final = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0)
LONG_SECONDS: Final = (5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 28800.0, 86400.0)
BYTES: Final = (256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


REQUESTS: Final = Metric(
    "openmcp_requests_total",
    "counter",
    ("server", "method", "tool", "agent", "decision", "outcome"),
    "Exchanges that ended. `method`: only those of the protocol, `tool`: only names in the server's current list, "
    "`agent`: only configured ones, else `_other`; `decision`: `allow`, `deny`, `require-approval`, or `none` where it "
    "did not come to one; `outcome`: `ok`, `tool-error`, or the kind of refusal or failure.",
)
DURATION: Final = Metric(
    "openmcp_request_duration_seconds",
    "histogram",
    ("server", "method", "tool"),
    "From the head of the request to the end of the answer.",
    SECONDS,
)
OVERHEAD: Final = Metric(
    "openmcp_overhead_seconds",
    "histogram",
    ("server",),
    "What the gateway itself added to an exchange, without waiting for the server or a human.",
    SHORT_SECONDS,
)
MESSAGE_BYTES: Final = Metric(
    "openmcp_message_bytes",
    "histogram",
    ("server", "direction"),
    "Size of messages. `direction`: `request` or `response`.",
    BYTES,
)
UPSTREAM_DURATION: Final = Metric(
    "openmcp_upstream_duration_seconds",
    "histogram",
    ("server", "replica"),
    "From sending a request to a replica to the head of its answer.",
    SECONDS,
)
POLICY_DECISIONS: Final = Metric(
    "openmcp_policy_decisions_total",
    "counter",
    ("policy", "rule", "effect", "mode"),
    "Decisions by the rule that made them; empty names = the default decided. `mode`: `enforce`, or `shadow` for what "
    "a rule on trial would have done.",
)
FINDINGS: Final = Metric(
    "openmcp_findings_total",
    "counter",
    ("detector", "direction", "action"),
    "What content rules found, at most 256 places per message. `direction`: `request` or `response`; `action`: "
    "`block`, `redact`, `mask` or `log`, and with `would-` before it for rules on trial.",
)
AUTHENTICATIONS: Final = Metric(
    "openmcp_authentication_total",
    "counter",
    ("source", "result"),
    "Attempts to learn who an agent is. `result`: `ok`, `invalid`, `missing` or `anonymous`.",
)
EDGE_REFUSALS: Final = Metric(
    "openmcp_edge_refusals_total",
    "counter",
    ("listener", "kind"),
    "Refusals that the HTTP edge itself wrote, before there was an exchange (no valid HTTP, too large, too slow, "
    "foreign host or origin, beyond a limit) or because one ended without an answer. `kind`: the kind of refusal.",
)
INFLIGHT: Final = Metric(
    "openmcp_inflight_exchanges", "gauge", ("server",), "Exchanges under way, open streams included."
)
OPEN_STREAMS: Final = Metric("openmcp_open_streams", "gauge", ("server",), "Event streams that are open to agents.")
SESSIONS: Final = Metric("openmcp_sessions", "gauge", ("server",), "Sessions that this process knows.")
DEFINITION_CHANGES: Final = Metric(
    "openmcp_definition_changes_total",
    "counter",
    ("server", "change"),
    "Definitions of servers with pinning that are other than accepted. `change`: `new`, `changed` or `accepted`.",
)
REVIEWS: Final = Metric(
    "openmcp_reviews_total",
    "counter",
    ("approval_flow", "outcome"),
    "Questions to people that are over. `outcome`: `granted`, `denied`, `expired` or `cancelled`.",
)
REVIEWS_PENDING: Final = Metric(
    "openmcp_reviews_pending", "gauge", ("approval_flow",), "Questions that wait for people."
)
REVIEW_WAIT: Final = Metric(
    "openmcp_review_wait_seconds",
    "histogram",
    ("approval_flow",),
    "From the question to its end.",
    LONG_SECONDS,
)
GRANTS_ACTIVE: Final = Metric(
    "openmcp_grants_active", "gauge", ("approval_flow",), "Answers of people that are in force."
)
CHANNEL_ERRORS: Final = Metric(
    "openmcp_channel_errors_total", "counter", ("channel",), "Attempts to reach people that failed."
)
AUDIT_QUEUE: Final = Metric("openmcp_audit_queue_depth", "gauge", (), "Lines of the audit log that wait to be written.")
AUDIT_RECORDS: Final = Metric(
    "openmcp_audit_records_total",
    "counter",
    ("sink", "result"),
    "Lines of the audit log. `result`: `written`, `failed` (attempts), or `dropped` (sink `queue`).",
)
UPSTREAM_UP: Final = Metric(
    "openmcp_upstream_up", "gauge", ("server", "replica"), "1 = the replica gets new work, 0 = it is ejected."
)
CONFIG_RELOADS: Final = Metric(
    "openmcp_config_reload_total",
    "counter",
    ("source", "result"),
    "Attempts to load the configuration. `result`: `ok` or `refused`; a refused one changes nothing.",
)
CONFIG_GENERATION: Final = Metric(
    "openmcp_config_generation", "gauge", (), "How many configurations have been in force since the start."
)
CERTIFICATE_EXPIRY: Final = Metric(
    "openmcp_certificate_expiry_seconds",
    "gauge",
    ("listener",),
    "Time until the listener's certificate, or one that it sends along, expires; negative = it has. `_admin` = the "
    "listener for probes and scrapers.",
)
HANDSHAKE_FAILURES: Final = Metric(
    "openmcp_tls_handshake_failures_total",
    "counter",
    ("listener", "reason"),
    "TLS handshakes that failed. `reason`: `certificate` for a client certificate that is missing or from no CA that "
    "counts, else `protocol`.",
)
STORE_OPERATION: Final = Metric(
    "openmcp_store_operation_seconds",
    "histogram",
    ("operation",),
    "Calls to the state store. `operation`: `get`, `put`, `delete`, `add` or `scan`.",
    SHORT_SECONDS,
)
BUILD_INFO: Final = Metric("openmcp_build_info", "gauge", ("version", "python"), "Always 1; the labels say what runs.")

CATALOGUE: Final = (
    REQUESTS,
    DURATION,
    OVERHEAD,
    MESSAGE_BYTES,
    UPSTREAM_DURATION,
    POLICY_DECISIONS,
    FINDINGS,
    AUTHENTICATIONS,
    EDGE_REFUSALS,
    INFLIGHT,
    OPEN_STREAMS,
    SESSIONS,
    DEFINITION_CHANGES,
    REVIEWS,
    REVIEWS_PENDING,
    REVIEW_WAIT,
    GRANTS_ACTIVE,
    CHANNEL_ERRORS,
    AUDIT_QUEUE,
    AUDIT_RECORDS,
    UPSTREAM_UP,
    CONFIG_RELOADS,
    CONFIG_GENERATION,
    CERTIFICATE_EXPIRY,
    HANDSHAKE_FAILURES,
    STORE_OPERATION,
    BUILD_INFO,
)
