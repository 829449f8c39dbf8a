"""Alerts and dashboards: they ask for metrics and labels that exist, and Prometheus itself understands them."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from openmcp.telemetry.catalogue import CATALOGUE
from tests.support.gateway import Gateway, allow_everything, running_gateway, server
from tests.support.processes import Process, free_port
from tests.support.servers import reference_server

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "openmcp.rules.yaml"
CASES = RULES.with_name("openmcp.rules.test.yaml")
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
METRICS = {metric.name: metric for metric in CATALOGUE}
WAIT_S = 20.0
_ASKED = re.compile(r"(openmcp_[a-z_]+)(?:\{([^}]*)\})?")
_BUILT_IN = {"__rate_interval": "1m", "server": ".*", "agent": ".*"}


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing; Debian: apt-get install prometheus")
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def queries(path: Path) -> list[str]:
    page = json.loads(path.read_text())
    return [target["expr"] for panel in page["panels"] for target in panel["targets"]]


def filled(query: str) -> str:
    """The query as Grafana sends it."""
    for name, value in _BUILT_IN.items():
        query = query.replace(f"${name}", value)
    assert "$" not in query, query
    return query


def check_metrics(query: str) -> None:
    """Make sure that the query asks for metrics, and labels of them, that there are."""
    for name, selector in _ASKED.findall(query):
        metric = METRICS.get(name) or METRICS[re.sub("_(bucket|sum|count)$", "", name)]
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert asked <= {*metric.labels, "le"}, (name, asked)


@pytest.mark.parametrize("query", [rule["expr"] for rule in rules()])
def test_alerts_ask_for_what_there_is(query: str) -> None:
    check_metrics(query)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_ask_for_what_there_is(path: Path) -> None:
    for query in queries(path):
        check_metrics(filled(query))


def test_dashboards_are_current() -> None:
    command = [sys.executable, str(ROOT / "tools" / "dashboards.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules()}


def test_prometheus_takes_the_rules_and_they_fire_as_they_should() -> None:
    promtool = tool("promtool")
    for arguments in (["check", "rules", RULES.name], ["test", "rules", CASES.name]):
        result = subprocess.run(
            [promtool, *arguments], cwd=RULES.parent, capture_output=True, text=True, timeout=50, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr


@contextmanager
def prometheus(gateway: Gateway, folder: Path) -> Iterator[str]:
    """A real Prometheus that scrapes the gateway every second, and its address."""
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "openmcp", "static_configs": [{"targets": [gateway.admin.removeprefix("http://")]}]}
        ],
    }
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [
        tool("prometheus"),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = Process(command, output=folder / "prometheus.log", cwd=folder)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop(timeout_s=20.0)


def asked(url: str, query: str) -> list[Any]:
    """What Prometheus answers to a query; it must take it."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}, timeout=5.0, trust_env=False).json()
    assert answer["status"] == "success", (query, answer)
    found: list[Any] = answer["data"]["result"]
    return found


def until_scraped(url: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            # Two scrapes with the exchanges between them, so that there are rates.
            if asked(url, "count_over_time(openmcp_requests_total[1m]) > 2"):
                return
        except (httpx.TransportError, ValueError):
            pass
        assert time.monotonic() < deadline, "Prometheus has scraped nothing"
        time.sleep(0.2)


@pytest.mark.heavy
def test_a_real_prometheus_scrapes_a_real_gateway_and_takes_every_query(tmp_path: Path) -> None:
    tool("prometheus")
    with (
        reference_server("a", folder=tmp_path) as replica,
        running_gateway([server("desk", [replica.url]), allow_everything()], folder=tmp_path) as gateway,
        prometheus(gateway, tmp_path) as url,
    ):
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for _ in range(3):
            httpx.post(gateway.url("desk"), json=body, timeout=5.0, trust_env=False)
        until_scraped(url)
        for path in DASHBOARDS:
            for query in queries(path):
                asked(url, filled(query))
        assert asked(url, 'up{job="openmcp"}')[0]["value"][1] == "1"
        assert asked(url, 'sum(openmcp_requests_total{server="desk"})')[0]["value"][1] == "3"
        loaded = httpx.get(f"{url}/api/v1/rules", timeout=5.0, trust_env=False).json()["data"]["groups"]
        states = {rule["name"]: rule["health"] for group in loaded for rule in group["rules"]}
        assert set(states) == {rule["alert"] for rule in rules()}
        assert set(states.values()) <= {"ok", "unknown"}
