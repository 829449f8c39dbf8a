"""What is wrong with certificates and keys is told where they are named, before anything is put in force."""

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from openmcp.config.loader import Loaded, attempt
from openmcp.model.tls import CallingTls, ClientAuth
from tests.support.certificates import Authority
from tests.unit.config.writing import ENV, faults, loaded, resource, warnings, write

CA = Authority()
TLS = "tls: {certFile: gateway.crt, keyFile: gateway.key"


def gateway(folder: Path, more: str = "", *, place: str = "listeners: [{name: public, %s}]") -> Path:
    return write(folder, resource("GatewayConfig", "edge", "{" + place % (TLS + more + "}") + "}"))


def test_a_pair_is_read_with_its_end(tmp_path: Path) -> None:
    made = CA.issue()
    made.write(tmp_path, "gateway")
    (listener,) = loaded(gateway(tmp_path, ", minVersion: TLSv1.3, clientAuth: optional")).snapshot.gateway.listeners
    assert listener.tls is not None
    assert listener.tls.pair == made.pair
    assert listener.tls.client_auth is ClientAuth.OPTIONAL
    assert listener.tls.min_version.name == "TLSv1_3"


def test_the_admin_listener_has_tls_of_its_own(tmp_path: Path) -> None:
    made = CA.issue()
    made.write(tmp_path, "gateway")
    settings = loaded(gateway(tmp_path, place="admin: {%s}")).snapshot.gateway
    assert settings.admin_tls is not None
    assert settings.admin_tls.pair == made.pair


def test_a_key_never_shows(tmp_path: Path) -> None:
    made = CA.issue()
    made.write(tmp_path, "gateway")
    assert made.key.decode().splitlines()[1] not in repr(loaded(gateway(tmp_path)).snapshot)


def test_both_files_are_watched(tmp_path: Path) -> None:
    paths = CA.issue().write(tmp_path, "gateway")
    tried = attempt([gateway(tmp_path)], env=ENV)
    assert isinstance(tried.outcome, Loaded)
    assert set(paths) < set(tried.watched)


def test_files_that_cannot_be_read_are_faults(tmp_path: Path) -> None:
    told = faults(gateway(tmp_path))
    assert [place for place, _ in told] == ["g.yaml:4:51", "g.yaml:4:73"]
    assert all("cannot be read" in text for _, text in told)


def test_a_key_that_does_not_match_is_a_fault_at_the_key(tmp_path: Path) -> None:
    CA.issue().write(tmp_path, "gateway")
    (tmp_path / "gateway.key").write_bytes(CA.issue().key)
    ((place, text),) = faults(gateway(tmp_path))
    assert place == "g.yaml:4:73"
    assert "does not belong to the certificate" in text


@pytest.mark.parametrize(
    ("suffix", "content", "why"),
    [
        (".crt", b"nothing", "no certificate that can be read"),
        (".crt", CA.issue().key, "no certificate that can be read"),
        (".key", b"nothing", "no private key that can be read"),
        (".key", CA.issue().pem, "no private key that can be read"),
    ],
)
def test_what_is_no_pem_is_a_fault(tmp_path: Path, suffix: str, content: bytes, why: str) -> None:
    CA.issue().write(tmp_path, "gateway")
    (tmp_path / f"gateway{suffix}").write_bytes(content)
    ((_, text),) = faults(gateway(tmp_path))
    assert why in text


def test_an_encrypted_key_is_a_fault(tmp_path: Path) -> None:
    made = CA.issue()
    made.write(tmp_path, "gateway")
    encrypted = made.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "gateway.key").write_bytes(encrypted)
    ((_, text),) = faults(gateway(tmp_path))
    assert "encrypted" in text


def test_an_expired_certificate_is_a_warning(tmp_path: Path) -> None:
    CA.issue(life=-datetime.timedelta(minutes=1)).write(tmp_path, "gateway")
    told = [text for place, text in warnings(gateway(tmp_path)) if place == "g.yaml:4:51"]
    assert len(told) == 1
    assert "expired" in told[0]


# ---------------------------------------------------------------- towards servers

REPLICA = "{upstream: {replicas: ['%s'], tls: {%s}}}"


def upstream(folder: Path, tls: str, *, url: str = "https://tickets.example/mcp") -> Path:
    return write(folder, resource("MCPServer", "tickets", REPLICA % (url, tls)))


def test_what_a_server_is_called_with_is_read(tmp_path: Path) -> None:
    made = CA.issue()
    made.write(tmp_path, "client")
    (tmp_path / "ca.crt").write_bytes(CA.pem)
    path = upstream(tmp_path, "caFile: ca.crt, certFile: client.crt, keyFile: client.key, serverName: Tickets.Example")
    (server,) = loaded(path).snapshot.servers
    assert server.tls == CallingTls(CA.pem, made.pair, "Tickets.Example")
    (replica,) = server.replicas
    assert (replica.url, replica.port, replica.is_tls) == ("https://tickets.example:443/mcp", 443, True)


@pytest.mark.parametrize(
    ("tls", "place", "why"),
    [
        ("caFile: none.crt", "g.yaml:4:76", "cannot be read"),
        ("caFile: empty.crt", "g.yaml:4:76", "no certificate that can be read"),
        ("certFile: client.crt", "g.yaml:4:67", "give both `certFile` and `keyFile`"),
        ("serverName: 'a:1'", "g.yaml:4:80", "is not"),
    ],
)
def test_what_a_server_cannot_be_called_with_is_a_fault(tmp_path: Path, tls: str, place: str, why: str) -> None:
    (tmp_path / "empty.crt").write_bytes(b"# nothing here\n")
    ((where, text),) = faults(upstream(tmp_path, tls))
    assert where == place
    assert why in text


def test_tls_for_replicas_without_tls_is_a_fault(tmp_path: Path) -> None:
    ((_, text),) = faults(upstream(tmp_path, "serverName: a", url="http://tickets.example/mcp"))
    assert "https://" in text


def test_an_expired_certificate_of_the_gateway_is_a_warning(tmp_path: Path) -> None:
    CA.issue(life=-datetime.timedelta(minutes=1)).write(tmp_path, "client")
    told = [text for _, text in warnings(upstream(tmp_path, "certFile: client.crt, keyFile: client.key"))]
    assert sum("expired" in text for text in told) == 1
