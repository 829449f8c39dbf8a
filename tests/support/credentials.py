"""Credentials of every kind, made when a test asks for them: keys, tokens, hashes, signed requests."""

import base64
import datetime
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from argon2.low_level import Type, hash_secret
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms
from joserfc import jwk, jws

from openmcp.model.http import Peer, Request

ISSUER = "https://login.example.com"
PUBLIC_URL = "https://mcp.example.com"
PATH = "/desk"
RESOURCE = f"{PUBLIC_URL}{PATH}"
NOW = 1_800_000_000.0


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@cache
def rsa_pem(name: str = "one", bits: int = 2048) -> bytes:
    """The private key of this name; the same in the whole run, because making one takes a while."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@cache
def ec_pem(name: str = "one") -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@cache
def ed25519_pem(name: str = "one") -> tuple[bytes, bytes]:
    """Private and public key."""
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), public


def signing_key(name: str = "one", kind: str = "RSA") -> Any:
    pem = {"RSA": rsa_pem, "EC": ec_pem}[kind](name) if kind != "OKP" else ed25519_pem(name)[0]
    return jwk.import_key(pem, kind)  # type: ignore[call-overload]


def public_jwk(name: str = "one", kind: str = "RSA", **members: str) -> dict[str, Any]:
    return {**signing_key(name, kind).as_dict(private=False), "kid": name, **members}


def key_set(*keys: Mapping[str, Any]) -> dict[str, Any]:
    """A JWK set; by default of the key `one`."""
    return {"keys": list(keys or (public_jwk(),))}


def claims(now: float = NOW, **changes: Any) -> dict[str, Any]:
    """What a good token says; a change to `None` takes a claim out."""
    base = {"iss": ISSUER, "sub": "bot", "aud": RESOURCE, "iat": int(now), "exp": int(now) + 300}
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def token(
    said: Mapping[str, Any] | None = None,
    *,
    key: str = "one",
    kind: str = "RSA",
    header: Mapping[str, Any] | None = None,
) -> str:
    """A token that `key` has signed."""
    algorithm = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519"}[kind]
    top = {"alg": algorithm, "kid": key, "typ": "JWT", **(header or {})}
    top = {name: value for name, value in top.items() if value is not None}
    payload = json.dumps(claims() if said is None else said).encode()
    registry = jws.JWSRegistry(algorithms=[top["alg"]], strict_check_header=False)
    return jws.serialize_compact(top, payload, signing_key(key, kind), registry=registry)


def forged(said: Mapping[str, Any], header: Mapping[str, Any], signature: bytes = b"") -> str:
    """A token of these parts, whoever signed it."""
    return ".".join(_b64(json.dumps(part).encode()) for part in (header, said)) + "." + _b64(signature)


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def argon2id(password: str) -> str:
    """A hash that is quick to check: what is tested is not how slow it is."""
    return hash_secret(password.encode(), secrets.token_bytes(16), 1, 8192, 1, 32, Type.ID).decode()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def request(
    headers: Mapping[str, str] | None = None,
    *,
    body: bytes = b"{}",
    method: str = "POST",
    path: str = PATH,
    query: str = "",
    peer: Peer | None = None,
    public_url: str = PUBLIC_URL,
    repeated: frozenset[str] = frozenset(),
) -> Request:
    return Request(
        method,
        path,
        dict(headers or {}),
        body,
        peer or Peer("192.0.2.1"),
        query=query,
        repeated=repeated,
        public_url=public_url,
    )


class _Message:
    def __init__(self, method: str, url: str, headers: dict[str, str]) -> None:
        self.method, self.url, self.headers = method, url, headers


class _Key(HTTPSignatureKeyResolver):
    def __init__(self, key: bytes) -> None:
        self._key = key

    def resolve_private_key(self, key_id: str) -> bytes:
        return self._key


COVERED = ("@method", "@target-uri", "content-digest")


def signed(
    key: bytes,
    *,
    key_id: str = "bot-1",
    algorithm: str = "hmac-sha256",
    method: str = "POST",
    url: str = RESOURCE,
    body: bytes = b"{}",
    created: float | None = None,
    nonce: str | None = "",
    covered: tuple[str, ...] = COVERED,
) -> dict[str, str]:
    """The header fields of a request that is signed; `nonce=""` = a fresh one."""
    headers: dict[str, str] = {}
    if "content-digest" in covered:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        headers["content-digest"] = f"sha-256=:{digest}:"
    message = _Message(method, url, headers)
    kinds = {"hmac-sha256": algorithms.HMAC_SHA256, "ed25519": algorithms.ED25519}
    signer = HTTPMessageSigner(signature_algorithm=kinds[algorithm], key_resolver=_Key(key))
    moment = datetime.datetime.fromtimestamp(time.time() if created is None else created, tz=datetime.UTC)
    given = secrets.token_hex(8) if nonce == "" else nonce
    signer.sign(
        message,
        key_id=key_id,
        created=moment,
        nonce=given,
        covered_component_ids=covered,
        use_existing_digest="content-digest" in headers,
    )
    return {name.lower(): value for name, value in message.headers.items()}
