"""What the stages get: defaults filled in, texts turned into numbers, secrets resolved."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from openmcp.config.identities import ApiKeyIdentity, ApiKeySourceSettings
from openmcp.config.snapshot import (
    Durability,
    FileSinkSettings,
    GatewaySettings,
    KeySettings,
    MatchSpec,
    OnFailure,
    RemoteSinkSettings,
    ServerSelectorSpec,
    Snapshot,
    StdoutSinkSettings,
)
from openmcp.config.values import Address
from openmcp.model.agent import Trust
from openmcp.model.decision import Effect
from openmcp.model.server import Affinity, Balance, Bodies, Health, Replica, Server, Timeouts
from tests.unit.config.writing import ENV, faults, loaded, resource, server, source, write

FULL = Path(__file__).with_name("full.yaml")


@pytest.fixture(scope="module")
def full() -> Snapshot:
    return loaded(FULL).snapshot


def gateway(folder: Path, spec: str) -> GatewaySettings:
    return loaded(write(folder, resource("GatewayConfig", "g", spec))).snapshot.gateway


def test_an_empty_gateway_is_on_loopback_and_denies_and_keeps_its_state(tmp_path: Path) -> None:
    settings = gateway(tmp_path, "{}")
    (listener,) = settings.listeners
    assert listener.address == Address("127.0.0.1", 8080)
    assert listener.allowed_hosts == {"localhost", "127.0.0.1", "[::1]"}
    assert (listener.public_url, listener.allowed_origins, listener.trusted_peers) == ("", frozenset(), ())
    assert settings.admin == Address("127.0.0.1", 9090)
    assert not settings.is_default_allow
    assert settings.workers == 1
    assert settings.data_dir == tmp_path / "openmcp-data"
    assert (settings.state.store, settings.state.path) == ("sqlite", tmp_path / "openmcp-data" / "state.db")
    assert settings.keys == KeySettings()
    assert settings.audit.sinks == (FileSinkSettings(tmp_path / "openmcp-data" / "audit", 256 << 20),)
    assert (settings.audit.on_failure, settings.audit.durability) == (OnFailure.BLOCK, Durability.ASYNC)
    assert settings.audit.bodies is Bodies.REDACTED
    assert (settings.limits.request_bytes, settings.limits.headers_timeout_s) == (4 << 20, 10.0)


def test_files_without_a_gateway_get_the_same_defaults(tmp_path: Path) -> None:
    without = loaded(write(tmp_path, source())).snapshot.gateway
    assert dataclasses.replace(without, name="g") == gateway(tmp_path, "{}")


def test_loading_writes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, resource("GatewayConfig", "g", "{}"))
    loaded(path)
    assert list(tmp_path.iterdir()) == [path]


def test_every_setting_of_the_gateway_arrives(full: Snapshot) -> None:
    settings = full.gateway
    public, mesh = settings.listeners
    assert public.public_url == "https://mcp-gateway.example.com"
    assert public.allowed_hosts == {"mcp-gateway.example.com", "inner.example.com"}
    assert public.allowed_origins == {"https://app.example.com"}
    assert [str(peer) for peer in public.trusted_peers] == ["10.0.0.0/8", "127.0.0.1/32"]
    assert mesh.address == Address("::1", 8081)
    assert settings.is_default_allow
    assert settings.data_dir == FULL.parent / "data"
    assert settings.state.path == FULL.parent / "facts" / "state.db"
    assert settings.audit.sinks == (FileSinkSettings(FULL.parent / "log", 1 << 30), StdoutSinkSettings())
    assert (settings.audit.on_failure, settings.audit.durability) == (OnFailure.FAIL_CLOSED, Durability.SYNC)
    limits = settings.limits
    assert (limits.json_depth, limits.concurrent_exchanges, limits.streams_per_principal) == (32, 100, 10)
    assert (limits.headers_timeout_s, limits.body_timeout_s, limits.drain_timeout_s) == (0.25, 60, 5400)


def test_hosts_that_may_be_asked_for_default_to_the_public_name_and_loopback(tmp_path: Path) -> None:
    spec = "{listeners: [{address: 10.1.2.3:80, publicUrl: 'https://MCP.example:8443/'}]}"
    (listener,) = gateway(tmp_path, spec).listeners
    assert listener.allowed_hosts == {"mcp.example", "localhost", "127.0.0.1", "[::1]", "10.1.2.3"}
    assert listener.public_url == "https://MCP.example:8443"


def test_every_setting_of_a_server_arrives(full: Snapshot) -> None:
    github = full.servers[0]
    assert github == Server(
        name="github",
        path="/github-mcp",
        replicas=(
            Replica(url="http://10.0.0.11:8080/mcp?x=1", host="10.0.0.11", port=8080, target="/mcp?x=1"),
            Replica(url="http://[::1]:80/mcp", host="::1", port=80, target="/mcp"),
        ),
        authentication=github.authentication,
        hosts=("mcp-gateway.example.com",),
        labels={"team": "dev"},
        upstream_host="client",
        credentials=github.credentials,
        affinity=Affinity(idle_timeout_s=600, max_age_s=28800),
        timeouts=Timeouts(connect_s=1, response_s=60, stream_idle_s=600),
        health=Health(probe="none", interval_s=5, unhealthy_after=2, healthy_after=4),
        balance=Balance.ROUND_ROBIN,
        retry_attempts=3,
        idle_connection_s=2,
        request_bytes=64 << 10,
        message_bytes=128 << 10,
        is_default_allow=False,
        bodies=Bodies.NONE,
    )
    assert [(one.header, one.value) for one in github.credentials] == [("Authorization", "Bearer t0ken")]
    assert github.authentication.sources == ("header-keys", "keys")
    assert github.authentication.is_anonymous_allowed


def test_what_a_server_leaves_open_is_the_gateways(full: Snapshot) -> None:
    notes = full.servers[1]
    assert notes.path == "/notes"
    assert notes.is_default_allow
    assert notes.bodies is Bodies.FULL
    assert (notes.request_bytes, notes.message_bytes) == (1 << 20, 2 << 20)
    assert (notes.affinity, notes.timeouts, notes.health) == (Affinity(), Timeouts(), Health())


def test_a_server_that_names_no_source_takes_all_in_their_order(full: Snapshot) -> None:
    assert full.servers[1].authentication.sources == ("header-keys", "keys")
    assert [(one.name, one.method, one.settings) for one in full.sources] == [
        ("header-keys", "apiKey", ApiKeySourceSettings("x-api-key")),
        ("keys", "apiKey", ApiKeySourceSettings("authorization")),
    ]


def test_sources_of_the_same_order_are_asked_by_name(tmp_path: Path) -> None:
    snapshot = loaded(write(tmp_path, source("b"), source("a"), server())).snapshot
    assert snapshot.servers[0].authentication.sources == ("a", "b")


def test_a_server_at_the_root_has_an_empty_prefix(tmp_path: Path) -> None:
    assert loaded(write(tmp_path, server(spec=", path: /"))).snapshot.servers[0].path == ""


def test_agents_arrive_with_digests_as_bytes(full: Snapshot) -> None:
    (bot,) = full.agents
    assert (bot.name, bot.owner, bot.groups) == ("support-bot", "alice@example.com", frozenset({"support-agents"}))
    assert bot.labels == {"tier": "prod"}
    (key,) = bot.identities
    assert isinstance(key, ApiKeyIdentity)
    assert key.digest == hashlib.sha256(b"test").digest()


def test_policies_arrive_with_selectors_effects_and_modes(full: Snapshot) -> None:
    readers, by_label = full.policies
    assert readers.servers == ServerSelectorSpec(names=("github", "notes"))
    assert readers.agents is not None
    assert readers.agents.min_trust is Trust.SHARED_SECRET
    assert readers.agents.ids == ("key:keys:**",)
    read, no_delete = readers.rules
    assert (read.effect, read.is_shadow) == (Effect.ALLOW, False)
    assert read.match.resources == ("notes://**",)
    assert (no_delete.effect, no_delete.reason, no_delete.is_shadow) == (Effect.DENY, "Deleting is for people.", True)
    assert by_label.servers == ServerSelectorSpec(labels={"team": "dev"})
    assert by_label.agents is None
    assert by_label.rules[0].match == MatchSpec()
    assert by_label.rules[0].is_shadow


def test_keys_are_32_bytes_whatever_their_text(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(range(32)))
    (tmp_path / "ends-like-a-line").write_bytes(b"k" * 31 + b"\n")
    (tmp_path / "text").write_text("x" * 64 + "\n")
    spec = "{keys: {sealing: [{file: raw}, {file: ends-like-a-line}, {env: SEALING}], hashing: {file: text}}}"
    keys = gateway(tmp_path, spec).keys
    assert keys.sealing == (bytes(range(32)), b"k" * 31 + b"\n", hashlib.sha256(b"s" * 40).digest())
    assert keys.hashing == hashlib.sha256(b"x" * 64).digest()


@pytest.mark.parametrize(
    ("ref", "content", "word"),
    [
        ("{env: NOWHERE}", b"", "`NOWHERE` is not set"),
        ("{env: EMPTY}", b"", "empty"),
        ("{file: no}", b"", "cannot be read"),
        ("{file: s}", b"\n", "empty"),
        ("{file: s}", b"x" * 70_000, "no secret"),
        ("{file: s}", b"two\nlines\n", "header cannot carry"),
        ("{file: s}", "schlüssel".encode(), "header cannot carry"),
    ],
)
def test_a_secret_that_cannot_be_used_is_a_fault_at_its_reference(
    tmp_path: Path, ref: str, content: bytes, word: str
) -> None:
    (tmp_path / "s").write_bytes(content)
    path = write(tmp_path, server(upstream=f", credentials: [{{header: X-Key, value: {ref}}}]"))
    (fault,) = faults(path, env={**ENV, "EMPTY": ""})
    assert fault[0] == "g.yaml:4:94"
    assert word in fault[1]


def test_a_key_that_is_too_short_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, resource("GatewayConfig", "g", "{keys: {hashing: {env: TOKEN}}}"))
    assert [place for place, _ in faults(path)] == ["g.yaml:4:24"]


def test_secrets_do_not_show_when_a_snapshot_is_printed(full: Snapshot) -> None:
    text = repr(full)
    assert all(secret not in text for secret in ENV.values())
    assert repr(full.gateway.keys.sealing[0]) not in text
    (key,) = full.agents[0].identities
    assert isinstance(key, ApiKeyIdentity)
    assert repr(key.digest) not in text


def test_a_signing_key_is_pem_or_random_bytes(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "raw").write_bytes(bytes(range(32)))
    keys = gateway(tmp_path, "{keys: {signing: [{file: pem}, {file: raw}]}}").keys
    assert keys.signing == (key.private_bytes_raw(), bytes(range(32)))


def test_a_signing_key_of_another_kind_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(
        X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    path = write(tmp_path, resource("GatewayConfig", "g", "{keys: {signing: [{file: x}]}}"))
    [(place, text)] = faults(path)
    assert place == "g.yaml:4:25"
    assert "Ed25519" in text


def test_collectors_come_with_their_credentials_and_what_is_redacted_beside_the_defaults(tmp_path: Path) -> None:
    sinks = (
        "[{file: {rotateEvery: 1h, compress: none}}, {otlp: {}},"
        " {http: {url: 'https://in.example.com/x?y', buffer: 1MiB, caFile: ca.pem,"
        " headers: [{header: Authorization, prefix: 'Bearer ', value: {env: TOKEN}}]}}]"
    )
    audit = gateway(tmp_path, f"{{audit: {{sinks: {sinks}, redact: {{detect: [email], keys: [ssn]}}}}}}").audit
    file, otlp, http = audit.sinks
    assert file == FileSinkSettings(tmp_path / "openmcp-data" / "audit", 256 << 20, 3600.0, is_compressed=False)
    assert otlp == RemoteSinkSettings("otlp", "http://127.0.0.1:4318/v1/logs")
    assert isinstance(http, RemoteSinkSettings)
    assert (http.url, http.buffer_bytes, http.ca_file) == ("https://in.example.com/x?y", 1 << 20, tmp_path / "ca.pem")
    assert [(item.header, item.value) for item in http.headers] == [("Authorization", f"Bearer {ENV['TOKEN']}")]
    assert (audit.detect, audit.keys) == (("email",), ("ssn",))
    assert ENV["TOKEN"] not in repr(audit)


def test_a_detector_that_there_is_not_is_a_fault(tmp_path: Path) -> None:
    [(place, text)] = faults(
        write(tmp_path, resource("GatewayConfig", "g", "{audit: {redact: {detect: [email, emial]}}}"))
    )
    assert place == "g.yaml:4:41"
    assert "did you mean `email`" in text
