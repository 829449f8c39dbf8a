"""The metrics: what a scrape shows, and that nobody can fill them."""

import re
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openmcp.telemetry.catalogue import CATALOGUE
from openmcp.telemetry.metrics import NO_DECISION, OTHER, Metrics
from openmcp.telemetry.reference import page
from openmcp.telemetry.series import MAX_ROWS, MAX_SERIES


def scraped(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample as a scraper reads it: (name, labels) → value."""
    text = metrics.exposition().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


def end(metrics: Metrics, **changes: str) -> None:
    named = {"tool": "create", "agent": "ci", "decision": "allow", "outcome": "ok"} | changes
    metrics.began("github")
    metrics.ended("github", "tools/call", **named, duration_s=0.020, upstream_s=0.019, request_bytes=300)


def test_an_exchange_is_counted_with_its_labels() -> None:
    metrics = Metrics()
    end(metrics)
    end(metrics)
    end(metrics, decision=NO_DECISION, outcome="unauthenticated", tool=OTHER, agent=OTHER)
    samples = scraped(metrics)
    whole = labels(server="github", method="tools/call", tool="create", agent="ci", decision="allow", outcome="ok")
    assert samples["openmcp_requests_total", whole] == 2
    refused = labels(
        server="github", method="tools/call", tool="_other", agent="_other", decision="none", outcome="unauthenticated"
    )
    assert samples["openmcp_requests_total", refused] == 1
    assert samples["openmcp_inflight_exchanges", labels(server="github")] == 0


def test_a_refusal_of_the_edge_is_counted_by_listener_and_kind() -> None:
    metrics = Metrics()
    for kind in ("malformed", "malformed", "body-too-large"):
        metrics.turned_away("public", kind)
    samples = scraped(metrics)
    assert samples["openmcp_edge_refusals_total", labels(listener="public", kind="malformed")] == 2
    assert samples["openmcp_edge_refusals_total", labels(listener="public", kind="body-too-large")] == 1


def test_a_histogram_has_cumulative_buckets_a_sum_and_a_count() -> None:
    metrics = Metrics()
    end(metrics)
    samples = scraped(metrics)
    whole = {"server": "github", "method": "tools/call", "tool": "create"}
    name = "openmcp_request_duration_seconds"
    assert samples[f"{name}_bucket", labels(**whole, le="0.01")] == 0
    assert samples[f"{name}_bucket", labels(**whole, le="0.025")] == 1
    assert samples[f"{name}_bucket", labels(**whole, le="+Inf")] == 1
    assert samples[f"{name}_count", labels(**whole)] == 1
    assert samples[f"{name}_sum", labels(**whole)] == pytest.approx(0.020)


def test_the_overhead_is_what_the_upstream_did_not_take() -> None:
    metrics = Metrics()
    end(metrics)
    assert scraped(metrics)["openmcp_overhead_seconds_sum", labels(server="github")] == pytest.approx(0.001)


def test_a_value_on_a_bound_belongs_to_its_bucket_and_a_huge_one_to_the_last() -> None:
    metrics = Metrics()
    metrics.message_out("github", 1024)
    metrics.message_out("github", 10**12)
    samples = scraped(metrics)
    response = {"server": "github", "direction": "response"}
    assert samples["openmcp_message_bytes_bucket", labels(**response, le="1024.0")] == 1
    assert samples["openmcp_message_bytes_bucket", labels(**response, le="16777216.0")] == 1
    assert samples["openmcp_message_bytes_bucket", labels(**response, le="+Inf")] == 2


def test_invented_names_end_in_one_series() -> None:
    metrics = Metrics()
    for n in range(MAX_SERIES + 500):
        metrics.decided("p", f"r{n}", effect="deny")
        metrics.answered("s", f"http://{n}", upstream_s=0.1)
    samples = scraped(metrics)
    counted = {key: value for key, value in samples.items() if key[0] == "openmcp_policy_decisions_total"}
    assert len(counted) == MAX_SERIES + 1
    assert sum(counted.values()) == MAX_SERIES + 500
    other = labels(server="_other", replica="_other")
    assert samples["openmcp_upstream_duration_seconds_count", other] == MAX_SERIES + 500 - MAX_ROWS


def test_every_metric_is_fed_by_a_method() -> None:
    metrics = Metrics()
    end(metrics)
    metrics.answered("github", "http://a", upstream_s=0.01)
    metrics.message_out("github", 10)
    metrics.decided("p", "r", effect="allow")
    metrics.found("us-ssn", "response", "redact")
    metrics.authenticated("corp", "ok")
    metrics.turned_away("public", "malformed")
    metrics.handshake_failed("public", "certificate")
    metrics.ask_certificates(lambda: {"public": 86_400.0})
    metrics.stream_opened("github")
    metrics.stream_closed("github")
    metrics.ask_upstreams(lambda: {("github", "http://a"): False})
    metrics.definition_changed("github", "changed")
    metrics.reviewed("tickets", "granted", wait_s=12.0)
    metrics.channel_failed("slack")
    metrics.ask_approvals(lambda: {"tickets": 1}, lambda: {"tickets": 2})
    metrics.config_loaded("file", is_ok=True)
    metrics.config_loaded("file", is_ok=False)
    metrics.store_operation("get", duration_s=0.0001)
    metrics.ask_sessions(lambda: {"github": 3})
    metrics.ask_audit(lambda: 5, lambda: {("file", "written"): 7})
    samples = scraped(metrics)
    for metric in CATALOGUE:
        suffix = "_count" if metric.kind == "histogram" else ""
        shown = [dict(key[1]) for key in samples if key[0] == metric.name + suffix]
        assert shown, metric.name
        assert set(shown[0]) == set(metric.labels), metric.name
    assert samples["openmcp_sessions", labels(server="github")] == 3
    assert samples["openmcp_audit_queue_depth", ()] == 5
    assert samples["openmcp_audit_records_total", labels(sink="file", result="written")] == 7
    assert samples["openmcp_config_generation", ()] == 1
    assert samples["openmcp_upstream_up", labels(server="github", replica="http://a")] == 0


def test_a_scrape_of_ten_thousand_series_takes_no_time_that_anybody_feels() -> None:
    metrics = Metrics()
    for n in range(MAX_ROWS):
        end(metrics, tool=f"tool-{n}")
    for n in range(1000):
        metrics.decided("policy", f"rule-{n}", effect="allow")
    text, taken = b"", list[float]()
    for _ in range(5):
        began = time.perf_counter()
        text = metrics.exposition()
        taken.append(time.perf_counter() - began)
    assert text.count(b"\n") > 10_000
    assert min(taken) < 0.1


def test_what_labels_hold_cannot_forge_a_line() -> None:
    metrics = Metrics()
    metrics.decided('p"} 7\nx', "r\\", effect="allow")
    assert (
        scraped(metrics)[
            "openmcp_policy_decisions_total", labels(policy='p"} 7\nx', rule="r\\", effect="allow", mode="enforce")
        ]
        == 1
    )


def test_with_too_many_series_first_the_agent_is_given_up_then_the_tool_and_never_the_server() -> None:
    metrics = Metrics()
    for n in range(2 * MAX_SERIES):
        end(metrics, tool=f"tool-{n}", agent=f"agent-{n}")
    counted = {key: value for key, value in scraped(metrics).items() if key[0] == "openmcp_requests_total"}
    assert len(counted) <= MAX_SERIES + 1
    assert sum(counted.values()) == 2 * MAX_SERIES
    assert {dict(key[1])["server"] for key in counted} == {"github"}
    shown = [dict(key[1]) for key in counted]
    assert any(one["agent"] == OTHER and one["tool"] != OTHER for one in shown)
    assert any(one["agent"] == OTHER and one["tool"] == OTHER for one in shown)


def test_names_follow_the_rules_of_the_house() -> None:
    for metric in CATALOGUE:
        assert re.fullmatch(r"openmcp_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not {"session", "uri", "argument", "id"} & set(metric.labels)
        assert bool(metric.buckets) == (metric.kind == "histogram")


def test_the_reference_page_is_current(root: Path) -> None:
    assert (root / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8") == page()
