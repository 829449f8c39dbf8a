"""Each metric moves when that happens which it counts: a running gateway is scraped before, while and after."""

import asyncio
import ipaddress
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
import pytest
import yaml
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from openmcp.telemetry.catalogue import CATALOGUE, Metric
from tests.conftest import missing
from tests.sdk.clients import Connected, Progress, connected
from tests.support.certificates import Authority
from tests.support.gateway import Document, Gateway, Key, key_source, policy, running_gateway, server
from tests.support.processes import Process, free_port
from tests.support.servers import Backend, reference_server

Samples: TypeAlias = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]

WAIT_S: Final = 20.0
BOT: Final = Key("bot")
ELSEWHERE: Final = {
    "openmcp_findings_total",
    "openmcp_reviews_total",
    "openmcp_reviews_pending",
    "openmcp_review_wait_seconds",
    "openmcp_grants_active",
    "openmcp_channel_errors_total",
    "openmcp_definition_changes_total",
}
"""Of content rules, approvals and pinned definitions: their own tests see them move."""


def documents(replica: str) -> list[Document]:
    subjects = {"tools": ["**"], "prompts": ["**"], "resources": ["**"]}
    return [
        server("desk", [replica], is_anonymous=False),
        server("dead", [f"http://127.0.0.1:{free_port()}/mcp"], is_anonymous=False),
        key_source(),
        BOT.document(),
        policy(
            "desk",
            {"id": "all", "match": subjects, "effect": "allow"},
            {"id": "no-crash", "match": {"tools": ["crash"]}, "effect": "deny", "reason": "No."},
            {"id": "trial", "match": {"tools": ["slow"]}, "effect": "deny", "mode": "shadow"},
        ),
    ]


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    with reference_server("a", folder=tmp_path) as backend:
        yield backend


