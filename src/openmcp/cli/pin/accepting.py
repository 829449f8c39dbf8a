"""`openmcp pin accept`: lets agents see and use what a server offers now."""

import asyncio
import getpass
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from openmcp.cli.pin.listing import SHORT, Found, Wanted, compared, require_known, show
from openmcp.cli.pin.state import ledger
from openmcp.model.pin import Offer, Pin, Sight
from openmcp.routing.ledger import Ledger


class How(NamedTuple):
    """What is accepted of each definition."""

    digest: str | None
    """First digits of the one version that is meant."""

    is_all: bool
    is_only: bool
    """Whether no former version is accepted any more."""

    is_dry_run: bool


class _Acceptance(NamedTuple):
    found: Found
    versions: Sequence[Sight]


def run(config: Path, wanted: Wanted, how: How) -> int:
    """Show what is accepted, and accept it; return 1 if there is nothing of what was named."""
    return asyncio.run(_run(config, wanted, how))


async def _run(config: Path, wanted: Wanted, how: How) -> int:
    server = wanted.server or ""
    async with ledger(config) as (book, snapshot):
        require_known(server, await book.servers(), snapshot)
        pins = [pin for pin in (await book.load(server)).pins.values() if wanted.covers(pin)]
        if wanted.name is not None and not pins:
            click.echo(f"nothing is remembered of `{wanted.name}` on server `{server}`", err=True)
            return 1
        chosen = [
            one for pin in sorted(pins, key=lambda pin: pin.key) if (one := await _chosen(book, server, pin, how))
        ]
        if not chosen:
            click.echo(
                "nothing to accept" if how.digest is None else f"no version `{how.digest}` was offered", err=True
            )
            return 0 if how.digest is None else 1
        for acceptance in chosen:
            show(acceptance.found)
            if not how.is_dry_run:
                await _accept(book, server, acceptance, is_only=how.is_only)
        if not how.is_dry_run:
            await book.touch(server, at=time.time())
    return 0


async def _chosen(book: Ledger, server: str, pin: Pin, how: How) -> _Acceptance | None:
    if how.digest is not None:
        versions = [sight for sight in pin.seen if sight.digest.startswith(how.digest)]
        if len(versions) > 1:
            raise click.ClickException(f"`{how.digest}` is the beginning of several digests: give more digits")
    else:
        versions = list(pin.seen if how.is_all else pin.seen[-1:])
    if not versions:
        return None
    shown = Pin(pin.kind, pin.name, pin.accepted, (*(s for s in pin.seen if s not in versions), *versions))
    return _Acceptance(await compared(book, server, shown), versions)


async def _accept(book: Ledger, server: str, acceptance: _Acceptance, *, is_only: bool) -> None:
    pin = acceptance.found.pin
    for sight in acceptance.versions:
        text = await book.text(server, sight.digest)
        offer = Offer(pin.key, sight.digest, text or b"")
        await book.accept(server, offer, by=_operator(), at=time.time())
    digests = frozenset(sight.digest for sight in acceptance.versions)
    if is_only:
        await book.only(server, pin.key, digests)
    shown = ", ".join(sight.digest[:SHORT] for sight in acceptance.versions)
    click.echo(f"accepted {pin.kind} {pin.name!r:.200}: {shown}")


def _operator() -> str:
    try:
        return f"{getpass.getuser()}@localhost"
    except (KeyError, OSError):
        # An account without a name, as containers have it.
        return "operator@localhost"
