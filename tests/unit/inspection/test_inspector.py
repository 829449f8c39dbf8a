"""Without a detector engine nothing passes that a content rule speaks of."""

import pytest

from openmcp.errors import Denied, Withheld
from openmcp.inspection.inspector import Inspector
from openmcp.mcp import message as messages
from openmcp.mcp.revisions import LATEST
from openmcp.model.agent import ANONYMOUS
from openmcp.model.arrival import Arrival
from openmcp.model.content import Action, ContentRule
from openmcp.model.decision import Decision, Effect, Permitted
from openmcp.model.server import Authentication, Server

RULE = ContentRule("p", "r", ("secret",), Action.LOG)
CALL = messages.request(7, "tools/call", {"name": "read"})
ARRIVAL = Arrival(http_method="POST", revision=LATEST, message=CALL, method=CALL.method)
ANSWER = messages.result(7, {})


def permitted(*rules: ContentRule) -> Permitted:
    decision = Decision(Effect.ALLOW, None, response_rules=rules)
    return Permitted(Server("desk", "/desk", (), Authentication(())), ARRIVAL, agent=ANONYMOUS, decision=decision)


def test_without_rules_everything_passes_as_it_is() -> None:
    assert Inspector().request(ARRIVAL, ()) is ARRIVAL
    assert Inspector().response(ANSWER, permitted()) is ANSWER


@pytest.mark.parametrize("action", Action)
def test_with_any_rule_nothing_passes(action: Action) -> None:
    rule = ContentRule("p", "r", ("secret",), action)
    with pytest.raises(Denied):
        Inspector().request(ARRIVAL, (rule,))
    with pytest.raises(Withheld):
        Inspector().response(ANSWER, permitted(rule))


def test_who_is_told_does_not_learn_which_rule() -> None:
    with pytest.raises(Denied) as caught:
        Inspector().request(ARRIVAL, (RULE,))
    assert "p/r" in caught.value.detail
    assert "p/r" not in caught.value.text
