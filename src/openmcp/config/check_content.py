"""Faults of detectors and content rules: names that nothing has, examples that are not met.

Called by `config.check`; each fault is placed at the very name or example.
"""

from collections.abc import Iterator

from openmcp import plugins
from openmcp.config.documents import Placed
from openmcp.config.inventory import Inventory
from openmcp.config.resources import DetectorDocument
from openmcp.config.resources.detector import KEYWORDS, REGEX
from openmcp.config.wording import or_rather
from openmcp.errors import Fault
from openmcp.language import normal
from openmcp.language.detector import Detector, described
from openmcp.language.regexes import Expression


def detectors(inventory: Inventory) -> Iterator[Fault]:
    """Yield what is wrong with detectors by themselves."""
    taken = {*plugins.names("detector"), REGEX, KEYWORDS}
    for placed in inventory.detectors:
        if placed.name in taken or placed.name.startswith((f"{REGEX}-", f"{KEYWORDS}-")):
            yield placed.fault(f"`{placed.name}` is the name of a built-in detector; take another", "metadata", "name")
        if placed.is_whole:
            yield from _examples(placed)


def names(inventory: Inventory) -> Iterator[Fault]:
    """Yield detectors that rules name and nobody has."""
    known = sorted({*plugins.names("detector"), *(placed.name for placed in inventory.detectors)})
    for placed in inventory.policies:
        for number, rule in enumerate(placed.document.spec.rules):
            for index, wanted in enumerate(rule.content.detect if rule.content is not None else ()):
                if isinstance(wanted, str) and wanted not in known and ("Detector", wanted) not in inventory.declared:
                    text = f"there is no detector `{wanted}`{or_rather(wanted, known)}"
                    yield placed.fault(text, "spec", "rules", number, "content", "detect", index)


def _examples(placed: Placed[DetectorDocument]) -> Iterator[Fault]:
    spec = placed.document.spec
    detector = described(placed.name, spec.regex, keywords=spec.keywords, validator=spec.validator)
    expressions = [Expression(source) for source in detector.patterns]
    for index, text in enumerate(spec.examples.match):
        if not _is_found(detector, expressions, text):
            yield placed.fault("the detector finds nothing in this example", "spec", "examples", "match", index)
    for index, text in enumerate(spec.examples.no_match):
        if _is_found(detector, expressions, text):
            yield placed.fault("the detector finds something in this example", "spec", "examples", "noMatch", index)


def _is_found(detector: Detector, expressions: list[Expression], text: str) -> bool:
    """Whether the detector sees something in the text as it stands, or in its normal form."""
    return any(
        True
        for form in {text, normal.normalised(text)}
        for expression in expressions
        for start, end in expression.finds(form.encode("utf-8", "replace"))
        for _ in detector.confirm(form.encode("utf-8", "replace"), start, end)
    )
