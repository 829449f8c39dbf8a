"""Runs `PolicyTest`s: each case goes through the stages in the order in which an exchange meets them."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from openmcp.approvals.coverage import Use, Yes, covers
from openmcp.config import values
from openmcp.config.documents import Placed
from openmcp.config.resources import PolicyTestDocument
from openmcp.config.resources.policy_test import Call, Case, Expected, Given, GivenAgent, GivenGrant, moment_s
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.decision import ApprovalNeeded, Decision, Explanation, RuleRef
from openmcp.model.facts import AgentFacts, DecisionInput, RequestFacts, SessionFacts, ToolFacts
from openmcp.rehearsal.contents import Touched, in_request, in_response
from openmcp.rehearsal.stage import Asked, Scene, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a call."""

    decision: str
    """`allow`, `deny`, `require-approval`, `blocked` or `redacted`."""

    rule: RuleRef | None = None
    """`None`: the default decided."""

    flow: str = ""
    path: str = ""
    detector: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One case that was run."""

    test: str
    case: str
    place: str
    """`file:line:column`."""

    expected: Expected
    outcome: Outcome
    explanation: Explanation
    differences: tuple[str, ...]
    """What is other than expected, as sentences; empty = the case passed."""

    @property
    def is_passed(self) -> bool:
        """Whether all came as expected."""
        return not self.differences


async def run(stage: Stage, tests: Iterable[Placed[PolicyTestDocument]], *, now: float) -> list[Result]:
    """Return what came of every case. `now`: Unix seconds, where a test gives none."""
    return [
        await _result(stage, placed, index, now=now)
        for placed in tests
        for index in range(len(placed.document.spec.cases))
    ]


async def _result(stage: Stage, placed: Placed[PolicyTestDocument], index: int, *, now: float) -> Result:
    spec = placed.document.spec
    case = spec.cases[index]
    scene = _scene(stage, _merged(spec.given, case.given), now=now)
    asked = _asked(case.call)
    outcome, given = await _outcome(stage, scene, asked=asked, case=case)
    return Result(
        test=placed.name,
        case=case.name,
        place=placed.fault("", "spec", "cases", index, "name").place,
        expected=case.expect,
        outcome=outcome,
        explanation=stage.engine.explain(given),
        differences=tuple(_differences(case.expect, outcome)),
    )


async def _outcome(stage: Stage, scene: Scene, *, asked: Asked, case: Case) -> tuple[Outcome, DecisionInput]:
    """Return what comes of a case, and the question that was decided last."""
    given = scene.input(asked)
    decision = stage.engine.decide_on(given)
    if not decision.is_allowed:
        return _decided("deny", decision), given
    sent, touched = await in_request(given, decision.request_rules)
    if touched is not None and touched.is_blocked:
        return _touched("blocked", touched), given
    if touched is not None:
        # What a content rule changed is decided on again: it may not be what was allowed any more.
        given = replace(given, args=sent)
        decision = stage.engine.decide_on(given)
        if not decision.is_allowed:
            return _decided("deny", decision), given
    missing = _uncovered(stage, decision, given, case.grants)
    if missing is not None:
        flow, rule = missing.flow, missing.rule
        return Outcome(decision="require-approval", rule=rule, flow=flow, reason=missing.reason), given
    if case.response is not None:
        answered = await in_response(given, decision.response_rules, case.response)
        if answered is not None:
            return _touched("blocked" if answered.is_blocked else "redacted", answered), given
    return (_decided("allow", decision) if touched is None else _touched("redacted", touched)), given


def _decided(word: str, decision: Decision) -> Outcome:
    return Outcome(decision=word, rule=decision.rule, reason=decision.reason)


def _touched(word: str, touched: Touched) -> Outcome:
    by = touched.rule
    rule = RuleRef(by.policy, by.rule)
    return Outcome(decision=word, rule=rule, path=touched.path, detector=touched.detector, reason=by.reason)


# ------------------------------------------------------------ grants


def _uncovered(
    stage: Stage, decision: Decision, given: DecisionInput, grants: Sequence[GivenGrant]
) -> ApprovalNeeded | None:
    """Return the first thing that a human still has to say yes to."""
    use = Use(given.mcp.subject, given.args, given.session.id, given.now)
    given_yes = [yes for grant in grants for yes in _yes(stage, grant, given)]
    return next(
        (needed for needed in decision.approvals if not any(covers(yes, needed, use) for yes in given_yes)), None
    )


def _yes(stage: Stage, grant: GivenGrant, given: DecisionInput) -> Iterator[Yes]:
    """Yield what a grant stands for: the answer to the rules of its name, with their scope and life."""
    for rule in stage.engine.rules:
        if rule.approval is None or not _is_named(rule.ref, grant.rule):
            continue
        needed, given_at = rule.approval, moment_s(grant.approved_at)
        uses = 1 if needed.scope == "call" else needed.max_uses
        yield Yes(
            rule=rule.ref,
            scope=needed.scope,
            subject=_subject(grant),
            args=dict(grant.args),
            session=given.session.id,
            given_at=given_at,
            ends_at=given_at + needed.ttl_s,
            uses_left=None if uses is None else max(0, uses - grant.uses),
        )


# ------------------------------------------------------------ the scene


def _merged(whole: Given, part: Given) -> Given:
    return whole.model_copy(update={name: getattr(part, name) for name in part.model_fields_set})


def _scene(stage: Stage, given: Given, *, now: float) -> Scene:
    assert given.agent is not None  # the resource has been checked
    assert given.server is not None
    session = given.session
    scene = Scene(
        agent=_agent(stage, given.agent),
        server=stage.server(given.server),
        now=now if given.now is None else moment_s(given.now),
        tool=ToolFacts("", given.tool.digest, given.tool.pinned, dict(given.tool.declared)),
        request=RequestFacts(given.request.ip, {name.lower(): text for name, text in given.request.headers.items()}),
    )
    if session is not None:
        age_s = 0.0 if session.age is None else values.duration_s(session.age)
        scene = replace(scene, session=SessionFacts(session.id, age_s, session.calls))
    return replace(scene, version=given.version) if given.version else scene


def _agent(stage: Stage, given: GivenAgent) -> AgentFacts:
    known = stage.agent(given.name)
    return AgentFacts(
        id=given.id or known.id,
        name=given.name,
        groups=known.groups if given.groups is None else tuple(sorted(given.groups)),
        labels=known.labels if given.labels is None else given.labels,
        attributes=dict(given.attributes),
        source=given.source or known.source,
        trust=given.trust or known.trust,
    )


def _asked(call: Call) -> Asked:
    subject = _subject(call)
    if subject is None:
        return Asked(call.method or "", None, dict(call.params))
    asked = Asked.of(subject, dict(call.args))
    return dataclasses.replace(asked, method=call.method) if call.method is not None else asked


def _subject(named: Call | GivenGrant) -> Subject | None:
    if named.tool is not None:
        return Subject(SubjectKind.TOOL, named.tool)
    if named.prompt is not None:
        return Subject(SubjectKind.PROMPT, named.prompt)
    return Subject(SubjectKind.RESOURCE, named.resource) if named.resource is not None else None


# ------------------------------------------------------------ comparing


def _differences(expected: Expected, outcome: Outcome) -> Iterator[str]:
    if expected.decision != outcome.decision:
        yield f"decision: expected {expected.decision}, got {outcome.decision}"
    if expected.rule is not None and (outcome.rule is None or not _is_named(outcome.rule, expected.rule)):
        yield f"rule: expected {expected.rule}, got {outcome.rule or 'none: the default decided'}"
    for name in ("flow", "path", "detector", "reason"):
        wanted, got = getattr(expected, name), getattr(outcome, name)
        if wanted is not None and wanted != got:
            yield f"{name}: expected {wanted}, got {got or 'none'}"


def _is_named(rule: RuleRef, name: str) -> bool:
    """Whether a name in a test means this rule: its id, or policy and id."""
    return name in (rule.rule, str(rule))
