"""From what came of each rule to what is decided. Pure functions; used by the engine."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from msgspec import structs

from openmcp.model.content import ContentRule, Phase, ResponseFacts
from openmcp.model.decision import ApprovalNeeded, Considered, Decision, Effect, Verdict
from openmcp.policy.conditions import NO_CONDITIONS, OF_RESPONSES, Settled
from openmcp.policy.question import Question
from openmcp.policy.rules import Rule
from openmcp.policy.view import Case, View, is_default_allow

HOLDS = frozenset({Verdict.MATCHED, Verdict.BY_ERROR})
_CONSIDERED = 64
"""Rules told of in one decision; an explanation has them all."""


def conclude(view: View, case: Case, question: Question, *, revision: str, unknown: frozenset[str]) -> Decision:
    """Return the decision. `unknown`: variables of which it must not depend yet, because what is asked has none."""
    settled = _settled(case, question, unknown)
    rules = [(rule, found) for rule, found in settled if rule.effect is not None]
    matched = _matched([pair for pair in rules if not pair[0].is_shadow])
    deciding = _strictest(matched) if matched else None
    allowed = Effect.ALLOW if is_default_allow(view, case) else Effect.DENY
    effect = (deciding.effect if deciding is not None else None) or allowed
    return Decision(
        effect,
        deciding.ref if deciding is not None else None,
        reason=deciding.reason if deciding is not None else "",
        revision=revision,
        matched=tuple(rule.ref for rule in matched),
        would=tuple((rule.ref, rule.effect) for rule in _matched([p for p in rules if p[0].is_shadow]) if rule.effect),
        approvals=_approvals(matched) if effect is Effect.REQUIRE_APPROVAL else (),
        considered=tuple(considered(rule, found) for rule, found in settled if not rule.conditions.are_none)[
            :_CONSIDERED
        ],
        input=question.asked if case.open else None,
        request_rules=_content(settled, question, is_request=True),
        response_rules=_content(settled, question, is_request=False),
    )


def could(view: View, case: Case, question: Question, *, unknown: frozenset[str]) -> bool:
    """Whether some use could be allowed or approved: no deny is certain, and something might allow."""
    might = is_default_allow(view, case)
    for rule, found in _settled(case, question, unknown):
        if rule.effect is None or rule.is_shadow:
            continue
        if rule.effect is Effect.DENY:
            if found.verdict in HOLDS:
                return False
        elif found.verdict is not Verdict.NOT_MATCHED:
            might = True
    return might


def considered(rule: Rule, found: Settled) -> Considered:
    """Return the line of an explanation about a rule."""
    return Considered(
        rule=rule.ref,
        effect=rule.effect.label if rule.effect is not None else "content",
        verdict=found.verdict,
        because=found.because,
        detail=found.detail,
        level=rule.level,
        is_shadow=rule.is_shadow,
        phase=rule.phase.value,
    )


def _settled(case: Case, question: Question, unknown: frozenset[str]) -> list[tuple[Rule, Settled]]:
    not_yet = unknown | OF_RESPONSES
    asked = [(rule, rule.conditions.settle(question, widens=rule.widens, unknown=not_yet)) for rule in case.open]
    return [*case.settled, *asked]


def _matched(rules: Iterable[tuple[Rule, Settled]]) -> list[Rule]:
    """Return the rules that hold. Where arguments are not known, what might allow or need approval is enough."""
    found = list(rules)
    holding = [rule for rule, settled in found if settled.verdict in HOLDS]
    if holding:
        return holding
    possible = [
        rule for rule, settled in found if settled.verdict is Verdict.POSSIBLE and rule.effect is not Effect.DENY
    ]
    allowing = [rule for rule in possible if rule.effect is Effect.ALLOW]
    return allowing or possible


def _strictest(rules: Sequence[Rule]) -> Rule:
    """Return the rule with the strictest effect; among equals one that gives a reason, for the agent's sake."""
    return max(rules, key=lambda rule: (rule.effect or 0, bool(rule.reason)))


def _approvals(matched: Iterable[Rule]) -> tuple[ApprovalNeeded, ...]:
    return tuple(
        rule.approval or ApprovalNeeded(rule.ref, "", 0.0, "call")
        for rule in matched
        if rule.effect is Effect.REQUIRE_APPROVAL
    )


def _content(
    settled: Iterable[tuple[Rule, Settled]], question: Question, *, is_request: bool
) -> tuple[ContentRule, ...]:
    return tuple(
        _of_response(rule, question) if found.verdict is Verdict.POSSIBLE else rule.content
        for rule, found in settled
        if rule.content is not None
        and found.verdict is not Verdict.NOT_MATCHED
        and (rule.phase is Phase.CALL) is is_request
    )


def _of_response(rule: Rule, question: Question) -> ContentRule:
    """Return the rule with what it still has to ask when an answer has come."""
    assert rule.content is not None  # the caller has looked
    asked, conditions = question.asked, rule.conditions
    if conditions is NO_CONDITIONS:
        return rule.content
    if "args" not in conditions.reads:
        # It may be kept for long, and arguments may be large.
        asked = structs.replace(asked, args={})

    def when(response: ResponseFacts) -> bool:
        return conditions.settle(Question(asked, response), widens=False).verdict in HOLDS

    return replace(rule.content, when=when)
