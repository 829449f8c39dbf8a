"""Turns the approval flows of a snapshot, and the groups they name, into what judges votes."""

from collections.abc import Iterable, Mapping

from openmcp.approvals.flow import Assurance, Escalation, Flow, Group, Quorum
from openmcp.config.approving import FlowSpec, GroupSpec


def compile_flows(flows: Iterable[FlowSpec], groups: Iterable[GroupSpec]) -> Mapping[str, Flow]:
    """Return the flows by name; a group that is not there is one without members."""
    known = {spec.name: Group(spec.name, spec.members, spec.oidc_groups) for spec in groups}
    return {spec.name: _flow(spec, known) for spec in flows}


def _flow(spec: FlowSpec, groups: Mapping[str, Group]) -> Flow:
    return Flow(
        name=spec.name,
        any_of=tuple(Quorum(groups.get(name) or Group(name), approvals) for name, approvals in spec.any_of),
        deny_at=spec.deny_at,
        allows_self=spec.allows_self,
        min_assurance=Assurance[spec.min_assurance.upper()],
        deadline_s=spec.deadline_s,
        hold_s=spec.hold_s,
        hold_with_progress_s=spec.hold_with_progress_s,
        is_reason_required=spec.is_reason_required,
        escalation=tuple(Escalation(after_s, channels) for after_s, channels in spec.escalation),
        channels=spec.channels,
        open_per_agent=spec.open_per_agent,
        cooldown_s=spec.cooldown_s,
    )
