"""One running gateway: configuration, state, evidence, the stages, and the edge around them.

Started by `openmcp serve`; stops on SIGTERM or SIGINT. Follows its configuration while
it runs: a valid change is put in force at once, a faulty one is reported and changes
nothing. It knows what is built from what, and nothing of any exchange.
"""

import asyncio
import fcntl
import gc
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from openmcp.audit.opening import make_writer
from openmcp.audit.recorder import Recorder
from openmcp.audit.writer import Writer
from openmcp.config.loader import Loaded
from openmcp.config.snapshot import GatewaySettings, Listener, Snapshot, StateSettings
from openmcp.config.source import ConfigSource
from openmcp.config.sources.file import FileSource
from openmcp.errors import Fault, Misconfigured, OpenMCPError
from openmcp.model.http import Peer
from openmcp.model.tls import KeyPair, ServingTls
from openmcp.runtime import Runtime
from openmcp.server.admin import Admin
from openmcp.server.limits import ListenerLimits
from openmcp.server.listener import ListenerConfig
from openmcp.server.traffic import OnRefusal
from openmcp.server.worker import Worker
from openmcp.server.worker import run as run_loop
from openmcp.state.opening import make_store
from openmcp.state.sealing import Keyring, load_or_make, publish
from openmcp.state.signing import Signer
from openmcp.state.store import Store
from openmcp.state.timed import TimedStore
from openmcp.telemetry import logs
from openmcp.telemetry.metrics import Metrics
from openmcp.telemetry.spans import Tracer

log = logging.getLogger(__name__)

_SOURCE = "file"
"""Label of the one configuration source there is."""

_YOUNG_OBJECTS = 10_000
"""New objects that start a garbage collection. An exchange leaves no cycles behind, so a collection finds nothing and
walks over what is under way: with 500 exchanges at once, Python's own 700 cost each of them 2 µs."""

_ADMIN = "_admin"
"""Label of the listener for probes and scrapers."""

_FOLLOW_AGAIN_S = 1.0
_STORE_EVERY_S = 2.0

OnReady = Callable[["Node"], None]


def run(paths: Sequence[Path], *, on_ready: OnReady | None = None) -> None:
    """Serve what the files describe, and follow their changes, until the process is told to stop.

    Raises: Misconfigured with every fault, before anything was opened; AuditUnavailable, StoreUnavailable; OSError
    if an address cannot be bound.
    """
    logs.set_up()
    source = FileSource(paths, env=os.environ)
    run_loop(_serve(source, source.load(), on_ready))


async def _serve(source: ConfigSource, loaded: Loaded, on_ready: OnReady | None) -> None:
    async with running(source, loaded) as node:
        _spare_the_collector()
        if on_ready is not None:
            on_ready(node)
        await node.worker.run_until_stopped()


