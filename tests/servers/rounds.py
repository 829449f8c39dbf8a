"""The suite's multi-round tools: they answer `input_required` and go on when the client comes back.

Used by `reference`. Only the modern era has them; a legacy client gets an error result,
because SDK clients would take `input_required` for an empty success.
"""

import functools
from collections.abc import Awaitable, Callable

import mcp_types as types

from tests.servers.table import Answer, Call, ToolTable, elicitation, sampling, text

TOOLS = ToolTable()

NAME = {"name": {"type": "string"}}
OK = {"ok": {"type": "boolean"}}


def modern_only(run: Callable[[Call], Awaitable[Answer]]) -> Callable[[Call], Awaitable[Answer]]:
    """Refuse the legacy era before the tool is asked."""

    @functools.wraps(run)
    async def guarded(call: Call) -> Answer:
        if not call.is_modern:
            return text("This tool needs MCP 2026-07-28.", is_error=True)
        return await run(call)

    return guarded


@TOOLS.tool("test_input_required_result_elicitation", "Asks the user for a name.")
@modern_only
async def ask_name(call: Call) -> Answer:
    answer = call.answer("user_name")
    if not isinstance(answer, types.ElicitResult):
        return types.InputRequiredResult(input_requests={"user_name": elicitation("What is your name?", NAME)})
    return text(f"Hello, {(answer.content or {}).get('name')}!")


@TOOLS.tool("test_input_required_result_sampling", "Asks the client's model.")
@modern_only
async def ask_model(call: Call) -> Answer:
    answer = call.answer("capital_question")
    if not isinstance(answer, types.CreateMessageResult):
        return types.InputRequiredResult(
            input_requests={"capital_question": sampling("What is the capital of France?")}
        )
    return text(answer.content.text if isinstance(answer.content, types.TextContent) else answer.content.type)


@TOOLS.tool("test_input_required_result_list_roots", "Asks for the client's roots.")
@modern_only
async def ask_roots(call: Call) -> Answer:
    answer = call.answer("client_roots")
    if not isinstance(answer, types.ListRootsResult):
        return types.InputRequiredResult(input_requests={"client_roots": types.ListRootsRequest()})
    return text(", ".join(str(root.uri) for root in answer.roots))


@TOOLS.tool("test_input_required_result_request_state", "Gives the client a state to bring back.")
@modern_only
async def keep_state(call: Call) -> Answer:
    if call.params.request_state is None:
        return types.InputRequiredResult(
            input_requests={"confirm": elicitation("Please confirm", OK)}, request_state="keep-this"
        )
    return text("state-ok" if call.params.request_state == "keep-this" else "state-lost")


@TOOLS.tool("test_input_required_result_tampered_state", "Gives the client a state that it must not change.")
@modern_only
async def guard_state(call: Call) -> Answer:
    return await keep_state(call)


@TOOLS.tool("test_input_required_result_multiple_inputs", "Asks for three things at once.")
@modern_only
async def ask_three(call: Call) -> Answer:
    wanted: types.InputRequests = {
        "user_name": elicitation("What is your name?", NAME),
        "greeting": sampling("Generate a greeting", max_tokens=50),
        "client_roots": types.ListRootsRequest(),
    }
    if all(call.answer(key) is not None for key in wanted):
        return text("Got all three.")
    return types.InputRequiredResult(input_requests=wanted, request_state="three-asked")


@TOOLS.tool("test_input_required_result_multi_round", "Asks twice, one after the other.")
@modern_only
async def ask_twice(call: Call) -> Answer:
    color = {"color": {"type": "string"}}
    match call.params.request_state:
        case None:
            first = elicitation("Step 1: What is your name?", NAME)
            return types.InputRequiredResult(input_requests={"step1": first}, request_state="one-asked")
        case "one-asked":
            second = elicitation("Step 2: What is your favorite color?", color)
            return types.InputRequiredResult(input_requests={"step2": second}, request_state="two-asked")
        case state:
            return text(f"Done after {state}.")


@TOOLS.tool("test_input_required_result_capabilities", "Asks only for what the client declared.")
@modern_only
async def ask_what_is_declared(call: Call) -> Answer:
    if call.params.input_responses:
        return text("Thank you.")
    wanted: types.InputRequests = {}
    if call.capabilities.elicitation is not None:
        wanted["user_name"] = elicitation("What is your name?", NAME)
    if call.capabilities.sampling is not None:
        wanted["greeting"] = sampling("Generate a greeting")
    if call.capabilities.roots is not None:
        wanted["client_roots"] = types.ListRootsRequest()
    if not wanted:
        return text("The client supports nothing to ask for.")
    return types.InputRequiredResult(input_requests=wanted)
