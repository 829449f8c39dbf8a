"""What content rules do to messages in either direction, by what the message is."""

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from openmcp.errors import Denied, Dropped, Withheld
from openmcp.inspection.inspector import Inspector
from openmcp.inspection.redaction import SightRedactor
from openmcp.mcp import message as messages
from openmcp.mcp import revisions
from openmcp.mcp.message import Message
from openmcp.mcp.revisions import LATEST, LATEST_LEGACY
from openmcp.model.agent import ANONYMOUS
from openmcp.model.arrival import Arrival
from openmcp.model.content import Action, ContentRule, Finding, Pattern, Phase, ResponseFacts
from openmcp.model.decision import Decision, Effect, Permitted
from openmcp.model.server import Authentication, Server

SSN = "123-45-6789"
CARD = "4111 1111 1111 1111"
CALL = messages.request(7, "tools/call", {"name": "read"})
CUTS = [Action.BLOCK, Action.REDACT, Action.MASK]


def rule(*detectors: str | Pattern, action: Action = Action.REDACT, **more: Any) -> ContentRule:
    return ContentRule("p", "r", detectors or ("us-ssn",), action, **more)


def of_call(**more: Any) -> ContentRule:
    return rule(phase=Phase.CALL, **more)


class Inspection:
    """One inspector, and what it told."""

    def __init__(self, *rules: ContentRule, schema: Any = None, revision: revisions.Revision = LATEST) -> None:
        declared = json.dumps(schema).encode() if schema is not None else None
        self.counted: list[tuple[str, str, str]] = []
        self.inspector = Inspector(schemas=lambda _: declared, count=lambda *labels: self.counted.append(labels))
        self.rules = rules
        self.revision = revision
        self.found: list[Finding] = []
        self.permitted = self.permits(CALL)

    def finds(self, findings: Sequence[Finding], _: SightRedactor) -> None:
        self.found.extend(findings)

    def permits(self, message: Message | None) -> Permitted:
        method = message.method if message is not None else ""
        arrival = Arrival(http_method="POST", revision=self.revision, message=message, method=method)
        decision = Decision(Effect.ALLOW, None, response_rules=self.rules)
        server = Server("desk", "/desk", (), Authentication(()))
        return Permitted(server, arrival, agent=ANONYMOUS, decision=decision)

    async def request(self, message: Message, **headers: str) -> Arrival:
        arrival = Arrival(
            http_method="POST", revision=self.revision, message=message, method=message.method, param_headers=headers
        )
        return await self.inspector.request(arrival, self.rules, found=self.finds)

    async def arguments(self, **arguments: Any) -> Any:
        arrival = await self.request(messages.request(7, "tools/call", {"name": "read", "arguments": arguments}))
        assert arrival.message is not None
        return arrival.message.params["arguments"]

    async def response(self, message: Message) -> Message:
        return await self.inspector.response(message, self.permitted, found=self.finds)

    async def result(self, **members: Any) -> Any:
        return (await self.response(messages.result(7, members))).result

    async def text(self, text: str) -> str:
        shown: str = (await self.result(content=[{"type": "text", "text": text}]))["content"][0]["text"]
        return shown

    @property
    def told(self) -> list[tuple[str, str, int, str]]:
        return [(one.detector, one.place, one.length, one.action.value) for one in self.found]


# ---------------------------------------------------------------- nothing to do


async def test_without_rules_everything_passes_as_it_is() -> None:
    inspection = Inspection()
    arrival = Arrival(http_method="POST", revision=LATEST, message=CALL, method=CALL.method)
    answer = messages.result(7, {"content": [{"type": "text", "text": SSN}]})
    assert await inspection.inspector.request(arrival, (), found=inspection.finds) is arrival
    assert await inspection.response(answer) is answer


async def test_what_holds_nothing_is_the_same_object() -> None:
    inspection = Inspection(rule(), of_call())
    answer = messages.result(7, {"content": [{"type": "text", "text": "fine"}]})
    assert await inspection.response(answer) is answer
    assert inspection.found == []


# ---------------------------------------------------------------- actions


async def test_a_redaction_names_its_detector() -> None:
    inspection = Inspection(rule())
    assert await inspection.text(f"my number is {SSN}.") == "my number is [REDACTED:us-ssn]."
    assert inspection.told == [("us-ssn", "$.content[0].text", 11, "redact")]
    assert inspection.counted == [("us-ssn", "response", "redact")]


