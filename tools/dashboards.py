"""Writes deploy/grafana/*.json: one dashboard per reader, out of the tables below.

`python tools/dashboards.py` writes them, `--check` says whether they are current. Every
query uses metrics of `openmcp.telemetry.catalogue` only; a test holds it to that.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "grafana"
WIDTH, HEIGHT = 24, 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}

SERVER = 'server=~"$server"'
BOTH = 'server=~"$server",agent=~"$agent"'
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """One picture: what it answers, its unit, its queries with their legends."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    why: str = ""


@dataclass(frozen=True)
class Dashboard:
    """One page for one kind of reader."""

    uid: str
    title: str
    about: str
    panels: Sequence[Panel]
    has_agents: bool = False


def quantile(share: float, metric: str, labels: str, *, by: str) -> str:
    """A quantile of a histogram over the chosen labels."""
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket{{{labels}}}{RATE})))"


def per_second(metric: str, labels: str, *, by: str) -> str:
    """A rate, added up over all other labels."""
    return f"sum by ({by}) (rate({metric}{{{labels}}}{RATE}))"


def share(metric: str, part: str, whole: str, *, by: str) -> str:
    """Which part of a rate has these labels."""
    return f"{per_second(metric, part, by=by)} / {per_second(metric, whole, by=by)}"


REQUESTS = "openmcp_requests_total"
REFUSED = 'outcome!~"ok|tool-error|interrupted"'

TRAFFIC = Dashboard(
    "openmcp-traffic",
    "OpenMCP / Traffic",
    "What goes through the gateway, how fast, and what comes of it.",
    (
        Panel("Exchanges per second, by server", [(per_second(REQUESTS, SERVER, by="server"), "{{server}}")], "reqps"),
        Panel("Outcomes per second", [(per_second(REQUESTS, SERVER, by="outcome"), "{{outcome}}")], "reqps"),
        Panel(
            "Duration of an exchange",
            [
                (quantile(0.5, "openmcp_request_duration_seconds", SERVER, by="server"), "p50 {{server}}"),
                (quantile(0.99, "openmcp_request_duration_seconds", SERVER, by="server"), "p99 {{server}}"),
            ],
            "s",
            why="Tools work for seconds and minutes; look at the overhead for what the gateway adds.",
        ),
        Panel(
            "Overhead of the gateway",
            [
                (quantile(0.5, "openmcp_overhead_seconds", SERVER, by="server"), "p50 {{server}}"),
                (quantile(0.99, "openmcp_overhead_seconds", SERVER, by="server"), "p99 {{server}}"),
            ],
            "s",
            why="Without waiting for servers or people.",
        ),
        Panel("Under way", [(f"sum by (server) (openmcp_inflight_exchanges{{{SERVER}}})", "{{server}}")]),
        Panel("Open event streams", [(f"sum by (server) (openmcp_open_streams{{{SERVER}}})", "{{server}}")]),
        Panel("Sessions", [(f"sum by (server) (openmcp_sessions{{{SERVER}}})", "{{server}}")]),
        Panel(
            "Size of messages, p99",
            [(quantile(0.99, "openmcp_message_bytes", SERVER, by="server, direction"), "{{server}} {{direction}}")],
            "bytes",
        ),
    ),
)

