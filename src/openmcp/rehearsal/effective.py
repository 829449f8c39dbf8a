"""What one agent may do on one server: one row for each thing that is known of the server, or that rules speak of."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from openmcp.config.snapshot import PolicySpec
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.decision import ApprovalNeeded, Effect
from openmcp.policy.conditions import OF_MOMENTS
from openmcp.rehearsal.outlook import Outlook, Outlooks
from openmcp.rehearsal.stage import Asked, Scene, Stage

ANYTHING: Final = "\u2026"
"""Stands for the text that a wildcard stands for: a name that nothing else has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What may be done with one thing, or with all that a pattern means."""

    kind: SubjectKind
    name: str
    is_pattern: bool
    """Whether it stands for names that no other row has."""

    is_listed: bool
    """Whether lists show it to the agent."""

    outlook: Outlook
    approvals: tuple[ApprovalNeeded, ...]
    content: tuple[str, ...]
    """Content rules about the call and about what comes back."""

    @property
    def decision(self) -> str:
        """`allow`, `deny`, `require-approval`, or those that could come of it, weakest first."""
        return " or ".join(effect.label for effect in sorted(self.outlook.effects))


def rows(stage: Stage, scene: Scene, known: Iterable[Subject] = ()) -> list[Row]:
    """Return the table. `known`: what the server offers; rules are asked about all of it, and about the rest."""
    outlooks = Outlooks(stage.engine)
    names = dict.fromkeys(known)
    for kind in SubjectKind:
        for pattern in _patterns(stage.snapshot.policies, kind):
            if "*" not in pattern:
                names.setdefault(Subject(kind, pattern))
    exact = [_row(stage, outlooks, scene, subject, is_pattern=False) for subject in sorted(names, key=_by_kind)]
    return [*exact, *_rest(stage, outlooks, scene)]


def _rest(stage: Stage, outlooks: Outlooks, scene: Scene) -> Iterator[Row]:
    """Yield a row for each pattern, and for all that no rule names, of each kind."""
    for kind in SubjectKind:
        wild = [pattern for pattern in _patterns(stage.snapshot.policies, kind) if "*" in pattern]
        for pattern in (*dict.fromkeys(wild), "**" if kind is SubjectKind.RESOURCE else "*"):
            yield _row(stage, outlooks, scene, Subject(kind, pattern), is_pattern=True)


def _row(stage: Stage, outlooks: Outlooks, scene: Scene, subject: Subject, *, is_pattern: bool) -> Row:
    name = subject.name.replace("**", ANYTHING).replace("*", ANYTHING) if is_pattern else subject.name
    asked = Asked.of(Subject(subject.kind, name))
    given = scene.input(asked)
    # What differs from call to call is left open; of a resource, the arguments are none.
    unknown = OF_MOMENTS - {"args"} if subject.kind is SubjectKind.RESOURCE else OF_MOMENTS
    outlook = outlooks.of(given, unknown)
    approvals = {rule.ref: rule.approval for rule in stage.engine.rules if rule.approval is not None}
    asking = [line.rule for line in (*outlook.certain, *outlook.possible) if line.effect == "require-approval"]
    agent, server = given.agent.agent(), given.server.server()
    is_allowable = any(effect is not Effect.DENY for effect in outlook.effects)
    return Row(
        kind=subject.kind,
        name=subject.name,
        is_pattern=is_pattern,
        is_listed=stage.engine.shows(agent, server, method=asked.method, subject=Subject(subject.kind, name)),
        outlook=outlook,
        approvals=tuple(approvals[ref] for ref in asking) if is_allowable else (),
        content=tuple(
            str(rule) for rule in (*outlook.decision.request_rules, *outlook.decision.response_rules) if is_allowable
        ),
    )


def _patterns(policies: Iterable[PolicySpec], kind: SubjectKind) -> Iterator[str]:
    """Yield the globs of all rules about a kind; regular expressions have no name that could stand for them."""
    for policy in policies:
        for rule in policy.rules:
            match = rule.match
            given = {
                SubjectKind.TOOL: match.tools,
                SubjectKind.PROMPT: match.prompts,
                SubjectKind.RESOURCE: match.resources,
            }[kind]
            yield from (pattern for pattern in given or () if isinstance(pattern, str))


def _by_kind(subject: Subject) -> tuple[int, str]:
    return list(SubjectKind).index(subject.kind), subject.name
