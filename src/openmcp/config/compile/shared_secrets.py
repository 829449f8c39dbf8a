"""What agents know, as the identity stage checks it: password hashes and the keys of signatures."""

import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from openmcp.config.documents import Placed
from openmcp.config.identities import BasicIdentity, SignatureIdentity
from openmcp.config.resources import AgentDocument
from openmcp.config.resources import shared_secrets as written
from openmcp.config.secrets import Secrets, without_newline

_HASH = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,4}),p=([0-9]{1,3})\$[A-Za-z0-9+/]{8,}\$[A-Za-z0-9+/]{16,}"
)
_MEMORY_KIB = 8 << 10, 1 << 20
_ROUNDS = 1, 100
_SECRET_BYTES = 32


def compile_basic(
    placed: Placed[AgentDocument], user: written.BasicIdentity, secrets: Secrets, *, loc: tuple[int | str, ...]
) -> BasicIdentity:
    """Return the user with the hash of the password."""
    loc = (*loc, "argon2id")
    known = len(secrets.faults)
    hashed = without_newline(secrets.read(placed, user.argon2id, *loc)).decode("latin-1")
    why = _unusable(hashed)
    if why and len(secrets.faults) == known:
        secrets.report(placed, why, *loc)
    return BasicIdentity(principal_id=user.principal_id, source=user.source, user=user.user, hashed=hashed)


def _unusable(hashed: str) -> str:
    form = _HASH.fullmatch(hashed)
    if form is None:
        return "this is no argon2id hash: it begins with `$argon2id$v=19$m=`; the password itself is never given"
    memory, rounds = int(form[1]), int(form[2])
    if not _MEMORY_KIB[0] <= memory <= _MEMORY_KIB[1] or not _ROUNDS[0] <= rounds <= _ROUNDS[1]:
        return "the hash has odd costs: m from 8192 (8 MiB) to 1048576 (1 GiB), t from 1 to 100"
    return ""


def compile_signature(
    placed: Placed[AgentDocument], signed: written.SignatureIdentity, secrets: Secrets, *, loc: tuple[int | str, ...]
) -> SignatureIdentity:
    """Return the key as its algorithm takes it."""
    loc = (*loc, "key")
    known = len(secrets.faults)
    key = without_newline(secrets.read(placed, signed.key, *loc))
    why = _weak(key) if signed.algorithm == "hmac-sha256" else _no_public_key(key)
    if why and len(secrets.faults) == known:
        secrets.report(placed, why, *loc)
    return SignatureIdentity(
        principal_id=signed.principal_id,
        source=signed.source,
        key_id=signed.key_id,
        algorithm=signed.algorithm,
        key=key,
    )


def _weak(secret: bytes) -> str:
    if len(secret) < _SECRET_BYTES:
        return f"the secret is too short: it has to be at least {_SECRET_BYTES} bytes long"
    return ""


def _no_public_key(pem: bytes) -> str:
    try:
        is_ed25519 = isinstance(load_pem_public_key(pem), Ed25519PublicKey)
    except (ValueError, UnsupportedAlgorithm):
        is_ed25519 = False
    return "" if is_ed25519 else "this is no Ed25519 public key in PEM (-----BEGIN PUBLIC KEY-----)"