@pytest.fixture
def secure(tmp_path: Path) -> tuple[int, dict[str, Any]]:
    """A listener with TLS."""
    made = Authority().issue(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    certificate, key = made.write(tmp_path, "gateway")
    port = free_port()
    tls = {"certFile": str(certificate), "keyFile": str(key)}
    return port, {"name": "secure", "address": f"127.0.0.1:{port}", "tls": tls}


def scraped(gateway: Gateway) -> Samples:
    text = httpx.get(f"{gateway.admin}/metrics", timeout=WAIT_S, trust_env=False).text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shown(metric: Metric, samples: Samples) -> dict[tuple[tuple[str, str], ...], float]:
    name = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
    return {labels: value for (found, labels), value in samples.items() if found == name}


async def drives(gateway: Gateway, backend: Backend, secure_port: int) -> list[Samples]:
    """Do everything that is counted; return what was shown on the way."""
    seen: list[Samples] = []
    async with connected(gateway.url("desk"), "legacy", headers=BOT.headers) as agent:
        await agent.client.list_tools()
        await agent.call("crash")
        seen.append(await held(gateway, backend, agent))
    async with httpx.AsyncClient(trust_env=False, timeout=WAIT_S) as http:
        # Nobody, somebody with a wrong key, and a server that is not there.
        for url, headers in (
            (gateway.url("desk"), {}),
            (gateway.url("desk"), {"Authorization": "Bearer omcp_bot_wrong"}),
            (gateway.url("dead"), BOT.headers),
        ):
            body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
            await http.post(url, json=body, headers={**headers, "Accept": "application/json, text/event-stream"})
    for port in (int(gateway.origin.rpartition(":")[2]), secure_port):
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as raw:
            raw.sendall(b"what is this\r\n\r\n")
            raw.recv(1000)
    await gateway.reload(documents(backend.url))
    seen.append(await settled(gateway))
    return seen


async def held(gateway: Gateway, backend: Backend, agent: Connected) -> Samples:
    """Scrape while a call is under way that reports progress."""
    progress = Progress()
    call = asyncio.create_task(agent.client.call_tool("hold", {"tag": "m"}, progress_callback=progress))
    await progress.begun()
    samples = await asyncio.to_thread(scraped, gateway)
    await backend.open_gate("m")
    await call
    await agent.call("slow", tag="t", steps=1, ms=1)
    return samples


async def settled(gateway: Gateway) -> Samples:
    """Scrape when the dead replica was found out, which takes some probes."""
    async with asyncio.timeout(WAIT_S):
        while True:
            samples = await asyncio.to_thread(scraped, gateway)
            if 0.0 in [value for (name, _), value in samples.items() if name == "openmcp_upstream_up"]:
                return samples
            await asyncio.sleep(0.05)


async def test_every_metric_of_the_catalogue_moves(
    backend: Backend, secure: tuple[int, dict[str, Any]], tmp_path: Path
) -> None:
    port, listener = secure
    spec = {"listeners": [{"name": "public", "address": f"127.0.0.1:{free_port()}"}, listener]}
    with running_gateway(documents(backend.url), folder=tmp_path, spec=spec) as gateway:
        address = spec["listeners"][0]["address"]
        gateway = Gateway(
            f"http://{address}", gateway.admin, config=gateway.config, data=gateway.data, process=gateway.process
        )
        before = scraped(gateway)
        seen = await drives(gateway, backend, port)
    for metric in CATALOGUE:
        if metric.name in ELSEWHERE:
            continue
        values = [shown(metric, samples) for samples in (before, *seen)]
        assert values[-1], f"{metric.name} is not shown"
        if metric.name not in ("openmcp_build_info", "openmcp_audit_queue_depth", "openmcp_certificate_expiry_seconds"):
            assert any(values[0] != later for later in values[1:]), f"{metric.name} has not moved"
        for labels in values[-1]:
            assert {name for name, _ in labels} == set(metric.labels)
    during, after = seen
    desk = (("server", "desk"),)
    assert during["openmcp_open_streams", desk] >= 1
    assert during["openmcp_inflight_exchanges", desk] >= 1
    assert during["openmcp_sessions", desk] == 1
    assert after["openmcp_inflight_exchanges", desk] == 0
    assert after["openmcp_open_streams", desk] == 0
    assert after["openmcp_sessions", desk] == 0
    for direction in ("request", "response"):
        assert after["openmcp_message_bytes_count", (("direction", direction), ("server", "desk"))] > 0
    # The call that was held took long, and the gateway added next to nothing to it.
    assert after["openmcp_overhead_seconds_sum", desk] < after["openmcp_overhead_seconds_count", desk] * 0.5
    decided = {labels for labels in shown(_metric("openmcp_policy_decisions_total"), after)}
    assert any(dict(labels)["mode"] == "shadow" for labels in decided)
    assert {dict(labels)["result"] for labels in shown(_metric("openmcp_authentication_total"), after)} >= {
        "ok",
        "missing",
        "invalid",
    }


def _metric(name: str) -> Metric:
    return next(metric for metric in CATALOGUE if metric.name == name)


@pytest.mark.heavy
def test_prometheus_scrapes_a_running_gateway_and_loads_the_alerts(
    backend: Backend, tmp_path: Path, root: Path
) -> None:
    program = shutil.which("prometheus") or missing("prometheus", "install Debian's package `prometheus`.")
    with running_gateway(documents(backend.url), folder=tmp_path) as gateway:
        (tmp_path / "prometheus.yml").write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(root / "deploy" / "prometheus" / "openmcp.rules.yaml")],
                    "scrape_configs": [
                        {
                            "job_name": "openmcp",
                            "static_configs": [{"targets": [gateway.admin.removeprefix("http://")]}],
                        }
                    ],
                }
            )
        )
        address = f"127.0.0.1:{free_port()}"
        command = [
            program,
            "--config.file=prometheus.yml",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address={address}",
        ]
        process = Process(command, output=tmp_path / "prometheus.log", cwd=tmp_path)
        try:
            found = asked(f"http://{address}", "openmcp_build_info * on (instance) group_left () up")
            assert [one["value"][1] for one in found] == ["1"]
            assert asked(f"http://{address}", 'ALERTS{alertname="OpenMCPServerUnreachable", server="dead"}')
        finally:
            process.stop()


def asked(origin: str, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers, as soon as it has an answer."""
    deadline = time.monotonic() + 4 * WAIT_S
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{origin}/api/v1/query", params={"query": query}, timeout=WAIT_S, trust_env=False)
            if found := answer.json()["data"]["result"]:
                return list(found)
        except (httpx.TransportError, KeyError, ValueError):
            pass
        time.sleep(0.2)
    pytest.fail(f"Prometheus has no answer to {query}")
