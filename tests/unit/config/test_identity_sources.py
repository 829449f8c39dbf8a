"""Identity by certificate and by proxy, as it is configured: what is read, and every mistake with its place."""

import base64
import datetime
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from openmcp.config.identities import CertificateName, MeshSettings, MtlsSettings, SpiffeSettings
from openmcp.model.agent import Trust
from tests.support.certificates import DAY, Authority
from tests.unit.config.writing import agent, faults, loaded, resource, server, warnings, write

HOUR = datetime.timedelta(hours=1)
SAN = "{mtls: {source: partners, san: dns:bot.example}}"


def mtls(rest: str = "", name: str = "partners") -> str:
    return resource("IdentitySource", name, f"{{mtls: {{caFile: ca.pem{rest}}}}}")


def spiffe(fields: str) -> str:
    return resource("IdentitySource", "workload", f"{{spiffe: {{{fields}}}}}")


def mesh(fields: str = "header: x-forwarded-client-cert", name: str = "istio") -> str:
    return resource("IdentitySource", name, f"{{mesh: {{{fields}}}}}")


def gateway(listener: str) -> str:
    return resource("GatewayConfig", "g", f"{{listeners: [{{{listener}}}]}}")


def listener_with_tls(folder: Path, client_auth: str) -> str:
    Authority("gateway").issue().write(folder, "gw")
    return gateway(f"tls: {{certFile: gw.crt, keyFile: gw.key, clientAuth: {client_auth}}}")


def at(path: Path, place: str) -> str:
    """What stands at a place that a fault names, to the end of its line."""
    line, column = map(int, place.split(":")[-2:])
    return path.read_text().splitlines()[line - 1][column - 1 :]


# ------------------------------------------------------------ what is read


def test_a_source_of_certificates_arrives_with_what_its_files_hold(tmp_path: Path) -> None:
    ca, other = Authority("A"), Authority("B")
    (tmp_path / "ca.pem").write_bytes(ca.pem + other.pem)
    (tmp_path / "crl.pem").write_bytes(ca.crl() + other.crl())
    documents = [
        mtls(", crlFile: crl.pem, identity: subject, sanTypes: [uri]"),
        agent("a", "{mtls: {source: partners, subject: 'CN=bot,O=Foo'}}"),
        server(),
    ]
    snapshot = loaded(write(tmp_path, *documents)).snapshot
    settings = snapshot.sources[0].settings
    assert isinstance(settings, MtlsSettings)
    assert settings.authorities == (ca.der, other.der)
    assert settings.crls is not None
    assert [x509.load_der_x509_crl(crl).issuer for crl in settings.crls] == [ca.name, other.name]
    assert (settings.identity, settings.san_types) == (CertificateName.SUBJECT, frozenset({"uri"}))
    assert [identity.principal_id for identity in snapshot.agents[0].identities] == ["x509:partners:CN=bot,O=Foo"]


def test_a_changed_file_makes_another_snapshot(tmp_path: Path) -> None:
    path = write(tmp_path, mtls())
    (tmp_path / "ca.pem").write_bytes(Authority("A").pem)
    before = loaded(path).snapshot
    assert loaded(path).snapshot == before
    (tmp_path / "ca.pem").write_bytes(Authority("A").pem)
    assert loaded(path).snapshot != before