async def test_a_mask_keeps_the_last_four() -> None:
    assert await Inspection(rule("credit-card", action=Action.MASK)).text(CARD) == "**** **** **** 1111"
    assert await Inspection(rule("us-ssn", action=Action.MASK)).text(SSN) == "***-**-6789"


async def test_a_block_says_that_the_call_ran_and_the_reason_and_nothing_else() -> None:
    inspection = Inspection(rule(action=Action.BLOCK, reason="Numbers stay here."))
    with pytest.raises(Withheld) as caught:
        await inspection.text(SSN)
    assert caught.value.text == "The call ran, but its output is withheld by policy. Numbers stay here."
    assert "p/r" in caught.value.detail
    assert SSN not in caught.value.detail


async def test_a_log_changes_nothing() -> None:
    inspection = Inspection(rule(action=Action.LOG))
    assert await inspection.text(SSN) == SSN
    assert inspection.told == [("us-ssn", "$.content[0].text", 11, "log")]


async def test_the_strictest_action_wins() -> None:
    every = [rule(action=action) for action in reversed(Action)]
    with pytest.raises(Withheld):
        await Inspection(*every).text(SSN)
    assert await Inspection(*every[:3]).text(SSN) == "[REDACTED:us-ssn]"
    assert await Inspection(*every[:2]).text(SSN) == "***-**-6789"


async def test_overlapping_findings_are_one() -> None:
    wide = Pattern("wide", regex=(r"number \d{3}-\d{2}",))
    assert await Inspection(rule(wide, "us-ssn")).text(f"my number {SSN}!") == "my [REDACTED:wide]!"
    masked = rule(wide, action=Action.MASK)
    assert await Inspection(masked, rule()).text(f"my number {SSN}!") == "my [REDACTED:us-ssn]!"


async def test_a_shadow_rule_only_tells_what_it_would_do() -> None:
    inspection = Inspection(rule(action=Action.BLOCK, is_shadow=True))
    assert await inspection.text(SSN) == SSN
    assert inspection.told == [("us-ssn", "$.content[0].text", 11, "block")]
    assert inspection.counted == [("us-ssn", "response", "would-block")]


async def test_fewer_findings_than_the_rule_wants_do_nothing() -> None:
    inspection = Inspection(rule("email", min_count=3))
    assert await inspection.text("a@example.com b@example.com") == "a@example.com b@example.com"
    assert "REDACTED" in await inspection.text("a@example.com b@example.com c@example.com")


async def test_what_stands_in_both_twins_counts_once() -> None:
    inspection = Inspection(rule("email", min_count=2))
    twin = {"mail": "a@example.com"}
    result = await inspection.result(structuredContent=twin, content=[{"type": "text", "text": json.dumps(twin)}])
    assert result["structuredContent"] == twin


async def test_a_condition_sees_result_and_findings() -> None:
    seen: list[ResponseFacts] = []

    def when(facts: ResponseFacts) -> bool:
        seen.append(facts)
        return facts.is_error

    inspection = Inspection(rule(when=when))
    assert await inspection.text(f"{SSN} {SSN}") == f"{SSN} {SSN}"
    assert (await inspection.result(isError=True, content=[], note=SSN))["note"] == "[REDACTED:us-ssn]"
    assert [dict(facts.findings) for facts in seen] == [{"us-ssn": 2}, {"us-ssn": 1}]


# ---------------------------------------------------------------- places


async def test_a_rule_with_places_sees_only_these() -> None:
    inspection = Inspection(rule(places=("$.content[*].text",)))
    result = await inspection.result(content=[{"type": "text", "text": SSN}], _meta={"note": SSN})
    assert result == {"content": [{"type": "text", "text": "[REDACTED:us-ssn]"}], "_meta": {"note": SSN}}


@pytest.mark.parametrize("place", ["$.structuredContent", "$.content[0]"])
async def test_twins_are_treated_alike_whichever_the_rule_names(place: str) -> None:
    inspection = Inspection(rule(places=(place,)))
    text = json.dumps({"ssn": 123456789})
    result = await inspection.result(
        structuredContent={"ssn": 123456789},
        content=[{"type": "text", "text": text}, {"type": "text", "text": "it is 123456789"}],
    )
    assert "123456789" not in json.dumps(result)


async def test_a_key_that_is_found_keeps_the_whole_back_and_does_not_stand_in_the_evidence() -> None:
    inspection = Inspection(rule())
    with pytest.raises(Withheld) as caught:
        await inspection.result(structuredContent={SSN: {"a": SSN}})
    assert SSN not in caught.value.detail
    assert not any(SSN in finding.path for finding in inspection.found)


