"""Content rules on written messages: the inspection stage itself says what it would do."""

from typing import Any

import pytest

from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.content import Action, ContentRule, Phase
from openmcp.model.facts import AgentFacts, DecisionInput, ServerFacts
from openmcp.rehearsal.contents import in_request, in_response
from openmcp.rehearsal.stage import Asked, Scene

SSN = "my number is 123-45-6789"
READ = Subject(SubjectKind.TOOL, "ticket_read")


def given(subject: Subject = READ, **args: Any) -> DecisionInput:
    scene = Scene(agent=AgentFacts("bot", "bot"), server=ServerFacts("support"), now=0.0)
    return scene.input(Asked.of(subject, args))


def rule(action: Action, **how: Any) -> ContentRule:
    return ContentRule("customer-data-stays", "no-ssn-leaves", ("us-ssn",), action, **how)


@pytest.mark.parametrize(("action", "is_blocked"), [(Action.BLOCK, True), (Action.REDACT, False), (Action.MASK, False)])
async def test_a_finding_in_a_response_has_its_rule_and_its_path(action: Action, is_blocked: bool) -> None:
    touched = await in_response(given(), (rule(action),), {"content": [{"type": "text", "text": SSN}]})
    assert touched is not None
    assert (touched.rule.rule, touched.detector, touched.path) == ("no-ssn-leaves", "us-ssn", "$.content[0].text")
    assert touched.is_blocked is is_blocked


@pytest.mark.parametrize("how", [{"action": Action.LOG}, {"action": Action.BLOCK, "is_shadow": True}])
async def test_what_is_only_told_changes_nothing(how: dict[str, Any]) -> None:
    only = ContentRule("p", "r", ("us-ssn",), **how)
    assert await in_response(given(), (only,), {"content": [{"type": "text", "text": SSN}]}) is None


async def test_a_call_is_blocked_or_sent_without_what_was_found() -> None:
    asked = given(text=SSN)
    args, touched = await in_request(asked, (rule(Action.BLOCK, phase=Phase.CALL),))
    assert touched is not None
    assert (touched.is_blocked, touched.path) == (True, "$.arguments.text")
    args, touched = await in_request(asked, (rule(Action.REDACT, phase=Phase.CALL),))
    assert touched is not None
    assert (touched.is_blocked, args) == (False, {"text": "my number is [REDACTED:us-ssn]"})


async def test_nothing_found_is_nothing_done() -> None:
    assert await in_response(given(), (rule(Action.BLOCK),), {"content": [{"type": "text", "text": "fine"}]}) is None
    assert await in_request(given(text="fine"), (rule(Action.BLOCK, phase=Phase.CALL),)) == ({"text": "fine"}, None)
    assert await in_request(given(text=SSN), ()) == ({"text": SSN}, None)


async def test_a_resource_is_looked_at_by_its_uri_and_its_contents() -> None:
    asked = given(Subject(SubjectKind.RESOURCE, "ticket://T-1"))
    touched = await in_response(asked, (rule(Action.BLOCK),), {"contents": [{"uri": "ticket://T-1", "text": SSN}]})
    assert touched is not None
    assert touched.path == "$.contents[0].text"
