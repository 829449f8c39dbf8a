"""What a rule denies is neither listed nor called, and the agent learns no more than the rule says."""

from functools import partial
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tests.sdk.clients import connected, said
from tests.sdk.guarded import ALICE, BOB, EVE, REASON, Guarded
from tests.sdk.site import new_tag
from tests.sdk.wire import answer_of, browser, initialize, modern, request, session

DECISION = "openmcp.dev/decision"


async def test_lists_show_what_the_agent_may_use(guarded: Guarded, mode: str) -> None:
    async with (
        connected(guarded.strict, mode, headers=ALICE.headers) as alice,
        connected(guarded.strict, mode, headers=BOB.headers) as bob,
        connected(guarded.replicas[0].url, mode) as direct,
    ):
        everything = [tool.name for tool in (await direct.client.list_tools()).tools]
        for_alice = [tool.name for tool in (await alice.client.list_tools()).tools]
        assert for_alice == [name for name in everything if name not in ("big", "crash")]
        assert [tool.name for tool in (await bob.client.list_tools()).tools] == ["whoami", "echo"]
        assert [prompt.name for prompt in (await bob.client.list_prompts()).prompts] == ["test_simple_prompt"]
        assert [found.uri for found in (await bob.client.list_resources()).resources] == ["test://static-text"]
        assert (await bob.client.list_resource_templates()).resource_templates == []


async def test_denied_tool_looks_as_if_it_did_not_exist(guarded: Guarded, mode: str) -> None:
    async with connected(guarded.strict, mode, headers=ALICE.headers) as alice:
        await alice.client.list_tools()
        errors = [await _refusal(alice.call, name, bytes=3) for name in ("big", "no_such_tool")]
    assert [(error.code, error.message) for error in errors] == [
        (-32602, "Unknown tool: big"),
        (-32602, "Unknown tool: no_such_tool"),
    ]
    assert errors[0].data == errors[1].data


async def test_refusal_with_a_reason_is_a_result_that_says_it(guarded: Guarded, mode: str) -> None:
    async with connected(guarded.strict, mode, headers=ALICE.headers) as alice:
        await alice.client.list_tools()
        result = await alice.call("crash")
        assert result.is_error is True
        assert REASON in said(result)
        assert result.structured_content is None
        assert result.meta is not None
        decision = result.meta[DECISION]
        assert (decision["effect"], decision["reason"]) == ("deny", REASON)
        assert decision["id"]
        # The session lives on.
        assert await alice.replica()


async def test_agent_with_few_rights_calls_what_it_may(guarded: Guarded, mode: str) -> None:
    async with connected(guarded.strict, mode, headers=BOB.headers) as bob:
        assert said(await bob.call("echo", text="hello")) == "hello"
        assert (await bob.client.get_prompt("test_simple_prompt")).messages
        assert (await bob.client.read_resource("test://static-text")).contents


async def test_denied_prompt_and_resource_look_as_if_they_did_not_exist(guarded: Guarded, mode: str) -> None:
    async with connected(guarded.strict, mode, headers=BOB.headers) as bob:
        prompts = [await _refusal(bob.client.get_prompt, name) for name in ("test_prompt_with_image", "no_such_prompt")]
        uris = ("test://static-binary", "test://nowhere", "test://template/1/data")
        resources = [await _refusal(bob.client.read_resource, uri) for uri in uris]
    assert {error.code for error in prompts} == {-32602}
    assert len({error.code for error in resources}) == 1
    assert len({str(error.data) for error in prompts}) == 1


async def _refusal(call: Any, *arguments: Any, **named: Any) -> MCPError:
    with pytest.raises(MCPError) as caught:
        await call(*arguments, **named)
    return caught.value


async def test_denied_calls_never_reach_a_server(guarded: Guarded) -> None:
    marker = new_tag("denied")
    async with session(guarded.strict, BOB.headers) as bob:
        for tool in ("big", "slow", "no_such_tool"):
            answer = await bob.call(tool, tag=marker)
            assert answer.status_code == 200
            assert answer_of(answer)["error"]["code"] == -32602
    headers, body = modern("tools/call", name="slow", arguments={"tag": marker})
    async with browser({**BOB.headers, **headers}) as http:
        answer = await http.post(guarded.strict, json=body)
        assert answer.status_code == 200
        assert answer_of(answer)["error"]["code"] == -32602
    assert not await guarded.reached(marker)


