"""`openmcp policy effective`."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from openmcp.cli.output import print_table, print_values
from openmcp.cli.policy.scenes import scene_of, stage_of
from openmcp.config.snapshot import Snapshot
from openmcp.errors import StoreUnavailable
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.decision import Considered
from openmcp.model.pin import PinKey
from openmcp.model.server import Server
from openmcp.rehearsal.effective import Row, rows
from openmcp.rehearsal.probing import listings
from openmcp.routing.ledger import Ledger
from openmcp.state.opening import make_store

_COLUMNS = ("KIND", "NAME", "DECISION", "LISTED", "BY", "HANGS ON", "CONTENT RULES")
_STYLES = {"allow": "green", "deny": "red", "require-approval": "yellow"}
_KINDS = {kind.value: kind for kind in SubjectKind}


def run(config: Path, given: Mapping[str, Any], *, is_probing: bool, form: str) -> int:
    """Print what the agent may do on the server."""
    stage = stage_of(config)
    scene = scene_of(stage, given, now=time.time())
    (server,) = (one for one in stage.snapshot.servers if one.name == given["server"])
    keys = asyncio.run((_listed if is_probing else _pinned)(stage.snapshot, server))
    table = rows(stage, scene, [Subject(_KINDS[key.kind], key.name) for key in keys if key.kind in _KINDS])
    if form != "table":
        may_use = stage.engine.may_use(scene.agent.agent(), scene.server.server())
        print_values({"agent": given["agent"], "server": server.name, "mayUse": may_use, "rows": _values(table)}, form)
        return 0
    if not stage.engine.may_use(scene.agent.agent(), scene.server.server()):
        click.echo(f"{given['agent']} may not use {server.name} at all: it is turned away when it connects")
    print_table(_COLUMNS, [_cells(row) for row in table], styles=_STYLES)
    if any(row.is_pattern for row in table):
        click.echo("A pattern stands for the names that no other line is about; several patterns may meet in one name.")
    return 0


async def _listed(snapshot: Snapshot, server: Server) -> Sequence[PinKey]:
    """Return what the server lists now. Raises: click.ClickException if it cannot be asked."""
    found = (await listings(snapshot, server.name))[server.name]
    if found is None:
        raise click.ClickException(f"the server `{server.name}` cannot be asked for its lists")
    return [offer.key for offer in found.offers]


async def _pinned(snapshot: Snapshot, server: Server) -> Sequence[PinKey]:
    """Return what the gateway remembers of the server; nothing where it remembers nothing."""
    state = snapshot.gateway.state
    if state.path is None or not state.path.exists():
        return ()
    store = make_store(f"{state.store}:{state.path}", snapshot.gateway.data_dir)
    try:
        await store.open()
        return list((await Ledger(store).load(server.name)).pins)
    except StoreUnavailable as error:
        click.echo(f"openmcp: what is pinned cannot be read: {error.detail}", err=True)
        return ()
    finally:
        await store.close()


def _cells(row: Row) -> Sequence[str]:
    name = f"{row.name}  (any other)" if row.is_pattern else row.name
    return (
        row.kind.value,
        name,
        row.decision,
        "yes" if row.is_listed else "no",
        ", ".join(_by(row)),
        ", ".join(_doubts(row.outlook.possible)),
        ", ".join(row.content),
    )


def _by(row: Row) -> Sequence[str]:
    flows = {needed.rule: f" (flow {needed.flow})" for needed in row.approvals}
    deciding = row.outlook.decision.rule
    rules = [line.rule for line in (*row.outlook.certain, *row.outlook.possible)]
    if row.outlook.effect is not None and deciding is not None:
        rules = [deciding]
    return [f"{rule}{flows.get(rule, '')}" for rule in dict.fromkeys(rules)] or ["default"]


def _doubts(lines: Iterable[Considered]) -> Sequence[str]:
    return [f"{line.rule.rule}: {line.because}" for line in lines]


def _values(table: Sequence[Row]) -> list[dict[str, object]]:
    return [
        {
            "kind": row.kind.value,
            "name": row.name,
            "isPattern": row.is_pattern,
            "decision": row.decision,
            "isListed": row.is_listed,
            "rules": list(_by(row)),
            "hangsOn": list(_doubts(row.outlook.possible)),
            "approvalFlows": [needed.flow for needed in row.approvals],
            "contentRules": list(row.content),
        }
        for row in table
    ]
