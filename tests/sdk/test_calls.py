"""A client of the official SDK works through the gateway as it does without it, in either era."""

import asyncio

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.sdk.clients import WAIT_S, Progress, connected, said
from tests.sdk.site import Site, new_tag


async def test_client_speaks_the_era_it_asked_for(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        assert (await agent.facts("whoami"))["modern"] is (mode != "legacy")


async def test_lists_are_those_of_the_server(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent, connected(site.replicas[0].url, mode) as direct:
        assert (await agent.client.list_tools()).tools == (await direct.client.list_tools()).tools
        assert (await agent.client.list_prompts()).prompts == (await direct.client.list_prompts()).prompts
        assert (await agent.client.list_resources()).resources == (await direct.client.list_resources()).resources
        ours, theirs = await agent.client.list_resource_templates(), await direct.client.list_resource_templates()
        assert ours.resource_templates == theirs.resource_templates


async def test_tools_answer(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        await agent.client.list_tools()
        assert said(await agent.call("echo", text="Grüße, 世界 \U0001f600")) == "Grüße, 世界 \U0001f600"
        # Beyond what a double can hold: numbers pass as they were written.
        assert (await agent.call("add", a=2**70, b=1)).structured_content == {"sum": 2**70 + 1}
        assert (await agent.call("test_x_mcp_header", region="Zürich")).is_error is False
        kinds = [block.type for block in (await agent.call("test_multiple_content_types")).content]
        assert kinds == ["text", "image", "resource"]


async def test_error_of_a_tool_is_a_result(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        assert (await agent.call("test_error_handling")).is_error is True


async def test_error_of_the_server_passes_with_code_and_data(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        with pytest.raises(MCPError) as caught:
            await agent.call("crash")
        assert (caught.value.code, caught.value.data) == (-31999, {"kept": True})
        assert await agent.replica()


async def test_resources_are_read(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        (text,) = (await agent.client.read_resource("test://static-text")).contents
        (blob,) = (await agent.client.read_resource("test://static-binary")).contents
        (record,) = (await agent.client.read_resource("test://template/42/data")).contents
        assert isinstance(text, types.TextResourceContents)
        assert isinstance(blob, types.BlobResourceContents)
        assert isinstance(record, types.TextResourceContents)
        assert '"id": "42"' in record.text


async def test_missing_resource_is_not_found_in_the_form_of_the_era(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        with pytest.raises(MCPError) as caught:
            await agent.client.read_resource("test://nowhere")
        assert caught.value.code == (-32002 if mode == "legacy" else -32602)


async def test_prompts_are_filled(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        found = await agent.client.get_prompt("test_prompt_with_arguments", {"arg1": "hello", "arg2": "world"})
        (message,) = found.messages
        assert isinstance(message.content, types.TextContent)
        assert message.content.text == "Prompt with arguments: arg1='hello', arg2='world'"
        with pytest.raises(MCPError) as caught:
            await agent.client.get_prompt("test_no_such_prompt")
        assert caught.value.code == -32602


async def test_arguments_are_completed(site: Site, mode: str) -> None:
    reference = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
    async with connected(site.url, mode) as agent:
        found = await agent.client.complete(reference, {"name": "arg1", "value": "par"})
        assert found.completion.values == ["paris", "park", "party"]


async def test_large_texts_pass_in_both_directions(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        assert len(said(await agent.call("big", bytes=900_000))) == 900_000
        sent = "0123456789" * 60_000
        assert said(await agent.call("echo", text=sent)) == sent


async def test_progress_arrives_while_the_call_runs(site: Site, mode: str) -> None:
    tag, progress = new_tag("hold"), Progress()
    async with connected(site.url, mode) as agent:
        call = asyncio.create_task(agent.client.call_tool("hold", {"tag": tag}, WAIT_S, progress))
        # The tool goes on only when the test says so: what arrives before that was not kept back.
        await progress.begun()
        assert not call.done()
        await site.open_gate(tag)
        await call
        assert progress.steps == [1, 2]


async def test_log_messages_arrive(site: Site, mode: str) -> None:
    async with connected(site.url, mode, log_level="info") as agent:
        await agent.call("test_tool_with_logging")
        assert agent.seen.logs == ["Tool execution started", "Tool processing data", "Tool execution completed"]


async def test_concurrent_calls_do_not_mix(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        answers = await asyncio.gather(*(agent.call("echo", text=f"number {n}") for n in range(24)))
        assert [said(answer) for answer in answers] == [f"number {n}" for n in range(24)]


async def test_user_is_asked_and_the_answer_reaches_the_tool(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        answers = [await agent.facts("ask", question=f"Why {n}?") for n in range(4)]
        assert [answer["content"] for answer in answers] == [{"answer": f"answer to Why {n}?"} for n in range(4)]
        assert all(answer["asked"] == answer["replica"] for answer in answers)
        assert agent.seen.asked == [f"Why {n}?" for n in range(4)]


async def test_declined_question_reaches_the_tool(site: Site, mode: str) -> None:
    async with connected(site.url, mode, decline=True) as agent:
        assert (await agent.facts("ask", question="Really?"))["action"] == "decline"


async def test_model_of_the_client_is_asked(site: Site, mode: str) -> None:
    async with connected(site.url, mode) as agent:
        found = await agent.facts("sample", prompt="Say something")
        assert found["said"] == "words of the model"
        assert found["asked"] == found["replica"]


async def test_cancelled_call_is_cancelled_at_the_server(site: Site, mode: str) -> None:
    tag, progress = new_tag("forever"), Progress()
    async with connected(site.url, mode) as agent:
        call = asyncio.create_task(agent.client.call_tool("stream_forever", {"tag": tag}, WAIT_S, progress))
        await progress.begun()
        assert not await site.was_seen("cancelled", tag)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        started, ended = await site.where("started", tag), await site.where("cancelled", tag)
        assert started is ended
        # The client goes on as if nothing had been.
        assert await agent.replica()
