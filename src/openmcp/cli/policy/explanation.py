"""An explanation as people and programs read it: the decision, and every rule with what became of it."""

from collections.abc import Iterator

import click

from openmcp.cli.output import print_table
from openmcp.model.decision import Considered, Decision, Explanation, RuleRef, Verdict

_COLUMNS = ("VERDICT", "EFFECT", "RULE", "LEVEL", "BECAUSE")
_STYLES = {"matched": "green", "matched-by-error": "red", "possible": "yellow", "deny": "red"}
_COLOURS = {"allow": "green", "deny": "red", "require-approval": "yellow"}


def print_explanation(explanation: Explanation) -> None:
    """Print the decision, and the rules as a table: those that settled it first."""
    for line in summary(explanation.decision):
        click.echo(line)
    if explanation.rules:
        click.echo()
        rules = sorted(explanation.rules, key=lambda line: _ORDER[line.verdict])
        print_table(_COLUMNS, [_row(line) for line in rules], styles=_STYLES)
    else:
        click.echo("There are no rules.")


def summary(decision: Decision) -> Iterator[str]:
    """Yield the decision in a few lines."""
    effect = decision.effect.label
    yield f"{click.style(effect, fg=_COLOURS.get(effect), bold=True)}, by {decided_by(decision.rule)}"
    for needed in decision.approvals:
        uses = "" if needed.max_uses is None else f", at most {needed.max_uses} times"
        yield f"  asks approval flow {needed.flow} for {needed.rule}: scope {needed.scope}, {needed.ttl_s:.0f} s{uses}"
    if decision.reason:
        yield f"  the agent is told: {decision.reason}"
    for rule, effect_then in decision.would:
        yield f"  on trial: {rule} would {effect_then.label}"
    for rules, what in ((decision.request_rules, "the call"), (decision.response_rules, "what comes back")):
        if rules:
            yield f"  content rules about {what}: {', '.join(map(str, rules))}"


def decided_by(rule: RuleRef | None) -> str:
    """Return who decided, in words."""
    return f"rule {rule}" if rule is not None else "default: no rule speaks of it"


def explanation_value(explanation: Explanation) -> dict[str, object]:
    """Return all of it as JSON values."""
    decision = explanation.decision
    return {
        "decision": decision.effect.label,
        "rule": str(decision.rule) if decision.rule is not None else None,
        "reason": decision.reason,
        "revision": decision.revision,
        "approvals": [
            {
                "rule": str(one.rule),
                "flow": one.flow,
                "scope": one.scope,
                "ttlSeconds": one.ttl_s,
                "maxUses": one.max_uses,
            }
            for one in decision.approvals
        ],
        "would": [{"rule": str(rule), "effect": effect.label} for rule, effect in decision.would],
        "requestRules": [str(rule) for rule in decision.request_rules],
        "responseRules": [str(rule) for rule in decision.response_rules],
        "rules": [_value(line) for line in explanation.rules],
        "input": explanation.input,
    }


_ORDER = {
    Verdict.MATCHED: 0,
    Verdict.BY_ERROR: 0,
    Verdict.POSSIBLE: 1,
    Verdict.NOT_MATCHED: 2,
    Verdict.NOT_ATTACHED: 3,
}


def _row(line: Considered) -> tuple[str, str, str, str, str]:
    because = f"{line.because}: {line.detail}" if line.detail else line.because
    trial = " (on trial)" if line.is_shadow else ""
    phase = f" ({line.phase})" if line.phase != "call" else ""
    return line.verdict.value, line.effect + phase, f"{line.rule}{trial}", line.level, because


def _value(line: Considered) -> dict[str, object]:
    return {
        "rule": str(line.rule),
        "effect": line.effect,
        "verdict": line.verdict.value,
        "because": line.because,
        "detail": line.detail,
        "level": line.level,
        "phase": line.phase,
        "isShadow": line.is_shadow,
    }