@pytest.mark.parametrize("member", ["uri", "mimeType", "type"])
async def test_what_the_protocol_relies_on_is_not_cut(member: str) -> None:
    with pytest.raises(Withheld):
        await Inspection(rule()).result(contents=[{member: f"a:{SSN}", "text": "x"}])


async def test_what_only_another_reading_shows_takes_the_whole_value() -> None:
    inspection = Inspection(rule(action=Action.MASK))
    hidden = base64.b64encode(f"my number is {SSN}".encode()).decode()
    assert await inspection.text(f"open it: {hidden} yes") == "[REDACTED:us-ssn]"
    assert inspection.told == [("us-ssn", "$.content[0].text", len(hidden) + 13, "redact")]


async def test_what_only_the_server_reads_is_left_alone() -> None:
    inspection = Inspection(rule(), of_call())
    assert await inspection.result(requestState=SSN, resultType="input_required") is not None
    await inspection.request(messages.request(7, "tools/call", {"name": "read", "requestState": SSN}))
    assert inspection.found == []


# ---------------------------------------------------------------- what declares its results


SCHEMA = {"type": "object", "properties": {"ssn": {"type": "integer"}, "note": {"type": "string"}}}


async def test_a_redaction_that_breaks_the_declared_schema_keeps_the_whole_back() -> None:
    with pytest.raises(Withheld):
        await Inspection(rule(), schema=SCHEMA).result(structuredContent={"ssn": 123456789}, content=[])


async def test_a_redaction_that_fits_the_declared_schema_stays() -> None:
    result = await Inspection(rule(), schema=SCHEMA).result(structuredContent={"note": SSN}, content=[])
    assert result["structuredContent"] == {"note": "[REDACTED:us-ssn]"}


# ---------------------------------------------------------------- what is no result


@pytest.mark.parametrize("action", CUTS)
async def test_a_definition_leaves_its_list(action: Action) -> None:
    inspection = Inspection(rule(action=action))
    tools = [{"name": "a"}, {"name": "b", "inputSchema": {"properties": {"x": {"enum": [SSN]}}}}, {"name": "c"}]
    assert await inspection.result(tools=tools, nextCursor="2") == {"tools": [tools[0], tools[2]], "nextCursor": "2"}


async def test_a_rule_for_lists_sees_definitions_only() -> None:
    inspection = Inspection(rule(phase=Phase.LIST, action=Action.BLOCK))
    assert await inspection.text(SSN) == SSN
    assert await inspection.result(prompts=[{"name": SSN}], _meta={"a": SSN}) == {"prompts": [], "_meta": {"a": SSN}}


async def test_instructions_are_redacted_and_the_connection_stays() -> None:
    assert (await Inspection(rule()).result(instructions=f"a {SSN}"))["instructions"] == "a [REDACTED:us-ssn]"
    blocked = await Inspection(rule(action=Action.BLOCK)).result(instructions=f"a {SSN}", capabilities={})
    assert blocked == {"instructions": "[REDACTED:us-ssn]", "capabilities": {}}


@pytest.mark.parametrize("action", CUTS)
async def test_a_notification_is_dropped(action: Action) -> None:
    with pytest.raises(Dropped):
        await Inspection(rule(action=action)).response(messages.notification("notifications/message", {"data": SSN}))


@pytest.mark.parametrize("phase", [Phase.CALL, Phase.RESPONSE])
async def test_a_servers_request_is_declined(phase: Phase) -> None:
    inspection = Inspection(rule(phase=phase), revision=LATEST_LEGACY)
    with pytest.raises(Dropped) as caught:
        await inspection.response(messages.request("q", "elicitation/create", {"message": SSN}))
    assert isinstance(caught.value.answer, Message)
    assert caught.value.answer.result == {"action": "decline"}
    with pytest.raises(Dropped) as caught:
        await inspection.response(messages.request("q", "sampling/createMessage", {"systemPrompt": SSN}))
    assert isinstance(caught.value.answer, Message)
    assert (caught.value.answer.error or {})["code"] == -31001


@pytest.mark.parametrize("phase", [Phase.CALL, Phase.RESPONSE])
async def test_what_a_result_asks_of_the_agent_keeps_it_back(phase: Phase) -> None:
    asks = {"who": {"method": "elicitation/create", "params": {"message": SSN}}}
    with pytest.raises(Withheld):
        await Inspection(rule(phase=phase)).result(resultType="input_required", inputRequests=asks)


