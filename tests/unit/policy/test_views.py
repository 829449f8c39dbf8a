"""What is remembered of an agent and a server holds for just these, not for others of the same name."""

from dataclasses import replace

from openmcp.mcp import methods
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent, Principal, Trust
from openmcp.model.decision import Effect, RuleRef
from openmcp.model.server import Authentication, Server
from openmcp.policy.engine import PolicyEngine
from openmcp.policy.rules import AgentSelector, Match, Rule, ServerSelector

BOT = Agent("bot", Principal("key:keys:bot", "keys", "apiKey", Trust.SHARED_SECRET))
LAB = Server("desk", "/desk", (), Authentication(()), labels={"stage": "lab"})
READ = Subject(SubjectKind.TOOL, "read")


def effect(engine: PolicyEngine, agent: Agent, server: Server) -> Effect:
    return engine.decide(agent, server, method=methods.TOOLS_CALL, subject=READ).effect


def test_other_labels_of_a_server_are_another_decision() -> None:
    """A stream that began under the old ones must not decide for everybody who comes later."""
    rule = Rule(RuleRef("p", "r"), Effect.ALLOW, Match(), ServerSelector(labels={"stage": "lab"}), None)
    engine = PolicyEngine([rule], revision="2")
    live = replace(LAB, labels={"stage": "live"})
    assert [effect(engine, BOT, server) for server in (LAB, live, LAB)] == [Effect.ALLOW, Effect.DENY, Effect.ALLOW]


def test_other_groups_of_an_agent_are_another_decision() -> None:
    staff = AgentSelector(groups=frozenset({"staff"}))
    engine = PolicyEngine([Rule(RuleRef("p", "r"), Effect.ALLOW, Match(), ServerSelector(), staff)], revision="2")
    member = replace(BOT, groups=frozenset({"staff"}))
    assert [effect(engine, agent, LAB) for agent in (member, BOT, member)] == [Effect.ALLOW, Effect.DENY, Effect.ALLOW]