AGENTS = Dashboard(
    "openmcp-agents",
    "OpenMCP / Agents",
    "For the people who build agents: what theirs do, what fails, and what is denied.",
    (
        Panel("Calls per second, by agent", [(per_second(REQUESTS, BOTH, by="agent"), "{{agent}}")], "reqps"),
        Panel(
            "Most used tools, last hour",
            [
                (
                    f'topk(15, sum by (server, tool) (increase({REQUESTS}{{{BOTH},method="tools/call"}}[1h])))',
                    "{{server}} {{tool}}",
                )
            ],
            kind="bargauge",
        ),
        Panel(
            "Tools that report an error",
            [(per_second(REQUESTS, f'{BOTH},outcome="tool-error"', by="agent, tool"), "{{agent}} {{tool}}")],
            "reqps",
        ),
        Panel(
            "Refused or failed, by reason",
            [(per_second(REQUESTS, f"{BOTH},{REFUSED}", by="agent, outcome"), "{{agent}} {{outcome}}")],
            "reqps",
        ),
        Panel(
            "Denied by policy",
            [
                (
                    per_second(REQUESTS, f'{BOTH},decision="deny"', by="agent, method, tool"),
                    "{{agent}} {{method}} {{tool}}",
                )
            ],
            "reqps",
            why="A tool that is denied is never listed to the agent; calls to it are guesses or old knowledge.",
        ),
        Panel(
            "Duration of tool calls, p95",
            [
                (
                    quantile(0.95, "openmcp_request_duration_seconds", f'{SERVER},method="tools/call"', by="tool"),
                    "{{tool}}",
                )
            ],
            "s",
        ),
        Panel("Methods", [(per_second(REQUESTS, BOTH, by="method"), "{{method}}")], "reqps"),
        Panel(
            "Calls in the last day",
            [(f"sum by (agent) (increase({REQUESTS}{{{BOTH}}}[24h]))", "{{agent}}")],
            kind="bargauge",
        ),
    ),
    has_agents=True,
)

POLICY = Dashboard(
    "openmcp-policy",
    "OpenMCP / Policy",
    "What the rules decide, and what rules on trial would.",
    (
        Panel(
            "Decisions per second",
            [(per_second("openmcp_policy_decisions_total", 'mode="enforce"', by="effect"), "{{effect}}")],
            "reqps",
        ),
        Panel(
            "Rules that deny",
            [
                (
                    per_second("openmcp_policy_decisions_total", 'mode="enforce",effect="deny"', by="policy, rule"),
                    "{{policy}}/{{rule}}",
                )
            ],
            "reqps",
            why="An empty name: no rule matched, the default denied.",
        ),
        Panel(
            "Rules on trial: what they would do",
            [
                (
                    per_second("openmcp_policy_decisions_total", 'mode="shadow"', by="policy, rule, effect"),
                    "{{policy}}/{{rule}} {{effect}}",
                )
            ],
            "reqps",
        ),
        Panel(
            "Rules that decided in the last day",
            [
                (
                    "sort_desc(sum by (policy, rule, effect) (increase(openmcp_policy_decisions_total[24h])))",
                    "{{policy}}/{{rule}} {{effect}}",
                )
            ],
            kind="bargauge",
        ),
        Panel(
            "Definitions of tools that changed",
            [(f"sum by (server) (increase(openmcp_definition_changes_total{{{SERVER}}}[1h]))", "{{server}}")],
        ),
        Panel(
            "Part of the exchanges that is refused",
            [(share(REQUESTS, f"{SERVER},{REFUSED}", SERVER, by="server"), "{{server}}")],
            "percentunit",
        ),
    ),
)

FLOW = 'approval_flow=~".*"'

APPROVALS = Dashboard(
    "openmcp-approvals",
    "OpenMCP / Approvals",
    "For the people who approve, and those who ask them: how many questions, how long they wait, how they end.",
    (
        Panel("Waiting now", [(f"sum by (approval_flow) (openmcp_reviews_pending{{{FLOW}}})", "{{approval_flow}}")]),
        Panel(
            "Ended per second, by outcome",
            [(per_second("openmcp_reviews_total", FLOW, by="approval_flow, outcome"), "{{approval_flow}} {{outcome}}")],
            "reqps",
        ),
        Panel(
            "Until people answer",
            [
                (quantile(0.5, "openmcp_review_wait_seconds", FLOW, by="approval_flow"), "p50 {{approval_flow}}"),
                (quantile(0.95, "openmcp_review_wait_seconds", FLOW, by="approval_flow"), "p95 {{approval_flow}}"),
            ],
            "s",
        ),
        Panel("Grants in force", [(f"sum by (approval_flow) (openmcp_grants_active{{{FLOW}}})", "{{approval_flow}}")]),
        Panel(
            "Channels that cannot reach people",
            [("sum by (channel) (increase(openmcp_channel_errors_total[15m]))", "{{channel}}")],
        ),
        Panel(
            "Calls that need people",
            [(per_second(REQUESTS, f'{SERVER},decision="require-approval"', by="server, tool"), "{{server}} {{tool}}")],
            "reqps",
        ),
    ),
)