async def test_refusal_in_the_modern_era_says_that_it_is_complete(guarded: Guarded) -> None:
    headers, body = modern("tools/call", name="crash", arguments={})
    async with browser({**ALICE.headers, **headers}) as http:
        answer = await http.post(guarded.strict, json=body)
        assert answer.status_code == 200
        assert answer_of(answer)["result"]["resultType"] == "complete"


async def test_agent_without_any_right_is_turned_away_at_the_door(guarded: Guarded) -> None:
    async with browser(EVE.headers) as http:
        answer = await initialize(http, guarded.strict)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, -31001)
        headers, body = modern("server/discover")
        answer = await http.post(guarded.strict, json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, -31001)


async def test_filtered_list_is_for_nobody_else(guarded: Guarded) -> None:
    """The server calls its lists public; a cache that believed that would show one agent's list to another."""
    headers, body = modern("tools/list")
    async with browser({**BOB.headers, **headers}) as http:
        found = answer_of(await http.post(guarded.strict, json=body))["result"]
    assert found["cacheScope"] == "private"
    assert found["ttlMs"] <= 60_000


async def test_unknown_method_is_denied_where_no_rule_names_it(guarded: Guarded) -> None:
    marker = new_tag("method")
    async with session(guarded.strict, ALICE.headers) as alice:
        answer = await alice.post(request("vendor/secret", {"marker": marker}))
        assert (answer.status_code, answer_of(answer)["error"]["code"]) == (200, -32601)
    headers, body = modern("vendor/secret", marker=marker)
    async with browser({**ALICE.headers, **headers}) as http:
        answer = await http.post(guarded.strict, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)
    assert not await guarded.reached(marker)


async def test_question_of_a_server_passes_the_rules_too(guarded: Guarded, mode: str) -> None:
    async with connected(guarded.strict, mode, headers=ALICE.headers) as alice:
        assert (await alice.facts("ask", question="Allowed?"))["action"] == "accept"
        # Nothing allows sampling: the gateway answers the server itself, or refuses the result that asks.
        if mode == "legacy":
            with pytest.raises(MCPError):
                await alice.call("sample", prompt="Denied?")
        else:
            assert (await alice.call("sample", prompt="Denied?")).is_error is True
        assert alice.seen.asked == ["Allowed?"]


async def test_completion_is_an_access_to_what_it_names(guarded: Guarded) -> None:
    reference, typed = {"type": "ref/prompt", "name": "test_prompt_with_arguments"}, new_tag("typed")
    params = {"ref": reference, "argument": {"name": "arg1", "value": typed}}
    async with session(guarded.strict, BOB.headers) as bob:
        assert "error" in answer_of(await bob.post(request("completion/complete", params)))
    assert not await guarded.reached(typed)


async def test_subscribing_is_an_access_to_the_resource(guarded: Guarded) -> None:
    async with session(guarded.strict, BOB.headers) as bob:
        denied = await bob.post(request("resources/subscribe", {"uri": "test://watched-resource"}))
        allowed = await bob.post(request("resources/subscribe", {"uri": "test://static-text"}))
        assert "error" in answer_of(denied)
        assert answer_of(allowed)["result"] == {}


async def test_decisions_are_in_the_evidence(guarded: Guarded) -> None:
    async with session(guarded.strict, BOB.headers) as bob:
        await bob.call("slow", tag="t")
        await bob.call("echo", text="t")
    for tool, effect in (("slow", "deny"), ("echo", "allow")):
        record = await guarded.gateway.recorded(partial(_is_decision, agent="bob", tool=tool))
        assert record["decision"]["effect"] == effect


def _is_decision(record: dict[str, Any], agent: str, tool: str) -> bool:
    named = record.get("mcp", {}).get("name"), record.get("agent", {}).get("name")
    return record["type"] == "decision" and named == (tool, agent)
