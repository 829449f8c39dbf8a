"""The conditions of one rule: tests of arguments, `when`, `unless`; and what came of them.

`when` is an AND, `unless` an OR. A condition that cannot be evaluated never widens access:
a rule that allows does not match then, and every other rule does. Cheap tests come first,
and a test that settles the matter ends it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from openmcp.language.expressions import GROUPS, RESPONSE, Answer, Expression
from openmcp.mcp.message import Json
from openmcp.model.decision import Verdict
from openmcp.policy.question import Question

NOTHING: Final = frozenset[str]()
ARGUMENTS: Final = frozenset({"args"})
OF_RESPONSES: Final = RESPONSE
"""What is not known before an answer has come."""

OF_MESSAGES: Final = frozenset(GROUPS) - {"agent", "server"}
"""What differs between the messages of one agent to one server."""

OF_MOMENTS: Final = frozenset({"args", "request", "session", "now"})
"""What differs between two messages of one agent that use the same thing on the same server."""


class Settled(NamedTuple):
    """What came of a rule's conditions."""

    verdict: Verdict
    because: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ArgumentTest:
    """One entry of `match.arguments`."""

    select: Callable[[Json], list[Json]]
    holds: Callable[[Json], Answer]
    """Of one value; a text where it is of a kind that the test does not know."""

    def ask(self, arguments: Json, *, is_every: bool) -> Answer:
        """Return whether the values at the place pass: every one of them and at least one, or else any."""
        answers = [self.holds(value) for value in self.select(arguments)]
        if is_every:
            failed = next((answer for answer in answers if answer is not True), None)
            return bool(answers) if failed is None else failed
        if True in answers:
            return True
        return next((answer for answer in answers if answer is not False), False)


@dataclass(frozen=True)
class Conditions:
    """All conditions of a rule."""

    arguments: tuple[ArgumentTest, ...] = ()
    when: tuple[Expression, ...] = ()
    unless: tuple[Expression, ...] = ()

    @cached_property
    def reads(self) -> frozenset[str]:
        """Groups of variables that are looked at."""
        groups = frozenset[str]().union(*(expression.reads for expression in (*self.when, *self.unless)))
        return groups | {"args"} if self.arguments else groups

    @cached_property
    def are_none(self) -> bool:
        """Whether there is nothing to ask."""
        return not (self.arguments or self.when or self.unless)

    def settle(self, question: Question, *, widens: bool, unknown: frozenset[str] = NOTHING) -> Settled:
        """Return what comes of them; where that hangs on something `unknown`, whether they could hold.

        `widens`: whether the rule gives access. `unknown`: groups of variables.
        """
        doubt: Settled | None = None
        unanswered: Settled | None = None
        for place, answer in self._answers(question, is_every=widens, unknown=unknown):
            if answer is False:
                return Settled(Verdict.NOT_MATCHED, place)
            if answer is None:
                doubt = doubt or Settled(Verdict.POSSIBLE, place)
            elif answer is not True:
                if widens:
                    return Settled(Verdict.NOT_MATCHED, place, answer)
                unanswered = unanswered or Settled(Verdict.BY_ERROR, place, answer)
        return doubt or unanswered or _MATCHED

    def _answers(
        self, question: Question, *, is_every: bool, unknown: frozenset[str]
    ) -> Iterator[tuple[str, Answer | None]]:
        """Yield whether each condition speaks for the rule; `None` where that depends on what is unknown."""
        for index, test in enumerate(self.arguments):
            is_known = "args" not in unknown
            yield f"match.arguments[{index}]", test.ask(question.asked.args, is_every=is_every) if is_known else None
        for index, term in enumerate(self.when):
            yield f"when[{index}]", term.ask(question.scope) if term.reads.isdisjoint(unknown) else None
        for index, term in enumerate(self.unless):
            answer = term.ask(question.scope) if term.reads.isdisjoint(unknown) else None
            yield f"unless[{index}]", not answer if isinstance(answer, bool) else answer


_MATCHED = Settled(Verdict.MATCHED)
NO_CONDITIONS = Conditions()
