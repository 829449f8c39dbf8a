"""The pins of a gateway, by its bootstrap file. The gateway may run meanwhile."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from openmcp.config.loader import load
from openmcp.config.snapshot import Snapshot
from openmcp.routing.ledger import Ledger
from openmcp.state.opening import make_store


@asynccontextmanager
async def ledger(config: Path) -> AsyncGenerator[tuple[Ledger, Snapshot]]:
    """Give the ledger of the gateway that is configured here.

    Raises: Misconfigured; click.ClickException where its state is in no place that can be looked at.
    """
    snapshot = load([config], env=os.environ).snapshot
    settings, state = snapshot.gateway, snapshot.gateway.state
    store = make_store(f"{state.store}:{state.path or ''}", settings.data_dir)
    if not store.capabilities.shared:
        raise click.ClickException(
            f"the state of this gateway is in its own memory (`state.url: {state.store}`), where nobody else can look: "
            "use `sqlite`, which also remembers pins over a restart"
        )
    if state.path is not None and not state.path.exists():
        raise click.ClickException(f"there is no state at {state.path}: no gateway has run with this configuration yet")
    await store.open()
    try:
        yield Ledger(store), snapshot
    finally:
        await store.close()
