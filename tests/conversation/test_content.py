"""Content rules through the whole gateway: no spelling gets a number past them, in either direction."""

import base64
import json
from typing import Any

import pytest

from openmcp.config.snapshot import RuleSpec
from openmcp.model.content import Action, ContentRule, Phase
from tests.conversation.site import ERAS, allow, site_of

SSN = "123-45-6789"
SPELLINGS = {
    "plain": SSN,
    "in a sentence": f"it is {SSN}.",
    "full-width digits": "１２３-４５-６７８９",
    "mathematical digits": "𝟏𝟐𝟑-𝟒𝟓-𝟔𝟕𝟖𝟗",
    "arabic digits": "١٢٣-٤٥-٦٧٨٩",
    "other dashes": "123\u201145\u20136789",
    "zero-width characters": "1\u200b23-4\u200d5-67\u00ad89",
    "tags between": "123\U000e0041-45-6789",
    "nested JSON": json.dumps({"n": SSN}),
    "nested twice, escaped": json.dumps({"n": json.dumps({"m": "\\u0031\\u0032\\u0033-45-6789"})}),
    "behind a newline in nested JSON": json.dumps({"n": f"x\n{SSN}"}),
    "base64": base64.b64encode(f"my number: {SSN}".encode()).decode(),
    "base64 for URLs in JSON": json.dumps({"b": base64.urlsafe_b64encode(f"number>> {SSN}".encode()).decode()}),
    "base64 twice": base64.b64encode(base64.b64encode(f"my number: {SSN}".encode())).decode(),
    "percent signs": "123%2D45%2D6789",
    "entities": "&#49;23-45-6789",
}


def rule(phase: Phase, action: Action = Action.BLOCK, **more: Any) -> RuleSpec:
    content = ContentRule("all", "numbers", ("us-ssn",), action, "Numbers stay here.", phase, **more)
    return RuleSpec("numbers", reason="Numbers stay here.", content=content, phase=phase)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_reaches_the_server(spelling: str, era: str) -> None:
    async with site_of(allow(), rule(Phase.CALL)) as site:
        call = (await site.connected(era)).calls_tool("read", note=SPELLINGS[spelling])
        result = await call.result()
        assert result["isError"]
        assert "Numbers stay here." in json.dumps(result)
        assert await site.kind(call) == "denied"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_reaches_the_agent(spelling: str, era: str) -> None:
    async with site_of(allow(), rule(Phase.RESPONSE)) as site:
        call = (await site.connected(era)).calls_tool("read")
        (await site.takes("tools/call")).answers({"content": [{"type": "text", "text": SPELLINGS[spelling]}]})
        result = await call.result()
        assert result["isError"]
        assert "withheld" in json.dumps(result)
        assert SPELLINGS[spelling] not in json.dumps(result, ensure_ascii=False)
        assert await site.kind(call) == "withheld"


@pytest.mark.parametrize("era", ERAS)
async def test_arguments_are_redacted_before_they_are_sent(era: str) -> None:
    async with site_of(allow(), rule(Phase.CALL, Action.REDACT)) as site:
        call = (await site.connected(era)).calls_tool("read", note=SSN, n=1)
        asked = await site.takes("tools/call")
        assert asked.params["arguments"] == {"note": "[REDACTED:us-ssn]", "n": 1}
        asked.answers({"content": []})
        await call.result()


@pytest.mark.parametrize("era", ERAS)
async def test_an_answer_is_redacted_and_the_evidence_says_where(era: str) -> None:
    async with site_of(allow(), rule(Phase.RESPONSE, Action.REDACT)) as site:
        call = (await site.connected(era)).calls_tool("read")
        (await site.takes("tools/call")).answers({"content": [{"type": "text", "text": f"a {SSN}"}]})
        assert (await call.result())["content"] == [{"type": "text", "text": "a [REDACTED:us-ssn]"}]
        findings = [finding for line in await site.lines_of(call) for finding in line.get("findings", ())]
        assert [(f["rule"], f["detector"], f["path"], f["length"], f["action"]) for f in findings] == [
            ("numbers", "us-ssn", "$.result.content[0].text", 11, "redact")
        ]


async def test_pieces_over_the_events_of_a_stream_do_not_get_through() -> None:
    async with site_of(allow(), rule(Phase.RESPONSE)) as site:
        call = (await site.connected()).calls_tool("read")
        stream = (await site.takes("tools/call")).streams()
        for piece in ("123-", "45-", "6789", "done"):
            stream.sends(method="notifications/message", params={"level": "info", "data": piece})
        stream.answers({"content": []})
        stream.ends()
        shown = [(await call.told())["params"]["data"] for _ in range(3)]
        assert shown == ["123-", "45-", "done"]
        await call.told()
        await call.ends()
