"""Reads secrets from where the configuration says they are.

Called while resources are compiled. Values are never part of a fault's text.
"""

from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from openmcp.config.documents import Placed
from openmcp.config.resources.base import Document, SecretRef
from openmcp.config.stamps import Stamp, stamp
from openmcp.errors import Fault

MAX_BYTES = 64 << 10
"""A longer file is no secret but a mistake."""

MAX_PEM_BYTES = 2 << 20
"""Several times the set of CAs that operating systems bring."""


class Secrets:
    """Resolves references; collects what is wrong with them, and which files to watch, as they were when read."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.faults: list[Fault] = []
        self.files: dict[Path, Stamp] = {}

    def read(self, placed: Placed[Document], ref: SecretRef, *loc: int | str) -> bytes:
        """Return the bytes that the reference at `loc` names; empty with a fault where there are none.

        Relative paths count from the document's file.
        """
        try:
            if ref.env is not None:
                value = self._from_env(ref.env)
            else:
                value = self._from_file(placed.file.parent / str(ref.file))
        except ValueError as error:
            self.report(placed, str(error), *loc)
            return b""
        if not without_newline(value):
            self.report(placed, "the secret is empty", *loc)
        return value

    def read_pem(self, placed: Placed[Document], path: str, *loc: int | str) -> bytes:
        """Return the PEM file that is named at `loc`; empty with a fault where it cannot be read."""
        try:
            return self._from_file(
                placed.file.parent / Path(path).expanduser(), max_bytes=MAX_PEM_BYTES, what="certificate or key"
            )
        except ValueError as error:
            self.report(placed, str(error), *loc)
            return b""

    def report(self, placed: Placed[Document], text: str, *loc: int | str) -> None:
        """Collect a fault at the reference at `loc`."""
        self.faults.append(placed.fault(text, *loc))

    def _from_env(self, name: str) -> bytes:
        value = self._env.get(name)
        if value is None:
            raise ValueError(f"the environment variable `{name}` is not set")
        return value.encode("utf-8", "surrogateescape")

    def _from_file(self, path: Path, *, max_bytes: int = MAX_BYTES, what: str = "secret") -> bytes:
        self.files[path] = stamp(path)
        try:
            with path.open("rb") as file:
                value = file.read(max_bytes + 1)
        except OSError as error:
            raise ValueError(f"the file `{path}` cannot be read: {error.strerror}") from None
        if len(value) > max_bytes:
            raise ValueError(f"the file `{path}` is longer than {max_bytes} bytes: that is no {what}")
        return value


def ed25519_seed(pem: bytes) -> bytes:
    """Return the 32 bytes of a private key in PEM (PKCS#8). Raises: ValueError for anything but an Ed25519 key."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("this is no private key in PEM without a passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the key is not an Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")
    return key.private_bytes_raw()


def without_newline(value: bytes) -> bytes:
    """Return the value without the one line end that editors and `echo` leave behind a secret."""
    return value.removesuffix(b"\n").removesuffix(b"\r")
