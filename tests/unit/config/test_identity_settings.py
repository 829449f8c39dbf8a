"""What `openmcp validate` says of identity sources that could not work, or would let in the wrong ones."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from openmcp.config.identities import JwtSourceSettings, KubernetesSourceSettings
from openmcp.config.loader import load
from tests.support.credentials import argon2id, ed25519_pem, key_set, public_jwk, signing_key
from tests.unit.config.writing import HEAD, faults, write

GOOD_HASH = argon2id("correct")


def source(spec: str) -> str:
    return f"{HEAD}kind: IdentitySource\nmetadata: {{name: s}}\nspec: {spec}\n"


def agent(identity: str, name: str = "a") -> str:
    return f"---\n{HEAD}kind: Agent\nmetadata: {{name: {name}}}\nspec: {{identities: [{identity}]}}\n"


def only_fault(folder: Path, text: str) -> str:
    found = faults(write(folder, text))
    assert len(found) == 1, found
    return found[0][1]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("{jwt: {}}", "`issuer` is missing"),
        ("{jwt: {issuer: 'http://login.example.com'}}", "is not https://"),
        ("{jwt: {issuer: login}}", "is not a URL"),
        ("{jwt: {issuer: 'https://u:p@login.example.com'}}", "is not a URL"),
        ("{jwt: {issuer: 'https://l.example.com', jwksUri: 'http://l.example.com/keys'}}", "is not https://"),
        ("{jwt: {issuer: 'https://l.example.com', algorithms: [none]}}", "`none` is no signature"),
        ("{jwt: {issuer: 'https://l.example.com', algorithms: [NONE]}}", "`none` is no signature"),
        ("{jwt: {issuer: 'https://l.example.com', algorithms: [HS256]}}", "shared secret"),
        ("{jwt: {issuer: 'https://l.example.com', algorithms: [RS1]}}", "has to be"),
        ("{jwt: {issuer: 'https://l.example.com', algorithms: []}}", "at least one"),
        ("{jwt: {issuer: 'https://l.example.com', audiences: []}}", "at least one"),
        ("{jwt: {issuer: 'https://l.example.com', scopes: ['a b']}}", "is not a scope"),
        ("{jwt: {issuer: 'https://l.example.com', jwksUri: 'https://l/x', keysFile: k}}", "either `jwksUri` or"),
        ("{jwt: {issuer: 'https://l.example.com', caFile: nowhere.pem}}", "cannot be read"),
        ("{kubernetes: {issuer: 'http://10.0.0.1'}}", "is not https://"),
        ("{jwt: {issuer: 'https://l.example.com'}, apiKey: {}}", "exactly one of"),
        ("{basic: {users: []}}", "unknown field `users`"),
        ("{signature: {maxAge: 60}}", "has to be a string"),
    ],
)
def test_a_source_that_cannot_be_meant_is_a_fault(tmp_path: Path, spec: str, said: str) -> None:
    assert said in only_fault(tmp_path, source(spec))


def test_loopback_may_be_asked_in_plain_text(tmp_path: Path) -> None:
    path = write(tmp_path, source("{jwt: {issuer: 'http://127.0.0.1:9/realm', jwksUri: 'http://localhost:9/keys'}}"))
    (spec,) = load([path], env={}).snapshot.sources
    assert isinstance(spec.settings, JwtSourceSettings)
    assert (spec.method, spec.settings.issuer) == ("jwt", "http://127.0.0.1:9/realm")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps(key_set(public_jwk(), public_jwk("two", kid="one"))), "the key id `one` is given twice"),
        (json.dumps(key_set(signing_key().as_dict(private=True))), "private or shared key"),
        (json.dumps({"keys": [{"kty": "oct", "k": "AAAA"}]}), "private or shared key"),
        (json.dumps({"keys": []}), "the key set is empty"),
        (json.dumps({"keys": "x"}), "neither a JWK set"),
        ("[1]", "neither a JWK set"),
        ("not json", "neither a JWK set"),
        (ed25519_pem()[0].decode(), "private key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "something else than public keys"),
    ],
)
def test_a_key_file_that_could_mean_harm_is_a_fault_and_is_not_shown(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "keys").write_text(content)
    text = only_fault(tmp_path, source("{jwt: {issuer: our-own, keysFile: keys}}"))
    assert said in text
    assert "AAAA" not in text


def test_a_key_file_may_be_a_set_or_pem_for_an_issuer_of_any_name(tmp_path: Path) -> None:
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    for content in (json.dumps(key_set()).encode(), pem):
        (tmp_path / "keys").write_bytes(content)
        loaded = load([write(tmp_path, source("{jwt: {issuer: our-own, keysFile: keys}}"))], env={})
        (spec,) = loaded.snapshot.sources
        assert isinstance(spec.settings, JwtSourceSettings)
        assert spec.settings.keys == content


def test_a_clusters_own_address_gets_what_every_pod_has_and_no_other_host_does(tmp_path: Path) -> None:
    path = write(tmp_path, source("{kubernetes: {issuer: 'https://oidc.example.com'}}"))
    (spec,) = load([path], env={}).snapshot.sources
    assert isinstance(spec.settings, KubernetesSourceSettings)
    assert spec.settings.token_file is None


@pytest.mark.parametrize("spec", ["{jwt: {issuer: 'https://l.example.com'}}", "{kubernetes: {}}", "{signature: {}}"])
def test_a_gateway_without_a_name_could_take_no_token_and_no_signature(tmp_path: Path, spec: str) -> None:
    def gateway(listener: str) -> str:
        return f"---\n{HEAD}kind: GatewayConfig\nmetadata: {{name: g}}\nspec: {{listeners: [{listener}]}}\n"

    assert "publicUrl" in only_fault(tmp_path, source(spec) + gateway("{address: '0.0.0.0:8080'}"))
    for named in ("{address: '0.0.0.0:8080', publicUrl: 'https://mcp.example.com'}", "{address: '127.0.0.1:8080'}"):
        load([write(tmp_path, source(spec) + gateway(named))], env={})


def test_every_setting_of_a_token_source_arrives(tmp_path: Path) -> None:
    spec = """{order: 7, jwt: {
      issuer: 'https://login.example.com', jwksUri: 'https://keys.example.com/set', audiences: [route, 'api://mcp/'],
      algorithms: [ES256], types: [at+jwt], leeway: 5s, maxLifetime: 1h, maxStale: 10m, scopes: [mcp, openid],
      claims: {agent: act.sub, onBehalfOf: sub, groups: roles, attributes: [tenant]}}}"""
    (found,) = load([write(tmp_path, source(spec))], env={}).snapshot.sources
    assert (found.name, found.order, found.method) == ("s", 7, "jwt")
    assert found.settings == JwtSourceSettings(
        issuer="https://login.example.com",
        jwks_uri="https://keys.example.com/set",
        audiences=frozenset({"api://mcp"}),
        takes_route=True,
        algorithms=("ES256",),
        types=("at+jwt",),
        leeway_s=5.0,
        max_lifetime_s=3600.0,
        stale_s=600.0,
        scopes=("mcp", "openid"),
        agent_claim="act.sub",
        on_behalf_of_claim="sub",
        groups_claim="roles",
        attribute_claims=("tenant",),
    )


# ------------------------------------------------------------ identities


@pytest.mark.parametrize(
    ("kind", "identity", "said"),
    [
        ("basic: {}", "{basic: {source: s, user: 'a:b', argon2id: {env: HASH}}}", "none of them a colon"),
        ("basic: {}", "{basic: {source: s, user: a, argon2id: secret}}", "secrets are not written here"),
        ("basic: {}", "{basic: {source: s, user: a, argon2id: {env: PLAIN}}}", "no argon2id hash"),
        ("basic: {}", "{basic: {source: s, user: a, argon2id: {env: HEAVY}}}", "odd costs"),
        ("basic: {}", "{basic: {source: s, user: a, argon2id: {env: MISSING}}}", "`MISSING` is not set"),
        ("signature: {}", "{signature: {source: s, keyId: k, algorithm: hmac-sha256, key: {env: PLAIN}}}", "too short"),
        ("signature: {}", "{signature: {source: s, keyId: k, algorithm: rsa, key: {env: PLAIN}}}", "has to be"),
        ("signature: {}", "{signature: {source: s, keyId: k, algorithm: ed25519, key: {env: HASH}}}", "no Ed25519"),
        ("signature: {}", "{signature: {source: s, keyId: 'a b', algorithm: ed25519, key: {env: PUBLIC}}}", "key id"),
        ("kubernetes: {}", "{kubernetes: {source: s, serviceAccount: bot}}", "NAMESPACE/NAME"),
        ("basic: {}", "{jwt: {source: s, subject: a}}", "of the kind `basic`"),
        ("basic: {}", "{jwt: {source: t, subject: a}}", "there is no IdentitySource `t`"),
    ],
)
def test_an_identity_that_cannot_be_meant_is_a_fault(tmp_path: Path, kind: str, identity: str, said: str) -> None:
    env = {
        "HASH": GOOD_HASH,
        "PLAIN": "hunter2",
        "HEAVY": GOOD_HASH.replace("m=8192", "m=99999999"),
        "PUBLIC": ed25519_pem()[1].decode(),
    }
    found = faults(write(tmp_path, source(f"{{{kind}}}") + agent(identity)), env=env)
    assert len(found) == 1, found
    assert said in found[0][1]
    assert "hunter2" not in found[0][1]


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        ("jwt: {issuer: 'https://l.example.com'}", "{jwt: {source: s, subject: a}}", "{jwt: {source: s, subject: a}}"),
        (
            "signature: {}",
            "{signature: {source: s, keyId: k, algorithm: ed25519, key: {env: PUBLIC}}}",
            "{signature: {source: s, keyId: k, algorithm: ed25519, key: {env: OTHER}}}",
        ),
        (
            "basic: {}",
            "{basic: {source: s, user: a, argon2id: {env: HASH}}}",
            "{basic: {source: s, user: a, argon2id: {env: OTHER_HASH}}}",
        ),
    ],
)
def test_one_name_is_one_agents_and_has_one_secret(tmp_path: Path, kind: str, one: str, two: str) -> None:
    env = {
        "PUBLIC": ed25519_pem()[1].decode(),
        "OTHER": ed25519_pem("two")[1].decode(),
        "HASH": GOOD_HASH,
        "OTHER_HASH": argon2id("other"),
    }
    twice = faults(write(tmp_path, source(f"{{{kind}}}") + agent(f"{one}, {two}")), env=env)
    assert len(twice) == 1
    assert "given twice" in twice[0][1]
    two_agents = faults(write(tmp_path, source(f"{{{kind}}}") + agent(one) + agent(two, "b")), env=env)
    assert len(two_agents) == 1
    assert "is agent `a`" in two_agents[0][1]