def test_a_bundle_can_be_pem_or_a_spiffe_bundle(tmp_path: Path) -> None:
    a, b = Authority("A"), Authority("B")
    (tmp_path / "a.pem").write_bytes(a.pem)
    jwt_key = {"kty": "EC", "use": "jwt-svid", "kid": "k", "crv": "P-256", "x": "x", "y": "y"}
    x509_key = {"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(b.der).decode()]}
    (tmp_path / "b.json").write_text(json.dumps({"spiffe_sequence": 1, "keys": [x509_key, jwt_key]}))
    domains = "trustDomains: {a.org: {bundleFile: a.pem}, b.org: {bundleFile: b.json}}, audiences: [route, mcp]"
    settings = loaded(write(tmp_path, spiffe(domains))).snapshot.sources[0].settings
    assert isinstance(settings, SpiffeSettings)
    assert settings.bundles["a.org"].authorities == (a.der,)
    assert settings.bundles["b.org"].authorities == (b.der,)
    assert json.loads(settings.bundles["b.org"].jwt_keys) == {"keys": [jwt_key]}
    assert (settings.trust_domains, settings.audiences) == (frozenset({"a.org", "b.org"}), ("route", "mcp"))


def test_an_agent_can_tell_of_every_trust_domain_or_of_some(tmp_path: Path) -> None:
    address = "workloadApi: 'unix:///run/spire/agent.sock'"
    every = loaded(write(tmp_path, spiffe(address))).snapshot.sources[0].settings
    some = loaded(write(tmp_path, spiffe(f"{address}, trustDomains: {{a.org: {{}}}}"))).snapshot.sources[0].settings
    assert isinstance(every, SpiffeSettings)
    assert isinstance(some, SpiffeSettings)
    assert (every.trust_domains, every.workload_api) == (None, "unix:///run/spire/agent.sock")
    assert some.trust_domains == frozenset({"a.org"})


@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        (
            "header: X-Forwarded-Client-Cert, by: [spiffe://a.org/gw], trust: certificate",
            MeshSettings(
                "x-forwarded-client-cert", Trust.CERTIFICATE, is_xfcc=True, by=frozenset({"spiffe://a.org/gw"})
            ),
        ),
        ("header: l5d-client-id", MeshSettings("l5d-client-id", Trust.HEADER)),
        ("header: X-Client, format: xfcc, element: dns", MeshSettings("x-client", Trust.HEADER, True, "dns")),
    ],
)
def test_a_mesh_source_knows_the_formats_of_common_headers(tmp_path: Path, fields: str, settings: MeshSettings) -> None:
    identity = '{mesh: {source: istio, id: "spiffe://cluster.local/ns/x/sa/y"}}'
    documents = [mesh(fields), agent("a", identity), gateway("trustedPeers: [127.0.0.1/32]")]
    snapshot = loaded(write(tmp_path, *documents)).snapshot
    assert snapshot.sources[0].settings == settings
    assert snapshot.agents[0].identities[0].principal_id == "mesh:istio:spiffe://cluster.local/ns/x/sa/y"


# ------------------------------------------------------------ files that verify nothing


def leaf_pem(_: Path) -> bytes:
    return Authority().issue().pem


def weak_pem(_: Path) -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    now = datetime.datetime.now(datetime.UTC)
    name = Authority("Ed").name
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + DAY)
    made = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, None)
    return made.public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "cannot be read"),
        (lambda _: b"", "empty"),
        (lambda _: b"not a certificate", "no certificate that can be read"),
        (leaf_pem, "is no authority"),
        (weak_pem, "RSA from 2048 bits"),
    ],
)
@pytest.mark.parametrize(
    "document",
    [mtls(), spiffe("trustDomains: {a.org: {bundleFile: ca.pem}}")],
    ids=["caFile", "bundleFile"],
)
def test_authorities_that_could_verify_nothing_are_a_fault(
    tmp_path: Path, document: str, content: Callable[[Path], bytes] | None, word: str
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content(tmp_path))
    path = write(tmp_path, document)
    ((place, text),) = faults(path)
    assert at(path, place).startswith("ca.pem}")
    assert word in text


@pytest.mark.parametrize("content", ["{}", '{"keys": []}', '{"keys": [{"use": "x509-svid", "x5c": ["!"]}]}', "{"])
def test_a_spiffe_bundle_that_holds_nothing_is_a_fault(tmp_path: Path, content: str) -> None:
    (tmp_path / "ca.pem").write_text(content)
    path = write(tmp_path, spiffe("trustDomains: {a.org: {bundleFile: ca.pem}}"))
    ((place, _),) = faults(path)
    assert at(path, place).startswith("ca.pem}")


DELTA = ((x509.DeltaCRLIndicator(1), True),)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "cannot be read"),
        (lambda ca: b"no list", "no revocation list that can be read"),
        (lambda ca: ca.crl(signer=Authority()), "not signed by that authority"),
        (lambda ca: ca.crl(extensions=DELTA), "a delta"),
    ],
)
def test_revocation_lists_that_say_nothing_are_a_fault(
    tmp_path: Path, content: Callable[[Authority], bytes] | None, word: str
) -> None:
    ca = Authority()
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    if content is not None:
        (tmp_path / "crl.pem").write_bytes(content(ca))
    path = write(tmp_path, mtls(", crlFile: crl.pem"))
    ((place, text),) = faults(path)
    assert at(path, place).startswith("crl.pem")
    assert word in text


