"""Keys, and the values that leave the house sealed: session ids, event ids, `requestState`.

`load_or_make` keeps key material in files; a `Keyring` seals deterministically, opens what
any of its keys sealed, and makes keyed digests. Used by routing, approvals and, through
`digest`, by the recorder. Knows nothing of what is inside.
"""

import binascii
import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
DIGEST_BYTES: Final = 16
MAX_SEALED_CHARS: Final = 2048
"""What `open` looks at by default; a session id is at most 1 KiB."""

_TAG_BYTES: Final = 16


def load_or_make(path: Path) -> bytes:
    """Return the 32 bytes kept in `path`; made at random if the file is not there.

    The folder is made with 0700, the file with 0600. Of several processes that start
    together all return the same key. Raises: OSError; ValueError when the file holds
    something else than a key.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces the key that another process has just made.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return _read(path)


def publish(path: Path, content: bytes) -> None:
    """Write what anybody may read beside the keys, unless it stands there already. Raises: OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_file() and path.read_bytes() == content:
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    draft.write_bytes(content)
    draft.replace(path)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path}: a key file holds exactly {KEY_BYTES} bytes")
    return key


class Keyring:
    """Seals with the first key, opens with all, digests with the hashing key.

    The same payload gives the same text, so that a sealed id stays comparable; nobody without
    a key can make, alter or read one. Each purpose has keys of its own: what was sealed for one
    does not open for another.
    """

    def __init__(self, *, sealing: Sequence[bytes], hashing: bytes) -> None:
        if not sealing or any(len(key) != KEY_BYTES for key in (*sealing, hashing)):
            raise ValueError(f"keys have {KEY_BYTES} bytes, and at least one seals")
        self._sealing = tuple(sealing)
        self._hashing = hashing
        self._ciphers: dict[str, tuple[AESSIV, ...]] = {}
        self._hash_keys: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"Keyring({len(self._sealing)} sealing keys)"

    def seal(self, purpose: str, payload: bytes) -> str:
        """Return the payload encrypted and authenticated, as base64url without padding.

        Raises: ValueError for an empty payload.
        """
        return urlsafe_b64encode(self._for(purpose)[0].encrypt(payload, None)).rstrip(b"=").decode()

    def open(self, purpose: str, text: str, *, max_chars: int = MAX_SEALED_CHARS) -> bytes | None:
        """Return what was sealed for this purpose; `None` for anything foreign, altered or too long."""
        sealed = _decoded(text, max_chars)
        if sealed is None:
            return None
        for cipher in self._for(purpose):
            try:
                return cipher.decrypt(sealed, None)
            except InvalidTag:
                continue
        return None

    def digest(self, purpose: str, data: bytes) -> bytes:
        """Return 16 bytes that only a holder of the hashing key can compute from `data`."""
        key = self._hash_keys.get(purpose)
        if key is None:
            key = self._hash_keys[purpose] = _derived(self._hashing, f"openmcp/digest/{purpose}", 32)
        return blake2b(data, digest_size=DIGEST_BYTES, key=key).digest()

    def _for(self, purpose: str) -> tuple[AESSIV, ...]:
        # Purposes are few and spelled in code, so this never grows.
        ciphers = self._ciphers.get(purpose)
        if ciphers is None:
            info = f"openmcp/seal/{purpose}"
            ciphers = self._ciphers[purpose] = tuple(AESSIV(_derived(key, info, 64)) for key in self._sealing)
        return ciphers


def _derived(key: bytes, info: str, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info.encode()).derive(key)


def _decoded(text: str, max_chars: int) -> bytes | None:
    if not text or len(text) > max_chars or not text.isascii():
        return None
    try:
        sealed = binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    # Loose decoders take several texts for the same bytes; only the one that `seal` makes counts.
    if len(sealed) <= _TAG_BYTES or urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
        return None
    return sealed
