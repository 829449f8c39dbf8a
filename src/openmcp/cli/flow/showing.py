"""`openmcp flow show`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec

from openmcp.audit.reading.entries import Log
from openmcp.audit.reading.exchanges import Exchange
from openmcp.audit.reading.files import LogNotReadable
from openmcp.audit.reading.flows import Flow, FlowUnknown, Found, find
from openmcp.audit.reading.timeline import Row, Timeline, Tone, excerpt, pretty, redactions
from openmcp.cli.flow.listing import flow_values
from openmcp.cli.flow.moments import lasted, shown
from openmcp.cli.flow.sources import find_source
from openmcp.cli.output import print_values, terminal_width
from openmcp.cli.report import counted
from openmcp.telemetry.harmless import text

ARROWS: Final = {
    "agent→gateway": "──▶",
    "gateway→server": "  ──▶",
    "server→gateway": "  ◀──",
    "gateway→agent": "◀──",
}
COLOURS: Final = {Tone.PLAIN: None, Tone.GOOD: "green", Tone.WARNING: "yellow", Tone.BAD: "red"}
_MARGIN: Final = 22
_LEAST_EXCERPT: Final = 60


def run(config: Path | None, logs: Sequence[Path], name: str, *, is_whole: bool, form: str) -> int:
    """Print the timeline of a flow."""
    log = find_source(config, logs).log()
    found = found_flow(log, name)
    if form != "table":
        records = [msgspec.json.decode(entry.raw) for entry in found.entries(log)]
        print_values({**flow_values(found.summary), "records": records}, form)
        return 0
    for line in heading(found.summary, found.agents):
        click.echo(line)
    timeline = Timeline()
    for row in timeline.rows(found.entries(log)):
        for line in _lines(row, found.summary.started, is_whole=is_whole):
            click.echo(line)
    return 0


def found_flow(log: Log, name: str) -> Found:
    """Return the flow. Raises: click.UsageError if there is none, or several; click.ClickException."""
    try:
        return find(log, name)
    except FlowUnknown as error:
        raise click.UsageError(text(str(error))) from error
    except LogNotReadable as error:
        raise click.ClickException(str(error)) from error


def heading(flow: Flow, agents: dict[str, Exchange]) -> Iterator[str]:
    """Yield what stands above a timeline."""
    yield click.style(f"flow {text(flow.id)}", bold=True)
    took = lasted((flow.ended - flow.started) / 1e9)
    yield f"  {shown(flow.started)} for {took}, {counted(flow.exchanges, 'exchange')}"
    for exchange in agents.values():
        agent = exchange.agent
        if agent is not None:
            how = " ".join(part for part in (agent.method, agent.source, agent.trust) if part)
            behalf = f", on behalf of {text(agent.on_behalf_of)}" if agent.on_behalf_of else ""
            yield f"  agent {text(agent.name)} ({text(agent.id)}; {text(how)}{behalf})"
    session = f", session {text(flow.session)}" if flow.session else ""
    yield f"  server {text(', '.join(flow.servers))}; MCP {text(flow.version) or '?'}{session}"
    yield ""


def _lines(row: Row, started: int, *, is_whole: bool) -> Iterator[str]:
    arrow = ARROWS.get(row.leg, "   ·" if row.line.type == "decision" else "■")
    when = f"{(row.ts - started) / 1e6:>10.1f} ms"
    facts = f"  ({'; '.join(row.facts)})" if row.facts else ""
    what = click.style(row.what, fg=COLOURS[row.tone])
    start = f"{when}  #{row.number:<3} {arrow:<6}"
    rest = "" if is_whole else excerpt(row.line, max(_LEAST_EXCERPT, terminal_width() - _MARGIN - len(row.what)))
    yield f"{start} {what}{facts}{'  ' + click.style(rest, dim=True) if rest else ''}"
    if is_whole:
        for line in pretty(bytes(row.line.body)):
            yield f"{'':>{_MARGIN}}{line}"
    for words in redactions(row.line):
        yield f"{'':>{_MARGIN}}{click.style('redacted', fg='magenta')} {words}"
