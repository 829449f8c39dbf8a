"""Signatures that anybody can check who has the public key: Ed25519 (RFC 8032).

A `Signer` signs with its first key; whoever verifies needs no secret. Used by the audit
log for its checkpoints and by the upstream side for assertions. Knows nothing of what is
signed.
"""

import binascii
import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SEED_BYTES: Final = 32
_PEM: Final = b"-----BEGIN "


class Signer:
    """Signs with the first key; names all of them, since what was signed before is still to be verified."""

    def __init__(self, seeds: Sequence[bytes]) -> None:
        """`seeds`: 32 bytes each, the private keys of RFC 8032."""
        if not seeds or any(len(seed) != SEED_BYTES for seed in seeds):
            raise ValueError(f"a signing key has {SEED_BYTES} bytes, and at least one signs")
        self._key = Ed25519PrivateKey.from_private_bytes(seeds[0])
        self.public_keys: tuple[bytes, ...] = tuple(
            Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() for seed in seeds
        )
        """The raw public keys, 32 bytes each; the first belongs to the key that signs."""

        self.kid = key_id(self.public_keys[0])
        """Names the key that signs."""

    def __repr__(self) -> str:
        return f"Signer({self.kid})"

    def sign(self, data: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return self._key.sign(data)

    def public_pem(self) -> bytes:
        """Return all public keys in PEM, for whoever verifies."""
        return b"".join(
            Ed25519PublicKey.from_public_bytes(raw).public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            for raw in self.public_keys
        )


def key_id(public_key: bytes) -> str:
    """Return the JWK thumbprint of a raw public key (RFC 7638, RFC 8037): its name wherever it is spoken of."""
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": text(public_key)}
    return text(hashlib.sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest())


def is_signed(data: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether the holder of the key has signed just this."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_public_keys(pem: bytes) -> tuple[bytes, ...]:
    """Return the raw public keys of a PEM file. Raises: ValueError if there is none, or one of another kind."""
    found: list[bytes] = []
    for block in pem.split(_PEM)[1:]:
        key = serialization.load_pem_public_key(_PEM + block)
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("a key in the file is not an Ed25519 public key")
        found.append(key.public_bytes_raw())
    if not found:
        raise ValueError("the file holds no public key in PEM")
    return tuple(found)


def text(data: bytes) -> str:
    """Return bytes as base64url without padding, as JOSE writes them."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(encoded: str) -> bytes:
    """Return the bytes that `text` wrote. Raises: ValueError."""
    try:
        return binascii.a2b_base64(encoded.replace("-", "+").replace("_", "/") + "=" * (-len(encoded) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None
