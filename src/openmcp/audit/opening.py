"""From the audit settings of the configuration to a `Writer` with its sinks. Called by the node when it starts."""

import re

from openmcp.audit.sinks.base import AuditSink
from openmcp.audit.sinks.file import FileSink
from openmcp.audit.sinks.stdout import StdoutSink
from openmcp.audit.spool import Spool
from openmcp.audit.writer import Writer
from openmcp.config.snapshot import AuditSettings, FileSinkSettings, StdoutSinkSettings
from openmcp.state.signing import Signer


def make_writer(settings: AuditSettings, *, name: str, signer: Signer | None = None) -> Writer:
    """Return the writer, not yet started; `name` is unique for ever: node, boot and worker. `signer` signs it."""
    # It names files and stands in every line; a host may be called anything.
    name = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-200:]
    return Writer(
        name,
        [_sink(sink, name) for sink in settings.sinks],
        on_failure=settings.on_failure,
        durability=settings.durability,
        signer=signer,
        spool=next((Spool(sink.path) for sink in settings.sinks if isinstance(sink, FileSinkSettings)), None),
    )


def _sink(settings: FileSinkSettings | StdoutSinkSettings, name: str) -> AuditSink:
    match settings:
        case FileSinkSettings(path=path, rotate_bytes=rotate_bytes):
            return FileSink(path, writer=name, rotate_bytes=rotate_bytes)
        case StdoutSinkSettings():
            return StdoutSink()
