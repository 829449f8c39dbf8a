"""`Server`s out of `MCPServer` resources."""

from collections.abc import Sequence

from openmcp.config import values
from openmcp.config.check import server_path
from openmcp.config.compile.credentials import credentials
from openmcp.config.compile.tls import calling_tls
from openmcp.config.documents import Placed
from openmcp.config.resources import MCPServerDocument
from openmcp.config.resources import server as written
from openmcp.config.secrets import Secrets
from openmcp.config.snapshot import GatewaySettings
from openmcp.model.pin import Pinning
from openmcp.model.server import (
    Affinity,
    AffinityMode,
    Authentication,
    Balance,
    Bodies,
    Health,
    Http2,
    IdentityHeader,
    Named,
    Replica,
    Server,
    Timeouts,
)
from openmcp.model.tls import CallingTls

_PORTS = {"http": 80, "https": 443}


def compile_server(
    placed: Placed[MCPServerDocument], secrets: Secrets, *, gateway: GatewaySettings, every_source: Sequence[str]
) -> Server:
    """Return the server; what it leaves open is the gateway's, or every source."""
    spec = placed.document.spec
    upstream = spec.upstream
    authentication = spec.authentication
    sources = every_source if authentication.sources is None else authentication.sources
    return Server(
        name=placed.name,
        path=server_path(placed.document),
        replicas=tuple(_replica(url) for url in upstream.replicas or ()),
        named=_named(upstream.dns) if upstream.dns is not None else None,
        authentication=Authentication(
            tuple(sources),
            is_anonymous_allowed=authentication.anonymous,
            is_strict=authentication.consistency == "strict",
        ),
        hosts=tuple(values.host_name(host) for host in spec.hosts),
        labels=placed.document.metadata.labels,
        upstream_host=upstream.host,
        credentials=credentials(placed, upstream.credentials, secrets, loc=("spec", "upstream", "credentials")),
        identity_header=IdentityHeader(upstream.identity_header),
        affinity=_affinity(spec.affinity),
        timeouts=_timeouts(upstream.timeouts),
        health=_health(upstream.health),
        balance=Balance(upstream.balance),
        retry_attempts=upstream.retries.attempts,
        http2=Http2(upstream.http2),
        tls=_tls(placed, secrets),
        idle_connection_s=values.duration_s(upstream.idle_connection),
        request_bytes=_bytes(spec.limits.request_bytes, gateway.limits.request_bytes),
        message_bytes=_bytes(spec.limits.message_bytes, gateway.limits.message_bytes),
        is_default_allow=gateway.is_default_allow if spec.policy.default is None else spec.policy.default == "allow",
        is_trace_continued=spec.tracing.parent == "continue",
        bodies=gateway.audit.bodies if spec.audit.bodies is None else Bodies(spec.audit.bodies),
        pinning=Pinning(spec.pinning.mode),
    )


def _replica(url: str) -> Replica:
    parts = values.replica_url(url)
    host = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    url = f"{parts.scheme}://{authority}{target}"
    return Replica(url=url, host=host, port=port, target=target, is_tls=parts.scheme == "https")


def _named(dns: written.Dns) -> Named:
    return Named(
        host=values.host_name(dns.name),
        port=dns.port,
        target=dns.path,
        is_tls=dns.scheme == "https",
        refresh_s=values.duration_s(dns.refresh),
    )


def _tls(placed: Placed[MCPServerDocument], secrets: Secrets) -> CallingTls:
    tls = placed.document.spec.upstream.tls
    return CallingTls() if tls is None else calling_tls(placed, tls, secrets, "spec", "upstream", "tls")


def _affinity(affinity: written.Affinity) -> Affinity:
    return Affinity(
        mode=AffinityMode(affinity.mode),
        idle_timeout_s=values.duration_s(affinity.idle_timeout),
        max_age_s=values.duration_s(affinity.max_age),
    )


def _timeouts(timeouts: written.Timeouts) -> Timeouts:
    return Timeouts(
        connect_s=values.duration_s(timeouts.connect),
        response_s=values.duration_s(timeouts.response),
        stream_idle_s=values.duration_s(timeouts.stream_idle),
    )


def _health(health: written.Health) -> Health:
    return Health(
        probe=health.probe,
        interval_s=values.duration_s(health.interval),
        unhealthy_after=health.unhealthy_after,
        healthy_after=health.healthy_after,
    )


def _bytes(own: str | None, inherited: int) -> int:
    return inherited if own is None else values.size_bytes(own)