def _spare_the_collector() -> None:
    """Take what was made at the start out of every later garbage collection: it stays, and one over it takes 15 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])


@asynccontextmanager
async def running(source: ConfigSource, loaded: Loaded) -> AsyncGenerator["Node", None]:
    """Start the parts in their order, and end them in the reverse one, however far the start came."""
    settings = loaded.snapshot.gateway
    _make_private(settings.data_dir)
    lock = _lock(settings.data_dir)
    keyring = _keyring(settings)
    async with AsyncExitStack() as parts:
        parts.callback(os.close, lock)
        metrics = Metrics()
        store = TimedStore(_store(settings.state, settings), metrics.store_operation)
        await store.open()
        parts.push_async_callback(store.close)
        signer = _signer(settings)
        writer = make_writer(settings.audit, name=f"{socket.gethostname()}-{secrets.token_hex(4)}-0", signer=signer)
        writer.start()
        parts.push_async_callback(asyncio.to_thread, writer.stop)
        metrics.ask_audit(lambda: writer.depth, writer.counts)
        tracer = _tracer(settings)
        if tracer is not None:
            parts.push_async_callback(asyncio.to_thread, tracer.close)
        runtime = Runtime(
            loaded.snapshot,
            store=store,
            keyring=keyring,
            writer=writer,
            metrics=metrics,
            tracer=tracer,
            signer=signer,
        )
        parts.push_async_callback(runtime.close)
        worker = Worker(
            [_listener(listener) for listener in settings.listeners],
            _limits(loaded.snapshot),
            runtime.handle,
            drain_timeout_s=settings.limits.drain_timeout_s,
            on_hangup=writer.reopen,
            on_refusal=_witness(runtime.recorder, metrics),
            client_cas=runtime.anchors.pem,
            on_handshake_failure=metrics.handshake_failed,
        )
        node = Node(runtime, worker, writer, store=store, metrics=metrics)
        node.warn(loaded)
        node.admin = Admin(
            settings.admin.host, settings.admin.port, metrics.exposition, node.readiness, tls=settings.admin_tls
        )
        node.admin.start()
        parts.callback(node.admin.stop)
        await runtime.discover()
        await worker.start()
        parts.push_async_callback(worker.close)
        runtime.start()
        following = asyncio.create_task(node.follow(source), name="configuration")
        parts.callback(following.cancel)
        trusting = asyncio.create_task(node.trust(), name="client CAs")
        parts.callback(trusting.cancel)
        watching = asyncio.create_task(node.watch(), name="store")
        parts.callback(watching.cancel)
        yield node


class Node:
    """The running parts, for whoever asks how they are."""

    admin: Admin

    def __init__(self, runtime: Runtime, worker: Worker, writer: Writer, *, store: Store, metrics: Metrics) -> None:
        self.runtime = runtime
        self.worker = worker
        self.store = store
        self._writer = writer
        self._metrics = metrics
        metrics.config_loaded(_SOURCE, is_ok=True)
        metrics.ask_sessions(runtime.sessions_by_server)
        metrics.ask_upstreams(runtime.replicas_up)
        metrics.ask_certificates(self.certificates_left_s)
        self.generation = 1
        """How many configurations were in force so far."""

        self._fault = self._store_fault = ""
        self._warnings: list[str] = []
        self._request_bytes = _largest_request(runtime.snapshot)
        self._started_with = _of_the_process(runtime.snapshot.gateway)

    @property
    def addresses(self) -> Mapping[str, tuple[str, int]]:
        """Address and port of each listener, by name."""
        return self.worker.addresses

    def readiness(self) -> tuple[bool, Mapping[str, object]]:
        """Whether new work can be taken, and what a person wants to know beside it. Called from the admin thread."""
        details: dict[str, object] = {
            "generation": self.generation,
            "revision": self.runtime.snapshot.revision,
            "exchanges": self.worker.exchanges,
        }
        if self._fault:
            details["configurationFault"] = self._fault
        if self.runtime.identity_faults:
            details["identityFaults"] = self.runtime.identity_faults
        if self._warnings:
            details["configurationWarnings"] = self._warnings
        faults = self._writer.faults
        if faults:
            details["auditFaults"] = faults
        if self._writer.remote_faults:
            # The files go on, so that this is no reason to send work elsewhere.
            details["auditCollectors"] = self._writer.remote_faults
        if self._store_fault:
            details["storeFault"] = self._store_fault
        return self.worker.is_ready and not faults and not self._store_fault, details

    def certificates_left_s(self) -> Mapping[str, float]:
        """How long each listener's certificate is still valid, in seconds. May be called from any thread."""
        settings, now = self.runtime.snapshot.gateway, time.time()
        served = {listener.name: listener.tls for listener in settings.listeners} | {_ADMIN: settings.admin_tls}
        return {name: tls.pair.expires_at - now for name, tls in served.items() if tls is not None}

    async def follow(self, source: ConfigSource) -> None:
        """Put every valid change of the configuration in force; a faulty one changes nothing. Never ends by itself."""
        while True:
            try:
                async for outcome in source.changes():
                    await self._consider(outcome)
            except Exception as fault:
                # Whatever it was, later changes must count: among them may be the withdrawal of somebody's access.
                self._fault = f"the configuration cannot be followed: {fault!r}"
                self._metrics.config_loaded(_SOURCE, is_ok=False)
                log.exception("configuration-not-followed")
            await asyncio.sleep(_FOLLOW_AGAIN_S)

    async def trust(self) -> None:
        """Have listeners believe the client CAs that the identity sources name at each time. Never ends by itself."""
        changed = asyncio.Event()
        self.runtime.anchors.on_change(changed.set)
        while True:
            # Asked at first, too: what has changed between the start of the listeners and now would be missed.
            if not await self.worker.trust_again():
                self._fault = "the client CAs could not be put in force: the former ones still count (see the log)"
            await changed.wait()
            changed.clear()

    async def watch(self) -> None:
        """Know whether the store answers, for whoever asks whether this node is ready."""
        while True:
            health = await self.store.health()
            self._store_fault = "" if health.is_ok else health.detail or "no answer"
            await asyncio.sleep(_STORE_EVERY_S)

    async def _consider(self, outcome: Loaded | Misconfigured) -> None:
        if isinstance(outcome, Misconfigured):
            self._fault = str(outcome)
            self._metrics.config_loaded(_SOURCE, is_ok=False)
            log.error("configuration-refused", extra={"faults": [str(fault) for fault in outcome.faults]})
            return
        self._fault = ""
        await self._take(outcome.snapshot)
        self.generation += 1
        self.warn(outcome)

    def warn(self, loaded: Loaded) -> None:
        """Say what is probably not meant in the configuration that is in force, here and at `/readyz`."""
        self._warnings = [str(warning) for warning in loaded.warnings]
        for warning in loaded.warnings:
            log.warning("configuration-warning", extra={"place": warning.place, "why": warning.text})

    async def _take(self, snapshot: Snapshot) -> None:
        is_larger = _largest_request(snapshot) > self._request_bytes
        if is_larger or _of_the_process(snapshot.gateway) != self._started_with:
            self._fault = (
                "a restart is needed: listeners, dataDir, state, keys, audit or a larger requestBytes have changed"
            )
            log.warning("restart-needed", extra={"why": self._fault})
        self.runtime.swap(snapshot)
        if not await self.worker.turn([_listener(listener) for listener in snapshot.gateway.listeners]):
            self._fault = "a new certificate could not be put in force: the former one still serves (see the log)"
        self.admin.turn(snapshot.gateway.admin_tls)
        self._metrics.config_loaded(_SOURCE, is_ok=True)
        log.info("configuration-loaded", extra={"revision": snapshot.revision})


