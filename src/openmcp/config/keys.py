"""The node's secret keys, as given or made once under the data directory.

Called by the composition root, not while loading: `openmcp validate` writes nothing.
"""

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from openmcp.config.snapshot import GatewaySettings
from openmcp.errors import Fault, Misconfigured

_MADE_BYTES = 32
_MIN_CHARS = 32


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of 32 bytes, ready for use."""

    sealing: tuple[bytes, ...] = field(repr=False)
    """The first seals, all open."""

    hashing: bytes = field(repr=False)


def open_keys(gateway: GatewaySettings) -> Keys:
    """Return the node's keys; those that are not configured are made at the first call and read afterwards.

    Raises: Misconfigured if the data directory cannot be used.
    """
    sealing = gateway.keys.sealing or (_kept(gateway.data_dir / "keys" / "sealing"),)
    hashing = gateway.keys.hashing or _kept(gateway.data_dir / "keys" / "hashing")
    return Keys(tuple(_derived("sealing", text) for text in sealing), _derived("hashing", hashing))


def _derived(purpose: str, text: bytes) -> bytes:
    """32 bytes from a text of any length; the same text makes another key for another purpose."""
    return hashlib.sha256(f"openmcp {purpose} key\n".encode() + text).digest()


def _kept(path: Path) -> bytes:
    """The key in the file, made if it is absent."""
    try:
        _make(path)
        text = path.read_bytes().strip()
    except OSError as error:
        raise Misconfigured([Fault(str(path), f"cannot keep a key here: {error.strerror}")]) from None
    if len(text) < _MIN_CHARS:
        raise Misconfigured([Fault(str(path), f"is no key: it has to be at least {_MIN_CHARS} bytes long")])
    return text


def _make(path: Path) -> None:
    if path.exists():
        return
    for directory in (path.parent.parent, path.parent):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written aside and linked: whoever starts at the same moment reads a whole key, and the same one.
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_MADE_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path)
    except FileExistsError:
        return
    finally:
        aside.unlink()
