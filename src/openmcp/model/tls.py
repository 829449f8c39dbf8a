"""Certificates with their keys, as bytes, and what TLS is to be like on either side of the gateway.

Read and checked by `config/`, turned into contexts by `server/` and `upstream/`. Bytes
instead of paths: what was checked together is what is used together, however the files
change meanwhile.
"""

import contextlib
import os
import ssl
import tempfile
from collections.abc import Generator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate, what vouches for it, and its key."""

    certificates: bytes
    """PEM: our own certificate first, then intermediates."""

    key: bytes = field(repr=False)
    """PEM, unencrypted."""

    expires_at: float
    """When the first of the certificates expires; seconds since the epoch."""

    def install(self, context: ssl.SSLContext) -> None:
        """Present this pair on connections that begin from now on.

        Raises: ssl.SSLError: the two do not belong together, or OpenSSL does not take them.
        """
        with _as_file(self.key.rstrip() + b"\n" + self.certificates) as path:
            context.load_cert_chain(path)


class ClientAuth(Enum):
    """Whether clients are asked for a certificate."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class ServingTls:
    """TLS as a listener speaks it."""

    pair: KeyPair
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    client_auth: ClientAuth = ClientAuth.NONE


@dataclass(frozen=True, slots=True)
class CallingTls:
    """TLS towards the replicas of a server. Their names are verified always."""

    authorities: bytes = b""
    """PEM of the CAs that may vouch for a replica; empty = those that the operating system trusts."""

    pair: KeyPair | None = None
    """What the gateway presents; `None` = nothing."""

    server_name: str = ""
    """The name that a replica's certificate must have, and that is asked for; empty = the host in its URL."""


@contextlib.contextmanager
def _as_file(content: bytes) -> Generator[str | Path]:
    """Give a path under which `content` can be read meanwhile: the ssl module takes keys from files only."""
    if hasattr(os, "memfd_create"):
        # Never on a disk, and gone with its descriptor.
        descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key")
        path.touch(mode=0o600)
        path.write_bytes(content)
        yield path
