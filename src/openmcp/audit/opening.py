"""From the audit settings of the configuration to a `Writer` with its sinks. Called by the node when it starts."""

import re
from collections.abc import Callable, Sequence
from typing import cast

from openmcp import plugins
from openmcp.audit.lane import Lane
from openmcp.audit.posting import Poster
from openmcp.audit.shelf import Shelf
from openmcp.audit.sinks.base import AuditSink
from openmcp.audit.sinks.file import FileSink
from openmcp.audit.sinks.stdout import StdoutSink
from openmcp.audit.spool import Spool
from openmcp.audit.writer import Writer
from openmcp.config.snapshot import (
    AuditSettings,
    FileSinkSettings,
    RemoteSinkSettings,
    SinkSettings,
    StdoutSinkSettings,
)
from openmcp.state.signing import Signer


def make_writer(settings: AuditSettings, *, name: str, signer: Signer | None = None) -> Writer:
    """Return the writer, not yet started; `name` is unique for ever: node, boot and worker. `signer` signs it."""
    # It names files and stands in every line; a host may be called anything.
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-200:]
    local = [sink for sink in settings.sinks if not isinstance(sink, RemoteSinkSettings)]
    remote = [sink for sink in settings.sinks if isinstance(sink, RemoteSinkSettings)]
    # Where nothing local keeps the log, the collectors have to: then they hold up what they do not take.
    required: Sequence[SinkSettings] = local or remote
    return Writer(
        name,
        [_sink(sink, name) for sink in required],
        lanes=_lanes(remote, name) if local else (),
        on_failure=settings.on_failure,
        durability=settings.durability,
        signer=signer,
        spool=next((Spool(sink.path) for sink in local if isinstance(sink, FileSinkSettings)), None),
    )


def _lanes(remote: Sequence[RemoteSinkSettings], writer: str) -> list[Lane]:
    lanes: list[Lane] = []
    for settings in remote:
        count = sum(lane.name.partition("-")[0] == settings.kind for lane in lanes)
        name = f"{settings.kind}-{count + 1}" if count else settings.kind
        lanes.append(Lane(_sink(settings, writer), name=name, buffer_bytes=settings.buffer_bytes))
    return lanes


def _sink(settings: SinkSettings, writer: str) -> AuditSink:
    match settings:
        case FileSinkSettings(path=path, rotate_bytes=rotate_bytes, rotate_s=rotate_s, is_compressed=is_compressed):
            shelf = Shelf() if is_compressed else None
            return FileSink(path, writer=writer, rotate_bytes=rotate_bytes, rotate_s=rotate_s, shelf=shelf)
        case StdoutSinkSettings():
            return StdoutSink()
        case RemoteSinkSettings(kind=kind):
            made = cast("Callable[[Poster], AuditSink]", plugins.load("audit_sink", kind))
            poster = Poster(
                settings.url, headers=settings.headers, ca_file=settings.ca_file, timeout_s=settings.timeout_s
            )
            return made(poster)