async def test_an_error_is_redacted_like_a_result() -> None:
    error = messages.error(7, -32000, f"no customer {SSN}", data={"query": SSN})
    shown = (await Inspection(rule()).response(error)).error
    assert shown == {"code": -32000, "message": "no customer [REDACTED:us-ssn]", "data": {"query": "[REDACTED:us-ssn]"}}


async def test_an_answer_on_a_resumed_stream_that_is_kept_back_is_an_error() -> None:
    inspection = Inspection(rule(action=Action.BLOCK, reason="No."))
    inspection.permitted = inspection.permits(None)
    answer = await inspection.response(messages.result(7, {"content": [{"type": "text", "text": SSN}]}))
    assert (answer.error or {})["code"] == -31004
    assert SSN not in json.dumps(answer.body)


# ---------------------------------------------------------------- what agents send


async def test_arguments_are_redacted() -> None:
    inspection = Inspection(of_call())
    assert await inspection.arguments(note=f"it is {SSN}", n=1) == {"note": "it is [REDACTED:us-ssn]", "n": 1}
    assert inspection.counted == [("us-ssn", "request", "redact")]


async def test_a_blocked_call_is_told_the_reason_or_that_policy_refused() -> None:
    with pytest.raises(Denied) as caught:
        await Inspection(of_call(action=Action.BLOCK, reason="Keep it.")).arguments(note=SSN)
    assert caught.value.text == "Keep it."
    with pytest.raises(Denied) as caught:
        await Inspection(of_call(action=Action.BLOCK)).arguments(note=SSN)
    assert caught.value.text == "Refused by policy."


@pytest.mark.parametrize("member", ["name", "uri", "cursor"])
async def test_what_is_decided_on_is_never_rewritten(member: str) -> None:
    with pytest.raises(Denied):
        await Inspection(of_call()).request(messages.request(7, "resources/read", {member: f"x:{SSN}"}))


async def test_unknown_parameters_in_headers_are_arguments_too() -> None:
    inspection = Inspection(of_call())
    message = messages.request(7, "tools/call", {"name": "read"})
    arrival = await inspection.request(message, **{"mcp-param-note": SSN, "mcp-param-region": "eu"})
    assert arrival.param_headers == {"mcp-param-note": "[REDACTED:us-ssn]", "mcp-param-region": "eu"}
    assert inspection.found[0].path == '$.headers["mcp-param-note"]'
    encoded = "=?base64?" + base64.b64encode(SSN.encode()).decode() + "?="
    arrival = await inspection.request(message, **{"mcp-param-note": encoded})
    assert arrival.param_headers == {"mcp-param-note": "[REDACTED:us-ssn]"}


async def test_rules_about_responses_do_not_see_requests() -> None:
    inspection = Inspection(rule(), rule(phase=Phase.LIST))
    assert await inspection.arguments(note=SSN) == {"note": SSN}


# ---------------------------------------------------------------- pieces


async def test_a_pattern_over_several_events_is_seen() -> None:
    inspection = Inspection(rule())
    pieces = ["it is 123-", "45-", "6789", " and more"]
    shown: list[Any] = []
    for piece in pieces:
        message = messages.notification("notifications/progress", {"progressToken": 1, "progress": 1, "message": piece})
        try:
            shown.append((await inspection.response(message)).params["message"])
        except Dropped:
            shown.append(None)
    assert shown == ["it is 123-", "45-", None, " and more"]


async def test_fields_do_not_mix() -> None:
    inspection = Inspection(rule())
    pieces: list[Any] = [{"a": "123-45-", "b": "x"}, {"a": "fine", "b": "6789"}]
    for data in pieces:
        await inspection.response(messages.notification("notifications/message", {"level": "info", "data": data}))
    assert inspection.found == []


async def test_what_stood_whole_in_an_earlier_event_is_not_found_again() -> None:
    inspection = Inspection(rule(action=Action.LOG))
    for text in (f"a {SSN} b", "c"):
        await inspection.response(messages.notification("notifications/message", {"data": text}))
    assert len(inspection.found) == 1


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize("action", Action)
async def test_what_is_too_deep_to_look_at_does_not_pass_a_rule_in_force(action: Action) -> None:
    text = SSN
    for _ in range(12):
        text = json.dumps({"n": text, "x": "\\"})
    inspection = Inspection(rule(action=action))
    if action is Action.LOG:
        assert await inspection.text(text) == text
    else:
        with pytest.raises(Withheld):
            await inspection.text(text)
    assert [finding.detector for finding in inspection.found] == ["inspection-budget"]
