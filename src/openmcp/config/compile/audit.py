"""What is written as evidence and where to, out of `GatewayConfig`."""

from pathlib import Path

from openmcp.config import snapshot, values
from openmcp.config.compile.content import compile_detector
from openmcp.config.compile.credentials import credentials
from openmcp.config.documents import Placed
from openmcp.config.inventory import Inventory
from openmcp.config.resources import GatewayConfigDocument
from openmcp.config.resources.gateway import RemoteSink, Sink
from openmcp.config.secrets import Secrets
from openmcp.model.content import Detect
from openmcp.model.server import Bodies


def compile_audit(inventory: Inventory, secrets: Secrets, *, data_dir: Path) -> snapshot.AuditSettings:
    """Return the settings, with the secrets of the sinks."""
    audit = inventory.gateway.spec.audit
    detectors: dict[str, Detect] = {placed.name: compile_detector(placed) for placed in inventory.detectors}
    sinks = _Sinks(inventory, secrets, data_dir)
    return snapshot.AuditSettings(
        sinks=tuple(sinks.settings(index, sink) for index, sink in enumerate(audit.sinks)),
        bodies=Bodies(audit.bodies),
        on_failure=snapshot.OnFailure(audit.on_failure),
        durability=snapshot.Durability(audit.durability),
        detect=tuple(detectors.get(name, name) for name in audit.redact.detect),
        keys=audit.redact.keys,
    )


class _Sinks:
    """Compiles one sink after the other."""

    def __init__(self, inventory: Inventory, secrets: Secrets, data_dir: Path) -> None:
        self._placed: Placed[GatewayConfigDocument] | None = inventory.gateways[0] if inventory.gateways else None
        self._base = inventory.base
        self._secrets = secrets
        self._data_dir = data_dir

    def settings(self, index: int, sink: Sink) -> snapshot.SinkSettings:
        """Return the settings of the sink at `index`."""
        if sink.file is not None:
            file = sink.file
            return snapshot.FileSinkSettings(
                path=self._under(file.path) if file.path else self._data_dir / "audit",
                rotate_bytes=values.size_bytes(file.rotate),
                rotate_s=values.duration_s(file.rotate_every),
                is_compressed=file.compress == "zstd",
            )
        if sink.http is not None:
            return self._remote("http", sink.http, sink.http.url, index=index)
        if sink.otlp is not None:
            return self._remote("otlp", sink.otlp, f"{sink.otlp.endpoint.rstrip('/')}/v1/logs", index=index)
        return snapshot.StdoutSinkSettings()

    def _remote(self, kind: str, sink: RemoteSink, url: str, *, index: int) -> snapshot.RemoteSinkSettings:
        loc = ("spec", "audit", "sinks", index, kind, "headers")
        headers = credentials(self._placed, sink.headers, self._secrets, loc=loc) if self._placed is not None else ()
        return snapshot.RemoteSinkSettings(
            kind=kind,
            url=url,
            headers=headers,
            ca_file=self._under(sink.ca_file) if sink.ca_file else None,
            buffer_bytes=values.size_bytes(sink.buffer),
            timeout_s=values.duration_s(sink.timeout),
        )

    def _under(self, path: str) -> Path:
        return (self._base / Path(path).expanduser()).absolute()
