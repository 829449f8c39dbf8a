"""What could come of a question of which not all is known: decided where it hangs on nothing unknown, else open.

The rules themselves say what they know (three-valued, by the engine); here is only added up
what that means for the decision. Used for tables of access and for records with gaps.
"""

from dataclasses import dataclass

from openmcp.model.decision import Considered, Decision, Effect, Verdict
from openmcp.model.facts import DecisionInput
from openmcp.policy.engine import PolicyEngine
from openmcp.policy.explaining import explain

_HOLDS = frozenset({Verdict.MATCHED, Verdict.BY_ERROR})
_EFFECTS = {effect.label: effect for effect in Effect}


@dataclass(frozen=True, slots=True)
class Outlook:
    """Everything that could come of it."""

    effects: frozenset[Effect]
    certain: tuple[Considered, ...]
    """Enforced rules that hold, whatever the unknown is."""

    possible: tuple[Considered, ...]
    """Enforced rules that hang on it."""

    decision: Decision
    """What comes of it if nothing of the unknown is there."""

    @property
    def effect(self) -> Effect | None:
        """The one thing that can come of it; `None` = that hangs on what is not known."""
        return next(iter(self.effects)) if len(self.effects) == 1 else None


class Outlooks:
    """Looks ahead under one set of policies."""

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine
        # Without rules only the default is left.
        self._ruleless = PolicyEngine((), revision=engine.revision)

    def of(self, given: DecisionInput, unknown: frozenset[str]) -> Outlook:
        """Return what could come of a question. `unknown`: groups of variables (`args`, `request`, …)."""
        decision = self._engine.decide_on(given)
        lines = explain(self._engine.rules, given, decision, unknown=unknown).rules
        enforced = [line for line in lines if line.effect in _EFFECTS and not line.is_shadow]
        certain = tuple(line for line in enforced if line.verdict in _HOLDS)
        possible = tuple(line for line in enforced if line.verdict is Verdict.POSSIBLE)
        if not certain and not possible:
            return Outlook(frozenset({decision.effect}), (), (), decision)
        least = max((_EFFECTS[line.effect] for line in certain), default=None)
        effects = {least if least is not None else self._default(given)}
        effects |= {_EFFECTS[line.effect] for line in possible if least is None or _EFFECTS[line.effect] > least}
        return Outlook(frozenset(effects), certain, possible, decision)

    def _default(self, given: DecisionInput) -> Effect:
        return self._ruleless.decide_on(given).effect
