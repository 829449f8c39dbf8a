"""Tasks are not bound to the agent that began them, so they are open only where somebody wrote so."""

import pytest

from openmcp.language.globs import compile_globs
from openmcp.mcp import methods
from openmcp.model.agent import Agent, Principal, Trust
from openmcp.model.decision import Effect, RuleRef
from openmcp.model.server import Authentication, Server
from openmcp.policy.engine import PolicyEngine
from openmcp.policy.rules import Match, Rule, ServerSelector

BOT = Agent(name="bot", principal=Principal("key:keys:bot", "keys", "apiKey", Trust.SHARED_SECRET))
EVERY_TASK = pytest.mark.parametrize(
    "method", sorted(name for name, row in methods.METHODS.items() if row.group is methods.Group.TASK)
)


def effect(method: str, *rules: Rule, default_allow: bool = False) -> Effect:
    desk = Server("desk", "/desk", (), Authentication(()), is_default_allow=default_allow)
    return PolicyEngine(rules, revision="1").decide(BOT, desk, method=method).effect


def rule(effect: Effect, *named: str) -> Rule:
    match = Match(methods=compile_globs(named) if named else None)
    return Rule(RuleRef("p", effect.label), effect, match, ServerSelector(), None)


@EVERY_TASK
def test_neither_a_rule_about_everything_nor_the_default_opens_tasks(method: str) -> None:
    assert effect(method, rule(Effect.ALLOW)) is Effect.DENY
    assert effect(method, default_allow=True) is Effect.DENY
    assert effect(method, rule(Effect.ALLOW), default_allow=True) is Effect.DENY


@EVERY_TASK
@pytest.mark.parametrize("named", ["tasks/*", None])
def test_a_rule_that_names_the_method_opens_it(method: str, named: str | None) -> None:
    assert effect(method, rule(Effect.ALLOW, named or method)) is Effect.ALLOW


@EVERY_TASK
def test_a_deny_about_everything_closes_tasks_too(method: str) -> None:
    assert effect(method, rule(Effect.ALLOW, "tasks/*"), rule(Effect.DENY)) is Effect.DENY
