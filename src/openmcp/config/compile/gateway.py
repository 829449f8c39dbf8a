"""The node's own settings out of `GatewayConfig`."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from openmcp.config import snapshot, values
from openmcp.config.compile.audit import compile_audit
from openmcp.config.compile.credentials import credentials
from openmcp.config.compile.tls import serving_tls
from openmcp.config.documents import Placed
from openmcp.config.inventory import Inventory
from openmcp.config.resources import GatewayConfigDocument
from openmcp.config.resources.base import SecretRef
from openmcp.config.resources.gateway import Limits, Listener
from openmcp.config.secrets import Secrets, ed25519_seed, without_newline
from openmcp.model.tls import ServingTls

_LOOPBACK: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")


def compile_gateway(inventory: Inventory, secrets: Secrets) -> snapshot.GatewaySettings:
    """Return the settings, with the defaults where there is no `GatewayConfig`."""
    document = inventory.gateway
    spec = document.spec
    data_dir = _under(inventory.base, spec.data_dir)
    return snapshot.GatewaySettings(
        name=document.metadata.name,
        listeners=tuple(
            _listener(listener, _tls(inventory, secrets, index)) for index, listener in enumerate(spec.listeners)
        ),
        admin=values.address(spec.admin.address),
        data_dir=data_dir,
        workers=1,
        state=_state(spec.state.url, inventory.base, data_dir=data_dir),
        keys=_keys(inventory.gateways[0], secrets) if inventory.gateways else snapshot.KeySettings(),
        audit=compile_audit(inventory, secrets, data_dir=data_dir),
        limits=_limits(spec.limits),
        is_default_allow=spec.policy.default == "allow",
        policy_headers=tuple(sorted({name.lower() for name in spec.policy.headers})),
        admin_tls=_admin_tls(inventory, secrets),
        tracing=_tracing(inventory.gateways[0], secrets) if inventory.gateways else None,
    )


def _under(base: Path, path: str) -> Path:
    return (base / Path(path).expanduser()).absolute()


def _tls(inventory: Inventory, secrets: Secrets, index: int) -> ServingTls | None:
    settings = inventory.gateway.spec.listeners[index].tls
    if settings is None:
        return None
    return serving_tls(inventory.gateways[0], settings, secrets, "spec", "listeners", index, "tls")


def _admin_tls(inventory: Inventory, secrets: Secrets) -> ServingTls | None:
    settings = inventory.gateway.spec.admin.tls
    if settings is None:
        return None
    return serving_tls(inventory.gateways[0], settings, secrets, "spec", "admin", "tls")


def _listener(listener: Listener, tls: ServingTls | None) -> snapshot.Listener:
    address = values.address(listener.address)
    public_url = listener.public_url.rstrip("/") if listener.public_url else ""
    allowed_hosts = frozenset(values.host_name(host) for host in listener.allowed_hosts)
    return snapshot.Listener(
        name=listener.name,
        address=address,
        public_url=public_url,
        allowed_hosts=allowed_hosts or frozenset(_default_hosts(address, public_url)),
        allowed_origins=frozenset(values.origin(origin) for origin in listener.allowed_origins),
        trusted_peers=tuple(values.network(peer) for peer in listener.trusted_peers),
        speaks_http2=listener.http2,
        tls=tls,
    )


def _default_hosts(address: values.Address, public_url: str) -> list[str]:
    hosts = [*_LOOPBACK]
    if public_url:
        hosts.append(values.host_name(values.base_url(public_url).hostname or ""))
    if address.host not in ("0.0.0.0", "::"):
        hosts.append(values.host_name(address.host))
    return hosts


def _state(url: str, base: Path, *, data_dir: Path) -> snapshot.StateSettings:
    store, path = values.state_url(url)
    if store == "memory":
        return snapshot.StateSettings(store)
    return snapshot.StateSettings(store, _under(base, path) if path else data_dir / "state.db")


def _keys(placed: Placed[GatewayConfigDocument], secrets: Secrets) -> snapshot.KeySettings:
    keys = placed.document.spec.keys
    sealing = tuple(
        _key(placed, ref, secrets, loc=("spec", "keys", "sealing", index))
        for index, ref in enumerate(keys.sealing or ())
    )
    signing = tuple(
        _seed(placed, ref, secrets, loc=("spec", "keys", "signing", index))
        for index, ref in enumerate(keys.signing or ())
    )
    hashing = None
    if keys.hashing is not None:
        hashing = _key(placed, keys.hashing, secrets, loc=("spec", "keys", "hashing"))
    return snapshot.KeySettings(sealing, signing, hashing)


def _key(
    placed: Placed[GatewayConfigDocument], ref: SecretRef, secrets: Secrets, *, loc: tuple[int | str, ...]
) -> bytes:
    """32 bytes: the value itself if it is just that long, else the digest of the text."""
    return _stretched(placed, secrets.read(placed, ref, *loc), secrets, loc=loc)


def _seed(
    placed: Placed[GatewayConfigDocument], ref: SecretRef, secrets: Secrets, *, loc: tuple[int | str, ...]
) -> bytes:
    """32 bytes: the private key of a PEM file, or made of random bytes as any other key."""
    value = secrets.read(placed, ref, *loc)
    if b"-----BEGIN" not in value:
        return _stretched(placed, value, secrets, loc=loc)
    try:
        return ed25519_seed(value)
    except ValueError as error:
        secrets.report(placed, str(error), *loc)
        return bytes(snapshot.KEY_BYTES)


def _stretched(
    placed: Placed[GatewayConfigDocument], value: bytes, secrets: Secrets, *, loc: tuple[int | str, ...]
) -> bytes:
    if len(value) == snapshot.KEY_BYTES:
        return value
    text = without_newline(value)
    if text and len(text) < snapshot.KEY_BYTES:
        secrets.report(placed, f"the key is too short: it has to be at least {snapshot.KEY_BYTES} bytes long", *loc)
    return text if len(text) == snapshot.KEY_BYTES else hashlib.sha256(text).digest()


def _tracing(placed: Placed[GatewayConfigDocument], secrets: Secrets) -> snapshot.TracingSettings | None:
    tracing = placed.document.spec.tracing
    if tracing.otlp is None:
        return None
    loc = ("spec", "tracing", "otlp")
    if find_spec("opentelemetry.exporter") is None or find_spec("opentelemetry.sdk") is None:
        secrets.report(placed, "traces need OpenTelemetry: install `openmcp[otel]`", *loc)
    headers = credentials(placed, tracing.otlp.headers, secrets, loc=(*loc, "headers"))
    return snapshot.TracingSettings(tracing.otlp.endpoint, headers, tracing.sample_ratio)


def _limits(limits: Limits) -> snapshot.Limits:
    return snapshot.Limits(
        request_bytes=values.size_bytes(limits.request_bytes),
        message_bytes=values.size_bytes(limits.message_bytes),
        buffered_bytes=values.size_bytes(limits.buffered_bytes),
        json_depth=limits.json_depth,
        header_bytes=values.size_bytes(limits.header_bytes),
        concurrent_exchanges=limits.concurrent_exchanges,
        streams_per_principal=limits.streams_per_principal,
        headers_timeout_s=values.duration_s(limits.headers_timeout),
        body_timeout_s=values.duration_s(limits.body_timeout),
        drain_timeout_s=values.duration_s(limits.drain_timeout),
    )
