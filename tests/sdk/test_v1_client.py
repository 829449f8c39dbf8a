"""A client of the 1.x line of the SDK, which most agents still have, works through the gateway."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.site import Site
from tests.sdk.wire import LEGACY, browser, request

SCRIPT = Path(__file__).with_name("v1_client.py")


@pytest.fixture(scope="module")
def found(site: Site, mcp1_python: Path) -> dict[str, Any]:
    """What the client found, part by part."""
    doors = [backend.origin for backend in site.replicas]
    command = [str(mcp1_python), str(SCRIPT), site.url, *doors]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    parts: dict[str, Any] = json.loads(done.stdout)
    return parts


def test_lists_calls_resources_and_prompts_work(found: dict[str, Any]) -> None:
    basics = found["basics"]
    assert {"echo", "ask", "test_simple_text"} <= set(basics["tools"])
    assert "test_simple_prompt" in basics["prompts"]
    assert "test://static-text" in basics["resources"]
    assert basics["echo"] == "Grüße"
    assert basics["is_error"] is True
    assert basics["prompt"] == "Prompt with arguments: arg1='x', arg2='y'"
    assert basics["completed"] == ["paris", "park", "party"]


def test_session_stays_with_one_replica(found: dict[str, Any]) -> None:
    assert len(found["basics"]["replicas"]) == 1


def test_progress_arrives_while_the_call_runs(found: dict[str, Any]) -> None:
    assert found["progress"] == {"was_running": True, "steps": [1, 2]}


def test_user_and_model_are_asked(found: dict[str, Any]) -> None:
    assert found["questions"]["asked"]["content"] == {"answer": "answer to Why?"}
    assert found["questions"]["sampled"]["said"] == "words of the model"


def test_notifications_arrive_on_the_get_stream(found: dict[str, Any]) -> None:
    assert "notifications/tools/list_changed" in found["announcements"]["methods"]


def test_closed_stream_is_resumed(found: dict[str, Any]) -> None:
    assert found["resumption"] == {"tag": True}


def test_cancelled_call_is_cancelled_at_its_replica(found: dict[str, Any]) -> None:
    assert found["cancellation"] == {"same": True, "ended": "McpError"}


async def test_session_is_gone_when_the_client_has_closed(found: dict[str, Any], site: Site) -> None:
    headers = {"Mcp-Session-Id": str(found["session"]), "MCP-Protocol-Version": LEGACY}
    async with browser(headers) as http:
        assert (await http.post(site.url, json=request("tools/list"))).status_code == 404
