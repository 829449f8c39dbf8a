"""Content rules and detectors as inspection takes them: patterns with a name, still uncompiled."""

from collections.abc import Iterator, Mapping

from openmcp.config.documents import Placed
from openmcp.config.resources import DetectorDocument
from openmcp.config.resources.detector import KEYWORDS, REGEX
from openmcp.config.resources.policy import Content, Rule, Search, Words
from openmcp.model.content import Action, ContentRule, Detect, Pattern, Phase


def compile_detector(placed: Placed[DetectorDocument]) -> Pattern:
    """Return what a resource looks for."""
    spec = placed.document.spec
    return Pattern(placed.name, spec.regex, spec.keywords, spec.validator)


def compile_content(policy: str, rule: Rule, detectors: Mapping[str, Detect], *, is_shadow: bool) -> ContentRule:
    """Return the rule with its detectors found; a name that no resource has is a built-in one."""
    assert rule.content is not None  # the caller has looked
    content = rule.content
    return ContentRule(
        policy=policy,
        rule=rule.id,
        detectors=tuple(_detect(content, detectors)),
        action=Action(content.action),
        reason=rule.reason,
        phase=Phase(rule.phase),
        places=content.in_ or (),
        min_count=content.min_count,
        is_shadow=is_shadow,
    )


def _detect(content: Content, detectors: Mapping[str, Detect]) -> Iterator[Detect]:
    used: dict[str, int] = {}
    for wanted in content.detect:
        match wanted:
            case Search():
                yield Pattern(_named(REGEX, used), regex=(wanted.regex,))
            case Words():
                yield Pattern(_named(KEYWORDS, used), keywords=wanted.keywords)
            case _:
                yield detectors.get(wanted, wanted)


def _named(kind: str, used: dict[str, int]) -> str:
    used[kind] = used.get(kind, 0) + 1
    return kind if used[kind] == 1 else f"{kind}-{used[kind]}"
