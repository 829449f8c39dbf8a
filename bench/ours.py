"""OpenMCP's own configurations under measurement: as thin as it gets, and with everything that works today.

Written as an operator would write them; nothing is switched off that protects anybody.
"""

import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path

import yaml

from bench import messages
from bench.others import Route

API_VERSION = "openmcp.dev/v1alpha1"
RULES = 20
RULES_PER_POLICY = 5
# An agent here holds thousands of streams at once, which the default rightly forbids.
LIMITS = {"streamsPerPrincipal": 100_000, "concurrentExchanges": 100_000}


def new_key() -> str:
    return f"omcp_bench_{secrets.token_urlsafe(32)}"


def pass_through(folder: Path, route: Route, *, admin_port: int) -> str:
    """One server behind two paths, anonymous agents, one rule, audit without bodies."""
    allow = {"id": "all", "match": {"tools": ["**"]}, "effect": "allow"}
    servers = [_server(path, route.upstream_port, anonymous=True) for path in ("json", "sse")]
    policy = _resource("Policy", "open", {"rules": [allow]})
    return _documents([_gateway(folder, route, admin_port=admin_port, bodies="metadata"), *servers, policy])


def full(folder: Path, route: Route, *, admin_port: int, key: str) -> str:
    """An API key, 20 rules on two levels, stored sessions, whole bodies in the audit log, metrics."""
    servers = [_server(path, route.upstream_port, anonymous=False) for path in ("json", "sse")]
    servers += [_server(path, route.streams_port, anonymous=False) for path in ("idle", "flood")]
    source = _resource("IdentitySource", "keys", {"order": 10, "apiKey": {"header": "Authorization"}})
    digest = hashlib.sha256(key.encode()).hexdigest()
    identity = {"apiKey": {"source": "keys", "id": "bench", "sha256": digest}}
    agent = _resource("Agent", "bench", {"groups": ["agents"], "identities": [identity]})
    gateway = _gateway(folder, route, admin_port=admin_port, bodies="full")
    return _documents([gateway, *servers, source, agent, *_policies()])


def _gateway(folder: Path, route: Route, *, admin_port: int, bodies: str) -> dict[str, object]:
    spec = {
        "listeners": [{"name": "edge", "address": f"127.0.0.1:{route.port}"}],
        "admin": {"address": f"127.0.0.1:{admin_port}"},
        "dataDir": str(folder / f"openmcp-{route.port}"),
        "workers": 1,
        "audit": {"sinks": [{"file": {}}], "bodies": bodies},
        "limits": LIMITS,
    }
    return _resource("GatewayConfig", "bench", spec)


def _server(path: str, upstream_port: int, *, anonymous: bool) -> dict[str, object]:
    authentication = {"sources": [], "anonymous": True} if anonymous else {"sources": ["keys"]}
    return _resource(
        "MCPServer",
        path,
        {
            "path": f"/{path}",
            "upstream": {"replicas": [f"http://127.0.0.1:{upstream_port}/{path}"]},
            "authentication": authentication,
        },
    )


def _policies() -> list[dict[str, object]]:
    """RULES rules, every second one a deny; one of them lets the benchmark's tool through."""
    rules: list[dict[str, object]] = [
        {
            "id": f"rule-{n}",
            "match": {"tools": [f"area{n}_*", f"*_internal_{n}"]},
            "effect": "deny" if n % 2 else "allow",
        }
        for n in range(RULES - 1)
    ]
    rules.insert(RULES // 2, {"id": "search", "match": {"tools": ["search_*", messages.TOOL]}, "effect": "allow"})
    policies: list[dict[str, object]] = []
    for n in range(0, RULES, RULES_PER_POLICY):
        spec: dict[str, object] = {"rules": rules[n : n + RULES_PER_POLICY]}
        if n:
            spec["agents"] = {"groups": ["agents"]}
        policies.append(_resource("Policy", f"policy-{n}", spec))
    return policies


def _resource(kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _documents(resources: Sequence[dict[str, object]]) -> str:
    # Each value is written out where it stands: anchors would only hide what is configured.
    dumper = yaml.SafeDumper
    dumper.ignore_aliases = lambda _self, _data: True  # type: ignore[method-assign,assignment]
    return yaml.dump_all(resources, Dumper=dumper, sort_keys=False)
