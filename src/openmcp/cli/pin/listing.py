"""`openmcp pin list`: what is remembered of servers' definitions."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from openmcp.cli.output import print_table, print_values
from openmcp.cli.pin.comparing import print_comparison
from openmcp.cli.pin.state import ledger
from openmcp.config.snapshot import Snapshot
from openmcp.config.wording import or_rather
from openmcp.model.pin import Pin, Pinning, Sight
from openmcp.routing.ledger import TEXT_BYTES, Ledger

_COLUMNS = ("SERVER", "KIND", "NAME", "STATE", "ACCEPTED", "BY", "SINCE", "OFFERED")
_STYLES = {"changed": "red", "new": "yellow", "accepted": "green"}
SHORT = 12
"""Digits of a digest that are shown."""


class Wanted(NamedTuple):
    """Which pins are meant."""

    server: str | None
    name: str | None
    kind: str | None

    def covers(self, pin: Pin) -> bool:
        """Whether this one is."""
        return self.name in (None, pin.name) and self.kind in (None, pin.kind)


class Found(NamedTuple):
    """A pin, with the texts that people compare."""

    server: str
    pin: Pin
    old: bytes | None
    """The newest accepted version; `None` = none, or its text is not kept."""

    new: bytes | None
    """The newest version that nobody has accepted."""


def run(config: Path, wanted: Wanted, *, is_changed_only: bool, form: str) -> int:
    """Print what is wanted; return 1 if nothing is known of a definition that was named."""
    found = asyncio.run(_found(config, wanted))
    if wanted.name is not None and not found:
        click.echo(f"nothing is remembered of `{wanted.name}` on server `{wanted.server}`", err=True)
        return 1
    shown = [one for one in found if one.pin.seen] if is_changed_only else found
    if form != "table":
        print_values([_value(one) for one in shown], form)
        return 0
    print_table(_COLUMNS, [_row(one) for one in shown], styles=_STYLES)
    for one in shown:
        if one.pin.seen:
            show(one)
    return 0


def show(found: Found) -> None:
    """Print what has changed: the accepted version on the left, the newest on the right."""
    pin = found.pin
    click.echo()
    click.echo(click.style(f"{found.server}: {pin.kind} {pin.name!r:.200} is {pin.state}", bold=True))
    old = f"accepted {_moment(pin.accepted[-1])}" if pin.accepted else "never accepted"
    new = f"offered {_moment(pin.seen[-1])}, digest {pin.seen[-1].digest[:SHORT]}"
    print_comparison(found.old, found.new, headings=(old, new))
    for text in (found.old, found.new):
        if text is not None and len(text) >= TEXT_BYTES:
            click.echo("This definition is longer than what is kept of it: you do not see all.")
    others = [sight.digest[:SHORT] for sight in pin.seen[:-1]]
    if others:
        click.echo(f"Other versions that nobody has accepted: {', '.join(others)}")


async def compared(book: Ledger, server: str, pin: Pin, *, new: Sight | None = None) -> Found:
    """Return a pin with its texts; `new`: instead of the newest version that was offered."""
    newest = new or (pin.seen[-1] if pin.seen else None)
    return Found(
        server,
        pin,
        await book.text(server, pin.accepted[-1].digest) if pin.accepted else None,
        await book.text(server, newest.digest) if newest is not None else None,
    )


def require_known(server: str, known: Iterable[str], snapshot: Snapshot) -> None:
    """Return if something can be known of a server. Raises: click.ClickException."""
    configured = {one.name: one for one in snapshot.servers}
    if server in known:
        return
    if server not in configured:
        raise click.ClickException(f"there is no MCPServer `{server}`{or_rather(server, sorted(configured))}")
    if configured[server].pinning is Pinning.NONE:
        raise click.ClickException(f"nothing is remembered of `{server}`: its `pinning.mode` is `none`")


async def _found(config: Path, wanted: Wanted) -> Sequence[Found]:
    async with ledger(config) as (book, snapshot):
        known = await book.servers()
        if wanted.server is not None:
            require_known(wanted.server, known, snapshot)
        servers = known if wanted.server is None else [wanted.server]
        found: list[Found] = []
        for server in servers:
            pins = (await book.load(server)).pins.values()
            meant = sorted((pin for pin in pins if wanted.covers(pin)), key=lambda pin: pin.key)
            found += [await compared(book, server, pin) for pin in meant]
        return found


def _row(found: Found) -> Sequence[str]:
    pin = found.pin
    accepted = pin.accepted[-1] if pin.accepted else None
    others = f" +{len(pin.accepted) - 1}" if len(pin.accepted) > 1 else ""
    return (
        found.server,
        pin.kind,
        pin.name,
        pin.state,
        accepted.digest[:SHORT] + others if accepted else "",
        accepted.by if accepted else "",
        _moment(accepted) if accepted else "",
        ", ".join(sight.digest[:SHORT] for sight in pin.seen),
    )


def _value(found: Found) -> dict[str, object]:
    pin = found.pin
    return {
        "server": found.server,
        "kind": pin.kind,
        "name": pin.name,
        "state": pin.state,
        "accepted": [_sight(sight) for sight in pin.accepted],
        "offered": [_sight(sight) for sight in pin.seen],
        "old": _definition(found.old),
        "new": _definition(found.new),
    }


def _sight(sight: Sight) -> dict[str, object]:
    return {"digest": sight.digest, "at": _moment(sight), "by": sight.by}


def _definition(text: bytes | None) -> object:
    """Return a definition as JSON; as a text where it was cut off."""
    if text is None:
        return None
    try:
        value: object = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text.decode(errors="replace")
    return value


def _moment(sight: Sight) -> str:
    return datetime.fromtimestamp(sight.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
