"""The scene of a command: who asks, and where, by its options and by what is configured."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from openmcp.config.loader import load
from openmcp.config.wording import or_rather
from openmcp.model.facts import AgentFacts
from openmcp.rehearsal.stage import Scene, Stage


def stage_of(config: Path) -> Stage:
    """Return what decides under a configuration. Raises: Misconfigured."""
    return Stage(load([config], env=os.environ, is_rehearsal=True).snapshot)


def scene_of(stage: Stage, given: Mapping[str, Any], *, now: float) -> Scene:
    """Return the scene that the options describe. Raises: click.ClickException for a server that there is not."""
    name = given["server"]
    if not stage.knows_server(name):
        servers = sorted(server.name for server in stage.snapshot.servers)
        raise click.ClickException(f"there is no MCPServer `{name}`{or_rather(name, servers)}")
    return Scene(agent=_agent(stage, given), server=stage.server(name), now=now)


def _agent(stage: Stage, given: Mapping[str, Any]) -> AgentFacts:
    name = given["agent"]
    if not stage.knows_agent(name) and not given["trust"]:
        click.echo(
            f"openmcp: there is no Agent `{name}`: taken as a caller of this name without groups, verified by nothing "
            "(see --id, --group, --trust)",
            err=True,
        )
    known = stage.agent(name)
    return replace(
        known,
        id=given["principal"] or known.id,
        groups=tuple(sorted({*known.groups, *given["groups"]})),
        trust=given["trust"] or known.trust,
    )
