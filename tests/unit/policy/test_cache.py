"""Decisions are kept for speed only: what strangers name must not fill the memory, nor change a decision."""

import tracemalloc
from collections.abc import Iterable

import pytest

from openmcp.language.globs import compile_globs
from openmcp.mcp import methods
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent, Principal, Trust
from openmcp.model.decision import Effect, RuleRef
from openmcp.model.server import Authentication, Server
from openmcp.policy.engine import PolicyEngine
from openmcp.policy.rules import Match, Rule, ServerSelector

DESK = Server("desk", "/desk", (), Authentication(()))


def agent(name: str = "bot") -> Agent:
    return Agent(name=name, principal=Principal(f"key:keys:{name}", "keys", "apiKey", Trust.SHARED_SECRET))


def engine() -> PolicyEngine:
    match = Match({SubjectKind.TOOL: compile_globs(["a*"])})
    return PolicyEngine([Rule(RuleRef("p", "r"), Effect.ALLOW, match, ServerSelector(), None)], revision="1")


def held_after(asked: PolicyEngine, who: Iterable[Agent], accesses: Iterable[tuple[str, str]]) -> int:
    """How many bytes are held more after all these were decided."""
    accesses = list(accesses)
    tracemalloc.start()
    try:
        for one in who:
            for method, name in accesses:
                asked.decide(one, DESK, method=method, subject=Subject(SubjectKind.TOOL, name))
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("is_method", [True, False])
def test_nothing_of_a_long_name_is_kept(is_method: bool) -> None:
    names = (str(index).rjust(257, "x") for index in range(3_000))
    accesses = ((long, "a") if is_method else (methods.TOOLS_CALL, long) for long in names)
    assert held_after(engine(), [agent()], accesses) < 50_000


def test_however_many_agents_name_however_many_things_little_is_kept() -> None:
    names = [str(index) for index in range(4_000)]
    asked = engine()
    held = held_after(asked, [agent("one")], ((methods.TOOLS_CALL, name) for name in names))
    crowd = [agent(str(index)) for index in range(40)]
    assert held_after(asked, crowd, ((methods.TOOLS_CALL, name) for name in names)) < 20 * held


def test_a_long_name_is_decided_like_any_other() -> None:
    asked, bot = engine(), agent()
    for name, effect in (("a" * 300, Effect.ALLOW), ("b" * 300, Effect.DENY)):
        for _ in range(2):
            subject = Subject(SubjectKind.TOOL, name)
            assert asked.decide(bot, DESK, method=methods.TOOLS_CALL, subject=subject).effect is effect
