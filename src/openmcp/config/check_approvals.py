"""Faults between rules, approval flows, groups and channels. Rehearsals do without: they ask nobody."""

from collections.abc import Iterator

from openmcp.config import values
from openmcp.config.documents import Placed
from openmcp.config.inventory import Inventory
from openmcp.config.resources import ApprovalFlowDocument, Document
from openmcp.config.wording import or_rather
from openmcp.errors import Fault

_MOST_HOLD_S = 240.0


def faults(inventory: Inventory) -> Iterator[Fault]:
    """Yield what is wrong."""
    yield from _rules(inventory)
    for placed in inventory.flows:
        yield from _references(inventory, placed)
        yield from _times(placed)


def _rules(inventory: Inventory) -> Iterator[Fault]:
    for placed in inventory.policies:
        for index, rule in enumerate(placed.document.spec.rules):
            if rule.approval is not None:
                loc = ("spec", "rules", index, "approval", "flow")
                yield from _named(inventory, placed, "ApprovalFlow", name=rule.approval.flow, loc=loc)


def _references(inventory: Inventory, placed: Placed[ApprovalFlowDocument]) -> Iterator[Fault]:
    spec = placed.document.spec
    for index, quorum in enumerate(spec.approvers.any_of):
        place = ("spec", "approvers", "anyOf", index, "group")
        yield from _named(inventory, placed, "ApproverGroup", name=quorum.group, loc=place)
    for index, name in enumerate(spec.channels):
        yield from _named(inventory, placed, "ReviewChannel", name=name, loc=("spec", "channels", index))
    for step, escalation in enumerate(spec.escalate):
        for index, name in enumerate(escalation.channels):
            loc = ("spec", "escalate", step, "channels", index)
            yield from _named(inventory, placed, "ReviewChannel", name=name, loc=loc)


def _times(placed: Placed[ApprovalFlowDocument]) -> Iterator[Fault]:
    spec = placed.document.spec
    for field, text in (("hold", spec.hold), ("holdWithProgress", spec.hold_with_progress)):
        if values.duration_s(text) > _MOST_HOLD_S:
            yield placed.fault("a call is held for 240s at most; the review stays open beyond that", "spec", field)
    deadline_s = values.duration_s(spec.deadline)
    for step, escalation in enumerate(spec.escalate):
        if values.duration_s(escalation.after) >= deadline_s:
            text = "the review has expired by then: it has to come before the `deadline`"
            yield placed.fault(text, "spec", "escalate", step, "after")


def _named(
    inventory: Inventory, placed: Placed[Document], kind: str, *, name: str, loc: tuple[int | str, ...]
) -> Iterator[Fault]:
    if (kind, name) not in inventory.declared:
        known = [other for other_kind, other in sorted(inventory.declared) if other_kind == kind]
        yield placed.fault(f"there is no {kind} `{name}`{or_rather(name, known)}", *loc)