def _witness(recorder: Recorder, metrics: Metrics) -> OnRefusal:
    """Return what is told of each refusal of the edge: it is recorded and counted like all others."""

    def turned_away(peer: Peer, listener: str, error: OpenMCPError, status: int) -> None:
        recorder.turned_away(peer, listener, error, status)
        metrics.turned_away(listener, error.kind)

    return turned_away


def _of_the_process(settings: GatewaySettings) -> GatewaySettings:
    """Return the settings without those that a swap puts in force."""
    still = replace(settings.limits, json_depth=0, streams_per_principal=0)
    listeners = tuple(replace(listener, tls=listener.tls and _ANY_TLS) for listener in settings.listeners)
    return replace(
        settings,
        name="",
        limits=still,
        is_default_allow=False,
        listeners=listeners,
        admin_tls=settings.admin_tls and _ANY_TLS,
    )


_ANY_TLS = ServingTls(KeyPair(b"", b"", 0.0))
"""Stands for whatever TLS an address speaks: that may change under way, but not whether it does."""


def _make_private(folder: Path) -> None:
    """Make the data directory for the gateway's own account alone; one that is there stays as the operator made it."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


def _lock(folder: Path) -> int:
    """Return the open lock of the data directory; it is this process's as long as it is open.

    Raises: Misconfigured if another gateway has it: two would mix their state, and neither would say so.
    """
    path = folder / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        text = "another gateway uses this data directory: stop it, or give this one another `spec.dataDir`"
        raise Misconfigured([Fault(str(path), text)]) from None
    return descriptor


def _keyring(settings: GatewaySettings) -> Keyring:
    """Return the keys as configured, else as kept under the data directory (made at the first start)."""
    folder = settings.data_dir / "keys"
    sealing = settings.keys.sealing or (load_or_make(folder / "sealing"),)
    hashing = settings.keys.hashing or load_or_make(folder / "hashing")
    return Keyring(sealing=sealing, hashing=hashing)


def _signer(settings: GatewaySettings) -> Signer:
    """Return the keys that sign, as configured or kept; their public halves stand beside them, for whoever verifies."""
    folder = settings.data_dir / "keys"
    signer = Signer(settings.keys.signing or (load_or_make(folder / "signing"),))
    publish(folder / "signing.pub", signer.public_pem())
    return signer


def _tracer(settings: GatewaySettings) -> Tracer | None:
    tracing = settings.tracing
    if tracing is None:
        return None
    # Imported only now: whoever does without traces needs neither the library nor its memory.
    from openmcp.telemetry.traces import OtlpTracer

    headers = {header.header: header.value for header in tracing.headers}
    return OtlpTracer(
        tracing.endpoint, headers=headers, ratio=tracing.sample_ratio, service="openmcp", instance=settings.name
    )


def _store(state: StateSettings, settings: GatewaySettings) -> Store:
    return make_store(f"{state.store}:{state.path or ''}", settings.data_dir)


def _listener(listener: Listener) -> ListenerConfig:
    return ListenerConfig(
        name=listener.name,
        host=listener.address.host,
        port=listener.address.port,
        public_url=listener.public_url,
        allowed_hosts=sorted(listener.allowed_hosts),
        allowed_origins=sorted(listener.allowed_origins),
        trusted_peers=[str(network) for network in listener.trusted_peers],
        speaks_http2=listener.speaks_http2,
        tls=listener.tls,
    )


def _largest_request(snapshot: Snapshot) -> int:
    return max([snapshot.gateway.limits.request_bytes, *(server.request_bytes for server in snapshot.servers)])


def _limits(snapshot: Snapshot) -> ListenerLimits:
    limits = snapshot.gateway.limits
    return ListenerLimits(
        header_bytes=limits.header_bytes,
        # The edge does not know servers: it lets through what any of them takes, and routing refuses the rest.
        request_bytes=_largest_request(snapshot),
        buffered_bytes=limits.buffered_bytes,
        concurrent_exchanges=limits.concurrent_exchanges,
        headers_timeout_s=limits.headers_timeout_s,
        body_timeout_s=limits.body_timeout_s,
    )
