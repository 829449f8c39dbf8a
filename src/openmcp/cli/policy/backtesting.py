"""`openmcp policy backtest`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from openmcp.audit.reading.bodies import Bodies
from openmcp.audit.reading.files import LogNotReadable
from openmcp.cli.flow.moments import moment_ns, shown
from openmcp.cli.flow.sources import find_source
from openmcp.cli.output import print_table, print_values
from openmcp.cli.report import counted
from openmcp.config.loader import load
from openmcp.rehearsal.backtest import Backtest, Change, GapKey, Group, GroupKey, Report, Wanted
from openmcp.rehearsal.stage import Stage

_HEADINGS = {
    Change.DENIAL: "New denials",
    Change.REVIEW: "Newly asked of people",
    Change.APPROVABLE: "Denied, would be asked of people",
    Change.ALLOWANCE: "Newly allowed",
}
_COLOURS = {Change.DENIAL: "red", Change.REVIEW: "yellow", Change.APPROVABLE: "yellow", Change.ALLOWANCE: "cyan"}
_COLUMNS = ("COUNT", "AGENT", "SERVER", "SUBJECT", "RULE", "WAS BY", "LAST", "DECISION")


def run(policies: Sequence[Path], wanted: Mapping[str, Any], *, form: str) -> int:
    """Print what would change; return 1 where that is to fail."""
    stage = Stage(load(policies, env=os.environ, is_rehearsal=True).snapshot)
    log = find_source(wanted["config"], wanted["logs"]).log()
    chosen = Wanted(
        since_ns=moment_ns(wanted["since"]) if wanted["since"] else 0,
        until_ns=moment_ns(wanted["until"]) if wanted["until"] else 1 << 63,
        agent=wanted["agent"] or "",
        server=wanted["server"] or "",
    )
    try:
        report = Backtest(stage, Bodies(log.files)).run(log.entries(), chosen)
    except LogNotReadable as error:
        raise click.ClickException(str(error)) from error
    if log.unreadable:
        click.echo(f"openmcp: {counted(log.unreadable, 'line')} of the log cannot be read", err=True)
    if form == "table":
        _print(report)
    else:
        print_values(_value(report), form)
    return int(_fails(report, wanted["fail_on"]))


def _fails(report: Report, on: Sequence[str]) -> bool:
    return (
        ("change" in on and bool(report.changes))
        or ("denial" in on and report.has(Change.DENIAL))
        or ("review" in on and report.has(Change.REVIEW, Change.APPROVABLE))
        or ("undecidable" in on and bool(report.undecidable))
    )


def _print(report: Report) -> None:
    for change in Change:
        groups = _of(report, change)
        if groups:
            reviews = sum(group.reviews for _, group in groups)
            asked = f", {counted(reviews, 'review')}" if reviews else ""
            count = sum(group.count for _, group in groups)
            click.echo(click.style(f"{_HEADINGS[change]}: {count}{asked}", fg=_COLOURS[change], bold=True))
            print_table(_COLUMNS, [_row(key, group) for key, group in groups])
            click.echo()
    if report.undecidable:
        click.echo(click.style(f"Undecidable: {report.undecided}", bold=True))
        print_table(("COUNT", "AGENT", "SERVER", "SUBJECT", "WHY"), [_gap(*item) for item in _gaps(report)])
        click.echo()
    click.echo(
        f"{counted(report.decided + report.undecided, 'decision')}: {report.changed} would change, "
        f"{report.unchanged} would not ({report.by_other_rule} of them by another rule), "
        f"{report.undecided} undecidable"
    )


def _of(report: Report, change: Change) -> list[tuple[GroupKey, Group]]:
    found = [(key, group) for key, group in report.changes.items() if key.change is change]
    return sorted(found, key=lambda item: (-item[1].count, item[0].agent, item[0].server, item[0].subject))


def _gaps(report: Report) -> list[tuple[GapKey, Group]]:
    return sorted(report.undecidable.items(), key=lambda item: (-item[1].count, item[0].agent, item[0].subject))


def _row(key: GroupKey, group: Group) -> Sequence[object]:
    rule = f"{key.rule} → {group.flow}" if group.flow else key.rule
    last = shown(group.last_ts)
    return group.count, key.agent, key.server, key.subject, rule, key.former_rule, last, group.samples[0]


def _gap(key: GapKey, group: Group) -> Sequence[object]:
    return group.count, key.agent, key.server, key.subject, key.why


def _value(report: Report) -> dict[str, object]:
    return {
        "decisions": report.decided + report.undecided,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "byOtherRule": report.by_other_rule,
        "undecidable": report.undecided,
        "changes": [_change_value(key, group) for change in Change for key, group in _of(report, change)],
        "gaps": [
            {
                "why": key.why,
                "agent": key.agent,
                "server": key.server,
                "subject": key.subject,
                "count": group.count,
                "decisionIds": group.samples,
            }
            for key, group in _gaps(report)
        ],
    }


def _change_value(key: GroupKey, group: Group) -> dict[str, object]:
    return {
        "change": key.change.label,
        "rule": key.rule,
        "formerRule": key.former_rule,
        "agent": key.agent,
        "server": key.server,
        "subject": key.subject,
        "count": group.count,
        "approvalFlow": group.flow,
        "reviews": group.reviews,
        "first": shown(group.first_ts),
        "last": shown(group.last_ts),
        "decisionIds": group.samples,
    }
