"""The gateway as a real process: its configuration in plain dicts, its start, its end, its evidence.

Used by fixtures of the SDK, conformance and integration tests. Speaks to the gateway as
an operator does: a file, a command, a signal, `/readyz`.
"""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import yaml

from tests.support.processes import Process, free_port

ROOT = Path(__file__).resolve().parents[2]
# Another build can be named, to hold it to the same tests.
COMMAND = os.environ.get("OPENMCP_COMMAND") or str(ROOT / ".venv" / "bin" / "openmcp")
READY_TIMEOUT_S = 30.0
RECORD_TIMEOUT_S = 10.0

Document: TypeAlias = Mapping[str, Any]


def document(kind: str, name: str, spec: Mapping[str, Any]) -> Document:
    """One resource."""
    return {"apiVersion": "openmcp.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def server(name: str, replicas: Iterable[str], *, is_anonymous: bool = True, **spec: Any) -> Document:
    """An `MCPServer` at `/<name>`."""
    authentication: dict[str, Any] = {"anonymous": True} if is_anonymous else {"sources": ["keys"]}
    # Taking turns is the one way of balancing whose outcome a test can foretell.
    upstream = {"replicas": list(replicas), "balance": "roundRobin"}
    base = {"upstream": upstream, "authentication": authentication}
    return document("MCPServer", name, {**base, **spec})


def policy(name: str, *rules: Mapping[str, Any], **spec: Any) -> Document:
    return document("Policy", name, {**spec, "rules": list(rules)})


def allow_everything() -> Document:
    """Every subject, and every method, the unknown ones too."""
    subjects = {"tools": ["**"], "prompts": ["**"], "resources": ["**"]}
    return policy(
        "allow-everything",
        {"id": "subjects", "match": subjects, "effect": "allow"},
        {"id": "methods", "match": {"methods": ["**"]}, "effect": "allow"},
    )


@dataclass(frozen=True)
class Key:
    """An agent that shows an API key."""

    agent: str

    @property
    def value(self) -> str:
        return f"omcp_{self.agent}_{hashlib.sha256(self.agent.encode()).hexdigest()}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.value}"}

    def document(self, **spec: Any) -> Document:
        digest = hashlib.sha256(self.value.encode()).hexdigest()
        identity = {"apiKey": {"source": "keys", "id": self.agent, "sha256": digest}}
        return document("Agent", self.agent, {**spec, "identities": [identity]})


def key_source() -> Document:
    return document("IdentitySource", "keys", {"order": 30, "apiKey": {"header": "Authorization"}})


@dataclass(frozen=True)
class Gateway:
    """One running gateway."""

    origin: str
    admin: str
    config: Path
    data: Path
    process: Process

    def url(self, name: str) -> str:
        """Where agents reach the server `name`."""
        return f"{self.origin}/{name}"

    def audit_files(self) -> list[Path]:
        return sorted((self.data / "audit").glob("*.jsonl"))

    def audit_records(self) -> list[dict[str, Any]]:
        """All records that are on disk by now; a line that is still being written is left out."""
        lines = (line for path in self.audit_files() for line in path.read_text().splitlines(keepends=True))
        return [json.loads(line) for line in lines if line.endswith("\n")]

    async def recorded(self, is_meant: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first record of that description. It is written behind the answer, so it is waited for, in bounds."""
        async with asyncio.timeout(RECORD_TIMEOUT_S):
            while True:
                found = next(filter(is_meant, self.audit_records()), None)
                if found is not None:
                    return found
                await asyncio.sleep(0.02)

    async def reload(self, documents: Sequence[Document]) -> None:
        """Put other resources into the configuration file, and wait until they are in force."""
        before = self._generation()
        (bootstrap, *_) = yaml.safe_load_all(self.config.read_text())
        fresh = self.config.with_suffix(".new")
        fresh.write_text(yaml.safe_dump_all([bootstrap, *documents]))
        fresh.replace(self.config)
        async with asyncio.timeout(READY_TIMEOUT_S):
            while True:
                if self._generation() != before:
                    return
                await asyncio.sleep(0.02)

    def _generation(self) -> int:
        found: int = httpx.get(f"{self.admin}/readyz", timeout=2.0, trust_env=False).json()["generation"]
        return found

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.admin}/readyz", timeout=2.0, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running_gateway(
    documents: Sequence[Document], *, folder: Path, spec: Mapping[str, Any] | None = None
) -> Iterator[Gateway]:
    """`openmcp serve` with these resources on free ports of loopback, ready; ended with SIGTERM.

    `spec` adds to, or replaces, fields of the `GatewayConfig`.
    """
    public, admin, data = free_port(), free_port(), folder / "data"
    base = {
        "listeners": [{"name": "public", "address": f"127.0.0.1:{public}"}],
        "admin": {"address": f"127.0.0.1:{admin}"},
        "dataDir": str(data),
    }
    config = folder / "gateway.yaml"
    config.write_text(yaml.safe_dump_all([document("GatewayConfig", "test", {**base, **(spec or {})}), *documents]))
    process = Process([COMMAND, "serve", "--config", str(config)], output=folder / "gateway.log", cwd=folder)
    gateway = Gateway(
        origin=f"http://127.0.0.1:{public}",
        admin=f"http://127.0.0.1:{admin}",
        config=config,
        data=data,
        process=process,
    )
    try:
        _wait_until_ready(gateway)
        yield gateway
    finally:
        process.stop(timeout_s=40.0)


def _wait_until_ready(gateway: Gateway) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not gateway.is_ready():
        if gateway.process.returncode is not None:
            raise gateway.process.failure("ended instead of serving")
        if time.monotonic() > deadline:
            raise gateway.process.failure("did not become ready in time")
        time.sleep(0.05)
