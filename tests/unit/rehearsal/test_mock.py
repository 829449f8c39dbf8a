"""A recording answers as it was recorded, with ids of its own."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from openmcp.audit.reading.bodies import Bodies
from openmcp.audit.reading.calls import calls
from openmcp.audit.reading.entries import Log
from openmcp.audit.reading.spool import Spool
from openmcp.rehearsal.mock.application import Mock
from openmcp.rehearsal.mock.recording import Recording
from tests.unit.audit.reading.written import Written

MODERN = {"MCP-Protocol-Version": "2026-07-28"}
STATE = "hmac:abcdefghijklmnopqrstuv"


@asynccontextmanager
async def mock_of(log: Written) -> AsyncIterator[tuple[httpx.AsyncClient, list[str]]]:
    reading, told = Log([log.folder]), list[str]()
    with Spool() as spool:
        mock = Mock(Recording(calls(reading.entries(), Bodies(reading.files)), spool), told.append)
        transport = httpx.ASGITransport(app=mock.application())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client, told


def request(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


def messages(answer: httpx.Response) -> list[dict[str, Any]]:
    if answer.headers["content-type"].startswith("application/json"):
        return [answer.json()]
    return [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]


async def called(client: httpx.AsyncClient, tool: str, **params: Any) -> str:
    answer = await client.post("/desk", json=request("tools/call", name=tool, **params), headers=MODERN)
    (message,) = messages(answer)
    assert message["id"] == 7
    return str(message["result"]["content"][0]["text"])


async def test_the_same_question_gets_the_same_answer_and_another_one_the_next_in_order(tmp_path: Path) -> None:
    log = Written(tmp_path)
    for number in range(3):
        log.call(f"e{number}", "read", arguments={"ticket": number}, text=f"ticket {number}")
    async with mock_of(log) as (client, told):
        assert await called(client, "read", arguments={"ticket": 2}) == "ticket 2"
        assert await called(client, "read", arguments={"ticket": 1}, _meta={"progressToken": 1}) == "ticket 1"
        assert told == []
        assert [await called(client, "read", arguments={"ticket": 9}) for _ in range(4)] == [
            "ticket 0",
            "ticket 1",
            "ticket 2",
            "ticket 0",
        ]
        assert len(told) == 1


async def test_the_same_question_asked_again_gets_its_answers_in_turn(tmp_path: Path) -> None:
    log = Written(tmp_path)
    for number in range(2):
        log.call(f"e{number}", "read", text=f"answer {number}")
    async with mock_of(log) as (client, _):
        assert [await called(client, "read", arguments={}) for _ in range(3)] == ["answer 0", "answer 1", "answer 0"]


async def test_what_the_log_does_not_have_is_not_compared_and_is_told(tmp_path: Path) -> None:
    log = Written(tmp_path)
    mcp = {"method": "tools/call", "name": "pay", "id": 1}
    for exchange, amount in (("e1", 5), ("e2", 6)):
        params = {"name": "pay", "arguments": {"card": "[redacted]", "amount": amount}}
        asked = log.says(
            exchange,
            "message",
            dir="agent→gateway",
            kind="request",
            mcp=mcp,
            body={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
            redactions=[{"path": "$.params.arguments.card", "detector": "credit-card", "length": 16}],
        )
        result = {"content": [{"type": "text", "text": f"paid {amount} by [redacted]"}]}
        log.says(
            exchange,
            "message",
            dir="server→gateway",
            kind="result",
            parent=asked,
            mcp=mcp,
            body={"jsonrpc": "2.0", "id": 1, "result": result},
            redactions=[{"path": "$.result.content[0].text", "detector": "credit-card", "length": 16}],
        )
        log.says(exchange, "exchange", outcome={"http": 200, "kind": "ok"}, mcp=mcp)
    async with mock_of(log) as (client, told):
        assert await called(client, "pay", arguments={"card": "4111 1111", "amount": 6}) == "paid 6 by [redacted]"
        assert len(told) == 1
        assert "redacted" in told[0]


async def test_lists_promise_only_what_a_recording_can_keep(tmp_path: Path) -> None:
    log = Written(tmp_path)
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    tool = {"name": "t", "inputSchema": schema, "outputSchema": {}, "execution": {"taskSupport": "optional"}}
    capabilities: dict[str, Any] = {"tools": {}, "tasks": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}
    recorded(log, "e1", "initialize", {"protocolVersion": "2025-11-25", "capabilities": capabilities}, session="S")
    recorded(log, "e2", "tools/list", {"tools": [tool]}, session="S")
    async with mock_of(log) as (client, _):
        opened = await client.post("/desk", json=request("initialize"))
        assert opened.json()["result"]["capabilities"] == {"tools": {}, "extensions": {}}
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        listed = await client.post("/desk", json=request("tools/list"), headers=session)
        plain = {"type": "object", "properties": {"region": {"type": "string"}}}
        assert listed.json()["result"]["tools"] == [{"name": "t", "inputSchema": plain}]
        assert (await client.delete("/desk", headers=session)).status_code == 204
        assert (await client.post("/desk", json=request("tools/list"), headers=session)).status_code == 404


async def test_states_are_fresh_and_lead_to_the_next_round(tmp_path: Path) -> None:
    log = Written(tmp_path)
    first = {"resultType": "input_required", "inputRequests": {}, "requestState": STATE}
    recorded(log, "e1", "tools/call", first, params={"name": "ask"})
    again = {"name": "ask", "requestState": STATE, "inputResponses": {"who": {}}}
    recorded(log, "e2", "tools/call", {"content": []}, params=again)
    async with mock_of(log) as (client, _):
        answer = await client.post("/desk", json=request("tools/call", name="ask"), headers=MODERN)
        state = answer.json()["result"]["requestState"]
        assert state != STATE
        round_two = request("tools/call", name="ask", requestState=state, inputResponses={"who": {"x": 1}})
        answer = await client.post("/desk", json=round_two, headers=MODERN)
        assert answer.json()["result"] == {"content": []}
        foreign = request("tools/call", name="ask", requestState=STATE, inputResponses={})
        assert (await client.post("/desk", json=foreign, headers=MODERN)).json()["error"]["code"] == -32602


async def test_task_ids_are_fresh_and_find_the_recorded_task(tmp_path: Path) -> None:
    log = Written(tmp_path)
    recorded(log, "e1", "tools/call", {"task": {"taskId": "recorded-task"}}, params={"name": "long"})
    recorded(log, "e2", "tasks/get", {"taskId": "other-task", "status": "failed"}, params={"taskId": "other-task"})
    recorded(log, "e3", "tasks/get", {"taskId": "recorded-task"}, params={"taskId": "recorded-task"})
    async with mock_of(log) as (client, _):
        answer = await client.post("/desk", json=request("tools/call", name="long"), headers=MODERN)
        fresh = answer.json()["result"]["task"]["taskId"]
        assert fresh != "recorded-task"
        answer = await client.post("/desk", json=request("tasks/get", taskId=fresh), headers=MODERN)
        assert answer.json()["result"] == {"taskId": fresh}


async def test_progress_has_the_clients_token_and_comes_only_if_asked_for(tmp_path: Path) -> None:
    log = Written(tmp_path)
    note = {"method": "notifications/progress", "params": {"progressToken": "old", "progress": 1}}
    recorded(
        log,
        "e1",
        "tools/call",
        {"content": []},
        params={"name": "slow", "_meta": {"progressToken": "old"}},
        notes=[note],
    )
    async with mock_of(log) as (client, _):
        asked = request("tools/call", name="slow", _meta={"progressToken": "mine"})
        first, second = messages(await client.post("/desk", json=asked, headers=MODERN))
        assert (first["params"]["progressToken"], second["result"]) == ("mine", {"content": []})
        asked = request("tools/call", name="slow")
        assert len(messages(await client.post("/desk", json=asked, headers=MODERN))) == 1


async def test_web_pages_cannot_read_a_recording(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.call("e1", "read")
    async with mock_of(log) as (client, _):
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            answer = await client.post("/desk", json=request("tools/list"), headers=headers)
            assert answer.status_code in (403, 421)


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/other", {}, 404), ("/desk", [], 400), ("/desk", {"a": 1}, 400)]
)
async def test_what_is_no_request_is_refused(tmp_path: Path, path: str, body: Any, status: int) -> None:
    log = Written(tmp_path)
    log.call("e1", "read")
    async with mock_of(log) as (client, _):
        assert (await client.post(path, json=body)).status_code == status


async def test_what_was_never_recorded_is_said(tmp_path: Path) -> None:
    log = Written(tmp_path)
    log.call("e1", "read")
    async with mock_of(log) as (client, told):
        answer = await client.post("/desk", json=request("prompts/list"), headers=MODERN)
        assert "error" in answer.json()
        assert told
        assert (await client.get("/desk")).status_code == 405


def recorded(
    log: Written,
    exchange: str,
    method: str,
    result: Any,
    *,
    params: Any = None,
    session: str = "",
    notes: Sequence[Any] = (),
) -> None:
    """One exchange of any method."""
    params = params or {}
    mcp = {"method": method, "name": params.get("name"), "id": 1, "session": session}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    log.says(exchange, "message", dir="agent→gateway", kind="request", mcp=mcp, body=body)
    for note in notes:
        said = {"jsonrpc": "2.0", **note}
        log.says(exchange, "message", dir="server→gateway", kind="notification", mcp=mcp, body=said)
    answer = {"jsonrpc": "2.0", "id": 1, "result": result}
    log.says(exchange, "message", dir="server→gateway", kind="result", mcp=mcp, body=answer)
    log.says(exchange, "exchange", outcome={"http": 200, "kind": "ok"}, mcp=mcp)
