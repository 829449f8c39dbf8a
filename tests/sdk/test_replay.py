"""A client's session is recorded by a gateway, found in its log, followed there, and answered again from the log."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tests.sdk.clients import WAIT_S, Connected, Progress, connected
from tests.sdk.guarded import ALICE, REASON
from tests.sdk.site import IS_DIRECT
from tests.support.gateway import COMMAND, Gateway, key_source, policy, running_gateway, server
from tests.support.processes import Process
from tests.support.servers import Backend

pytestmark = pytest.mark.skipif(IS_DIRECT, reason="OPENMCP_TARGET=direct is set; these tests record with a gateway.")

SUBJECTS = {"tools": ["**"], "prompts": ["**"], "resources": ["**"]}
TAG = "replayed"
SECRET = "536-90-4399"
"""A social security number: what the gateway takes out of its log by default."""


@dataclass(frozen=True)
class Recorded:
    """A gateway that has recorded one session, and what its client got."""

    gateway: Gateway
    got: Any
    session_id: str

    @property
    def folder(self) -> Path:
        return self.gateway.data / "audit"

    def run(self, *arguments: str, keys: str = "") -> str:
        """Run a command on the log."""
        command = [COMMAND, *arguments, "--config", str(self.gateway.config)]
        ran = subprocess.run(command, input=keys, capture_output=True, text=True, timeout=WAIT_S * 2, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def told(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--output", "json"))


async def answer_of(agent: Connected, tool: str, **arguments: Any) -> Any:
    """What a call comes to, in a form that can be compared."""
    progress = Progress()
    try:
        result = await agent.client.call_tool(tool, arguments, progress_callback=progress, read_timeout_seconds=WAIT_S)
    except MCPError as error:
        return {"error": error.code, "message": str(error), "progress": progress.steps}
    found = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"result": without_meta(found), "progress": progress.steps}


def without_meta(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key not in ("_meta", "ttlMs")}


async def cancelled_call(agent: Connected) -> Sequence[float]:
    """Call a tool that does not end, and cancel it when it has begun."""
    progress = Progress()
    call = asyncio.create_task(
        agent.client.call_tool("hold", {"tag": TAG}, progress_callback=progress, read_timeout_seconds=WAIT_S)
    )
    await progress.begun()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    return progress.steps


async def played(agent: Connected) -> Any:
    """The session of the test: list, three calls, an elicitation, one denied, one hidden, one cancelled."""
    listed = await agent.client.list_tools()
    return {
        "tools": sorted(tool.name for tool in listed.tools),
        "one": await answer_of(agent, "slow", tag="one", steps=2, ms=1),
        "two": await answer_of(agent, "slow", tag="two", steps=3, ms=1),
        "sum": await answer_of(agent, "add", a=2**70, b=1),
        "secret": await answer_of(agent, "echo", text=f"It is {SECRET}."),
        "asked": await answer_of(agent, "ask", question="Really?"),
        "denied": await answer_of(agent, "crash"),
        "hidden": await answer_of(agent, "big"),
        "cancelled": await cancelled_call(agent),
        "questions": list(agent.seen.asked),
    }


@asynccontextmanager
async def client(url: str, mode: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[Connected]:
    async with connected(url, mode, headers=headers) as agent:
        yield agent


@contextmanager
def recording_gateway(replica: Backend, folder: Path) -> Iterator[Gateway]:
    documents = [
        server("strict", [replica.url], is_anonymous=False, audit={"bodies": "redacted"}),
        key_source(),
        ALICE.document(),
        policy(
            "alice",
            {"id": "all", "match": SUBJECTS, "effect": "allow"},
            {"id": "questions", "match": {"methods": ["elicitation/create"]}, "effect": "allow"},
            {"id": "no-big", "match": {"tools": ["big"]}, "effect": "deny"},
            {"id": "no-crash", "match": {"tools": ["crash"]}, "effect": "deny", "reason": REASON},
        ),
    ]
    with running_gateway(documents, folder=folder) as gateway:
        yield gateway


@pytest.fixture(params=["legacy", "2026-07-28"])
async def recorded(request: pytest.FixtureRequest, replicas: list[Backend], tmp_path: Path) -> AsyncIterator[Recorded]:
    with recording_gateway(replicas[0], tmp_path) as gateway:
        async with client(gateway.url("strict"), request.param, ALICE.headers) as agent:
            got = await played(agent)
            ids = [sent["mcp-session-id"] for _, _, sent, _ in agent.seen.http if "mcp-session-id" in sent]
        await gateway.recorded(lambda line: line.get("type") == "message" and line.get("mcp", {}).get("name") == "hold")
        yield Recorded(gateway, got, ids[0] if ids else "")


@contextmanager
def mock_of(recorded: Recorded, folder: Path) -> Iterator[str]:
    process = Process([COMMAND, "mock", str(recorded.folder)], output=folder / "mock.log", cwd=folder)
    try:
        yield process.first_line(timeout_s=WAIT_S).split()[0]
    finally:
        process.stop()


async def test_session_is_found_followed_and_replayed(recorded: Recorded, tmp_path: Path) -> None:
    (flow,) = recorded.told("flow", "list", "--agent", "alice", "--tool", "ask")
    assert flow["decisions"]["deny"] == 2
    if recorded.session_id:
        (found,) = recorded.told("flow", "list", "--session", recorded.session_id)
        assert found["flow"] == flow["flow"]
    shown = recorded.run("flow", "show", flow["flow"])
    assert "deny by rule alice/no-crash" in shown
    assert "tools/call hold" in shown
    assert "elicitation/create" in shown
    is_modern = not recorded.session_id
    assert ("result of initialize" in shown) is not is_modern
    stepped = recorded.run("flow", "step", flow["flow"], keys="n\n" * 12 + "d\nb\nG\nq\n")
    assert "as received" in stepped
    recorded.gateway.process.stop()
    assert "intact" in recorded.run("flow", "verify")
    assert "us-ssn" in shown
    assert not any(SECRET in path.read_text() for path in recorded.folder.rglob("*") if path.is_file())

    with mock_of(recorded, tmp_path) as url:
        for _ in range(2):
            async with client(url, "2026-07-28" if is_modern else "legacy") as agent:
                got = await played(agent)
            # What is not in the log is served as it stands there; everything else is as it was.
            original, served = recorded.got["secret"], got.pop("secret")
            assert SECRET in str(original)
            assert SECRET not in str(served)
            assert "us-ssn" in str(served)
            assert got == {name: value for name, value in recorded.got.items() if name != "secret"}
    assert "redacted" in (tmp_path / "mock.log").read_text()
    assert url.rpartition("/")[2] == "strict"
