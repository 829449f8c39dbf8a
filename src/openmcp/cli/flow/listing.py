"""`openmcp flow list`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from openmcp.audit.reading.flows import Filter, Flow, newest
from openmcp.cli.flow.moments import lasted, moment_ns, shown
from openmcp.cli.flow.sources import find_source
from openmcp.cli.output import print_table, print_values
from openmcp.cli.report import counted

_COLUMNS = ("FLOW", "LAST", "LASTED", "AGENT", "SERVER", "EXCHANGES", "DENIED", "FAILED", "USED")
_USED = 3


def run(config: Path | None, logs: Sequence[Path], wanted: Mapping[str, str | None], *, limit: int, form: str) -> int:
    """Print the flows that are meant."""
    source = find_source(config, logs)
    session, since, until = wanted["session"], wanted["since"], wanted["until"]
    meant = Filter(
        agent=wanted["agent"],
        sessions=source.session_digests(session) if session is not None else None,
        server=wanted["server"],
        tool=wanted["tool"],
        decision=wanted["decision"],
        since_ns=moment_ns(since) if since is not None else None,
        until_ns=moment_ns(until) if until is not None else None,
    )
    log = source.log()
    flows = newest(log, meant, limit=limit)
    if form != "table":
        print_values([flow_values(flow) for flow in flows], form)
    elif flows:
        print_table(_COLUMNS, [_row(flow) for flow in flows])
    else:
        click.echo("no such flow", err=True)
    if log.unreadable:
        click.echo(f"{counted(log.unreadable, 'line')} could not be read; see `openmcp flow verify`", err=True)
    return 0


def flow_values(flow: Flow) -> dict[str, object]:
    """Return what is told of a flow, as JSON."""
    return {
        "flow": flow.id,
        "session": flow.session or None,
        "version": flow.version,
        "started": shown(flow.started),
        "ended": shown(flow.ended),
        "durationSeconds": round((flow.ended - flow.started) / 1e9, 3),
        "agents": list(flow.agents),
        "servers": list(flow.servers),
        "exchanges": flow.exchanges,
        "decisions": dict(flow.decisions),
        "failures": flow.failures,
        "subjects": dict(flow.tools),
    }


def _row(flow: Flow) -> tuple[object, ...]:
    used = [f"{name} ×{count}" if count > 1 else name for name, count in flow.tools.most_common(_USED)]
    more = [f"+{len(flow.tools) - _USED}"] if len(flow.tools) > _USED else []
    return (
        flow.id,
        shown(flow.ended),
        lasted((flow.ended - flow.started) / 1e9),
        ", ".join(flow.agents) or "-",
        ", ".join(flow.servers) or "-",
        flow.exchanges,
        flow.decisions["deny"],
        flow.failures,
        ", ".join([*used, *more]),
    )