OPERATIONS = Dashboard(
    "openmcp-operations",
    "OpenMCP / Operations",
    "Is it well? Replicas, evidence, configuration, store, certificates, process.",
    (
        Panel(
            "Replicas that take new work",
            [(f"openmcp_upstream_up{{{SERVER}}}", "{{server}} {{replica}}")],
            kind="stat",
        ),
        Panel(
            "First byte of a replica, p95",
            [
                (
                    quantile(0.95, "openmcp_upstream_duration_seconds", SERVER, by="server, replica"),
                    "{{server}} {{replica}}",
                )
            ],
            "s",
        ),
        Panel("Lines of evidence that wait", [("openmcp_audit_queue_depth", "{{instance}}")]),
        Panel(
            "Lines of evidence per second",
            [(per_second("openmcp_audit_records_total", "", by="sink, result"), "{{sink}} {{result}}")],
        ),
        Panel(
            "Who could not be identified",
            [
                (
                    per_second("openmcp_authentication_total", 'result!="ok"', by="source, result"),
                    "{{source}} {{result}}",
                )
            ],
            "reqps",
        ),
        Panel(
            "Turned away at the edge",
            [(per_second("openmcp_edge_refusals_total", "", by="listener, kind"), "{{listener}} {{kind}}")],
            "reqps",
        ),
        Panel(
            "TLS handshakes that failed",
            [
                (
                    per_second("openmcp_tls_handshake_failures_total", "", by="listener, reason"),
                    "{{listener}} {{reason}}",
                )
            ],
            "reqps",
        ),
        Panel(
            "Certificates: time left",
            [("min by (listener) (openmcp_certificate_expiry_seconds)", "{{listener}}")],
            "s",
            kind="stat",
        ),
        Panel(
            "State store, p99",
            [(quantile(0.99, "openmcp_store_operation_seconds", "", by="operation"), "{{operation}}")],
            "s",
        ),
        Panel(
            "Configurations loaded and refused",
            [("sum by (source, result) (increase(openmcp_config_reload_total[1h]))", "{{source}} {{result}}")],
        ),
        Panel("Processor time", [(f"sum by (instance) (rate(process_cpu_seconds_total{RATE}))", "{{instance}}")]),
        Panel("Memory", [("sum by (instance) (process_resident_memory_bytes)", "{{instance}}")], "bytes"),
    ),
)

DASHBOARDS = (TRAFFIC, AGENTS, POLICY, APPROVALS, OPERATIONS)


def rendered(dashboard: Dashboard) -> str:
    """Return the dashboard as Grafana reads it."""
    page: dict[str, Any] = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["openmcp"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": list(_variables(dashboard))},
        "panels": list(_panels(dashboard)),
    }
    return json.dumps(page, indent=2) + "\n"


def _variables(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    yield {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    yield _choice("server", f"label_values({REQUESTS}, server)")
    if dashboard.has_agents:
        yield _choice("agent", f"label_values({REQUESTS}{{{SERVER}}}, agent)")


def _choice(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    x = y = 0
    for number, panel in enumerate(dashboard.panels, 1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        yield {
            "id": number,
            "type": panel.kind,
            "title": panel.title,
            "description": panel.why,
            "datasource": _SOURCE,
            "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind == "timeseries" else {},
            "targets": [
                {"refId": chr(65 + index), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
                for index, (expression, legend) in enumerate(panel.queries)
            ],
        }
        x += panel.width


def main() -> int:
    """Write the dashboards, or check them."""
    parser = argparse.ArgumentParser(description="Generate the Grafana dashboards.")
    parser.add_argument("--check", action="store_true", help="only say whether they are current")
    is_check = parser.parse_args().check
    stale: list[str] = []
    for dashboard in DASHBOARDS:
        path = FOLDER / f"{dashboard.uid.removeprefix('openmcp-')}.json"
        text = rendered(dashboard)
        if not is_check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        print(f"not current: {', '.join(stale)}; run tools/dashboards.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