@pytest.mark.parametrize(
    ("life", "word"), [(-HOUR, "has expired"), (DAY, "expires within 7 days"), (30 * DAY, "")], ids=str
)
def test_an_authority_that_expires_is_told_and_stops_nobody_else(
    tmp_path: Path, life: datetime.timedelta, word: str
) -> None:
    (tmp_path / "ca.pem").write_bytes(Authority(life=life).pem)
    path = write(tmp_path, mtls())
    found = warnings(path)
    assert [at(path, place) for place, _ in found] == (["ca.pem}}"] if word else [])
    assert all(word in text for _, text in found)


def test_an_authority_without_a_current_revocation_list_is_told(tmp_path: Path) -> None:
    ca, other = Authority("A"), Authority("B")
    (tmp_path / "ca.pem").write_bytes(ca.pem + other.pem)
    (tmp_path / "crl.pem").write_bytes(ca.crl(life=-HOUR) + other.crl())
    path = write(tmp_path, mtls(", crlFile: crl.pem"))
    ((place, text),) = warnings(path)
    assert at(path, place).startswith("crl.pem")
    assert "`CN=A`" in text


def test_the_workload_api_without_its_extra_is_a_fault_that_says_what_to_install(tmp_path: Path) -> None:
    path = write(tmp_path, spiffe("workloadApi: 'unix:///run/spire/agent.sock'"))
    script = (
        "import sys; sys.modules['spiffe'] = None; from openmcp.cli.main import main; "
        f"sys.exit(main(['validate', {str(path)!r}]))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 2, run.stderr
    (line,) = [line for line in (run.stdout + run.stderr).splitlines() if line.startswith(str(path))]
    assert at(path, line.split(": ")[0]).startswith("'unix:")
    assert "openmcp[spiffe]" in run.stdout + run.stderr


# ------------------------------------------------------------ what is written wrongly


@pytest.mark.parametrize(
    ("document", "word"),
    [
        (resource("IdentitySource", "x", "{mtls: {}}"), "`caFile` is missing"),
        (resource("IdentitySource", "x", "{mtls: {caFile: a}, apiKey: {}}"), "`mtls` and `apiKey` are given"),
        (mtls(", identity: cn"), "has to be"),
        (mtls(", sanTypes: []"), "at least one"),
        (spiffe(""), "no bundle to verify with"),
        (spiffe("trustDomains: {a.org: {}}"), "where is the bundle of `a.org`"),
        (spiffe("trustDomains: {A.org: {bundleFile: x}}"), "not a trust domain"),
        (spiffe("trustDomains: {'a.org:8443': {bundleFile: x}}"), "not a trust domain"),
        (spiffe("workloadApi: 'tcp://127.0.0.1:1'"), "not the address of an agent"),
        (mesh("header: Authorization"), "meaning of its own"),
        (mesh("header: Mcp-Session-Id"), "meaning of its own"),
        (mesh("header: x_client"), "never arrives"),
        (mesh("header: l5d-client-id, by: [x]"), "`format: xfcc` only"),
        (mesh("header: l5d-client-id, trust: anonymous"), "has to be"),
        (agent("a", "{mtls: {source: partners}}"), "exactly one of"),
        (agent("a", "{mtls: {source: partners, san: bot.example}}"), "does not say what it names"),
        (agent("a", "{mtls: {source: partners, san: dns:Bot.example}}"), "lower case"),
        (agent("a", "{mtls: {source: partners, subject: bot}}"), "not a subject"),
        (agent("a", "{spiffe: 'spiffe://A.org/x'}"), "not a trust domain"),
        (agent("a", "{spiffe: 'spiffe://a.org'}"), "no workload"),
        (agent("a", "{spiffe: 'spiffe://a.org/x/'}"), "not a SPIFFE ID"),
        (agent("a", "{spiffe: 'https://a.org/x'}"), "has to begin with spiffe://"),
    ],
)
def test_a_mistake_in_a_source_or_identity_is_named(tmp_path: Path, document: str, word: str) -> None:
    (tmp_path / "ca.pem").write_bytes(Authority().pem)
    found = faults(write(tmp_path, document))
    assert any(word in text for _, text in found), found


def test_an_identity_that_its_source_never_makes_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(Authority().pem)
    path = write(tmp_path, mtls(), agent("a", "{mesh: {source: partners, id: x}}"))
    ((place, text),) = faults(path)
    assert at(path, place).startswith("partners, id")
    assert "of the kind `mtls`" in text


@pytest.mark.parametrize("identity", [SAN, "{spiffe: 'spiffe://a.org/x'}", "{mesh: {source: partners, id: x}}"])
def test_two_agents_for_one_principal_are_a_fault(tmp_path: Path, identity: str) -> None:
    (tmp_path / "ca.pem").write_bytes(Authority().pem)
    found = faults(write(tmp_path, mtls(), agent("a", identity), agent("b", identity)))
    assert any("is agent `a` at" in text for _, text in found)


@pytest.mark.parametrize(
    ("settings", "identity", "word"),
    [
        (", identity: subject", "san: dns:bot.example", "takes `subject`"),
        ("", "commonName: bot", "takes `san`"),
        ("", "subject: CN=bot", "takes `san`"),
        (", sanTypes: [uri]", "san: dns:bot.example", "add it to `sanTypes`"),
    ],
)
def test_an_identity_that_its_source_takes_from_elsewhere_is_a_fault(
    tmp_path: Path, settings: str, identity: str, word: str
) -> None:
    (tmp_path / "ca.pem").write_bytes(Authority().pem)
    path = write(tmp_path, mtls(settings), agent("a", f"{{mtls: {{source: partners, {identity}}}}}"))
    ((place, text),) = faults(path)
    assert at(path, place).startswith(identity.partition(": ")[2])
    assert word in text


def test_a_trust_domain_that_no_source_knows_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(Authority().pem)
    source = spiffe("trustDomains: {a.org: {bundleFile: a.pem}}")
    known, unknown = agent("a", "{spiffe: 'spiffe://a.org/x'}"), agent("b", "{spiffe: 'spiffe://b.org/x'}")
    path = write(tmp_path, source, known, unknown)
    ((place, text),) = warnings(path)
    assert at(path, place).startswith("'spiffe://b.org/x'")
    assert "`b.org`" in text
    assert not warnings(write(tmp_path, spiffe("workloadApi: 'unix:///run/a.sock'"), known, unknown))


# ------------------------------------------------------------ with the listeners


def test_an_identity_header_without_trusted_peers_is_a_fault(tmp_path: Path) -> None:
    ((place, text),) = faults(write(tmp_path, gateway("name: public"), mesh()))
    assert place == "g.yaml:9:14"
    assert "trustedPeers" in text


def test_certificates_that_no_listener_asks_for_are_a_fault(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(Authority().pem)
    for listener in (gateway("name: public"), listener_with_tls(tmp_path, "none")):
        ((place, text),) = faults(write(tmp_path, listener, mtls()))
        assert place == "g.yaml:9:14"
        assert "clientAuth" in text
    assert loaded(write(tmp_path, listener_with_tls(tmp_path, "optional"), mtls())).warnings == ()


def test_certificates_that_nothing_vouches_for_are_a_fault(tmp_path: Path) -> None:
    ((place, text),) = faults(write(tmp_path, listener_with_tls(tmp_path, "required")))
    assert place.startswith("g.yaml:4:")
    assert "nobody could connect" in text


def test_svids_that_only_come_as_tokens_are_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(Authority().pem)
    document = spiffe("trustDomains: {a.org: {bundleFile: a.pem}}")
    ((place, text),) = warnings(write(tmp_path, gateway("name: public"), document))
    assert place == "g.yaml:9:16"
    assert "only JWT-SVIDs" in text


def test_believing_everybody_is_a_warning(tmp_path: Path) -> None:
    ((place, text),) = warnings(write(tmp_path, gateway("trustedPeers: [0.0.0.0/0]"), mesh()))
    assert place.startswith("g.yaml:4:")
    assert "everybody is believed" in text
