"""Warnings about policies: what is allowed to be written and is probably not meant. Used by `lint`."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from openmcp.config.documents import Placed
from openmcp.config.inventory import Inventory
from openmcp.config.resources import PolicyDocument
from openmcp.config.snapshot import MatchSpec, Pattern, PolicySpec, Regex, RuleSpec, ServerSelectorSpec, Snapshot
from openmcp.errors import Fault
from openmcp.language.expressions import compile_expression
from openmcp.language.globs import compile_globs
from openmcp.model.decision import Effect
from openmcp.model.server import AffinityMode, Server

_KINDS = ("tools", "prompts", "resources")
_READS_DECLARED = re.compile(r"\btool\.declared\b")


def _unknown_agent_names(inventory: Inventory, _: Snapshot) -> Iterator[Fault]:
    for placed in inventory.policies:
        names = (placed.document.spec.agents.names if placed.document.spec.agents else None) or ()
        for index, name in enumerate(names):
            # A caller without an Agent is named by its principal id, which has a colon.
            if not set(name) & {"*", ":"} and ("Agent", name) not in inventory.declared and name != "anonymous":
                yield placed.fault(f"there is no Agent `{name}`", "spec", "agents", "names", index)


def _rules(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    for placed, policy in zip(inventory.policies, snapshot.policies, strict=True):
        denials = [rule for rule in policy.rules if rule.effect is Effect.DENY and not rule.is_shadow]
        for index, rule in enumerate(policy.rules):
            if rule.effect is Effect.DENY:
                continue
            loc = ("spec", "rules", index, "id")
            if rule.effect is Effect.ALLOW and rule.match == MatchSpec() and not (rule.when or rule.unless):
                yield placed.fault(f"rule `{rule.id}` allows everything: it has no `match`", *loc)
            wider = next((denial for denial in denials if _covers(denial, rule.match)), None)
            if wider is not None:
                text = f"rule `{rule.id}` never decides: rule `{wider.id}` denies all that it allows, and deny wins"
                yield placed.fault(text, *loc)


def _conditions(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    for placed, policy in zip(inventory.policies, snapshot.policies, strict=True):
        for index, rule in enumerate(policy.rules):
            terms = [("when", term, source) for term, source in enumerate(rule.when)]
            terms += [("unless", term, source) for term, source in enumerate(rule.unless)]
            for field, term, source in terms:
                for text in _of_condition(source, rule, policy, servers=snapshot.servers):
                    yield placed.fault(text, "spec", "rules", index, field, term)


def _of_condition(source: str, rule: RuleSpec, policy: PolicySpec, *, servers: Sequence[Server]) -> Iterator[str]:
    try:
        reads = compile_expression(source).reads
    except ValueError:
        return
    if not reads:
        yield "this condition looks at nothing: it is the same for every message"
    if "args" in reads and rule.match.resources is not None and rule.match.tools is rule.match.prompts is None:
        yield "resources have no arguments: `args` is always empty here"
    if rule.effect is Effect.ALLOW and _READS_DECLARED.search(source):
        yield "`tool.declared` is what the server says of itself: a rule that allows should not rest on it"
    if "session.calls" in reads:
        for name in sorted(_not_stored(policy.servers, servers)):
            yield f"sessions of server `{name}` are not stored, so `session.calls` counts nothing there"


def _not_stored(selector: ServerSelectorSpec, servers: Sequence[Server]) -> Iterator[str]:
    for server in servers:
        is_meant = (
            server.name in selector.names
            if selector.names is not None
            else (selector.labels or {}).items() <= server.labels.items()
        )
        if is_meant and server.affinity.mode is not AffinityMode.STORED:
            yield server.name


def _loose_patterns(inventory: Inventory, snapshot: Snapshot) -> Iterator[Fault]:
    """A regular expression finds its match anywhere in a name: in a rule that allows this is a hole."""
    for placed, policy in zip(inventory.policies, snapshot.policies, strict=True):
        for index, rule in enumerate(policy.rules):
            if rule.effect is Effect.ALLOW:
                yield from _loose_in_rule(placed, rule, index)


def _loose_in_rule(placed: Placed[PolicyDocument], rule: RuleSpec, index: int) -> Iterator[Fault]:
    for kind in (*_KINDS, "methods"):
        listed: tuple[Pattern, ...] = getattr(rule.match, kind) or ()
        for place, pattern in enumerate(listed):
            if isinstance(pattern, Regex) and not _is_anchored(pattern.text):
                loc = ("spec", "rules", index, "match", kind, place)
                yield placed.fault(_LOOSE, *loc)
    for place, test in enumerate(rule.match.arguments):
        if test.regex is not None and not _is_anchored(test.regex):
            yield placed.fault(_LOOSE, "spec", "rules", index, "match", "arguments", place)


_LOOSE = "this matches any name or text that holds it: write `^` and `$` to allow only what it says"


def _is_anchored(regex: str) -> bool:
    bare = re.sub(r"^\(\?[a-z]+\)", "", regex)
    is_one = "|" not in re.sub(r"\((?:[^()]|\([^()]*\))*\)|\[[^]]*\]", "", bare)
    return bare.startswith(("^", "\\A")) and bare.endswith(("$", "\\z")) and is_one


def _covers(wide: RuleSpec, narrow: MatchSpec) -> bool:
    """Whether everything that `narrow` matches is surely matched by the rule `wide`, too."""
    match = wide.match
    if wide.when or wide.unless or match.arguments:
        return False
    if match.methods is not None and not _patterns_cover(match.methods, narrow.methods):
        return False
    wide_kinds = [kind for kind in _KINDS if getattr(match, kind) is not None]
    narrow_kinds = [kind for kind in _KINDS if getattr(narrow, kind) is not None]
    if not wide_kinds:
        return True
    # A kind that `wide` does not give is one that it does not match.
    return bool(narrow_kinds) and all(
        kind in wide_kinds and _patterns_cover(getattr(match, kind), getattr(narrow, kind)) for kind in narrow_kinds
    )


def _patterns_cover(wide: tuple[Pattern, ...] | None, narrow: tuple[Pattern, ...] | None) -> bool:
    if wide is None or narrow is None:
        return wide is None
    return all(any(_pattern_covers(outer, inner) for outer in wide) for inner in narrow)


def _pattern_covers(wide: Pattern, narrow: Pattern) -> bool:
    """Whether one pattern surely matches all that another one does; in doubt no."""
    if wide in (narrow, "**"):
        return True
    if isinstance(wide, Regex) or isinstance(narrow, Regex):
        return False
    if "*" not in narrow:
        return compile_globs((wide,))(narrow)
    if wide == "*":
        return "/" not in narrow and "**" not in narrow
    return wide.endswith("**") and "*" not in wide[:-2] and narrow.startswith(wide[:-2])


CHECKS: Final[tuple[Callable[[Inventory, Snapshot], Iterator[Fault]], ...]] = (
    _unknown_agent_names,
    _rules,
    _conditions,
    _loose_patterns,
)
