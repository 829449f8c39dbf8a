"""Where the log is, and the keys that its digests were made with: from `--config` or `--log`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from openmcp.audit.flows import session_digest
from openmcp.audit.reading.entries import Log
from openmcp.audit.reading.files import LogNotReadable
from openmcp.config.loader import load
from openmcp.config.snapshot import FileSinkSettings, GatewaySettings
from openmcp.errors import Fault, Misconfigured
from openmcp.routing.seals import upstream_session_id
from openmcp.state.sealing import KEY_BYTES, Keyring
from openmcp.state.signing import Signer, read_public_keys


@dataclass(frozen=True)
class Source:
    """A log, and the node that wrote it if its configuration is at hand."""

    paths: tuple[Path, ...]
    settings: GatewaySettings | None

    def log(self) -> Log:
        """Return the log. Raises: click.ClickException if there is none."""
        try:
            return Log(self.paths)
        except LogNotReadable as error:
            raise click.ClickException(str(error)) from error

    def keyring(self) -> Keyring:
        """Return the node's keys; none is made. Raises: click.ClickException if they are not here."""
        if self.settings is None:
            raise click.UsageError("digests in the log were made with the gateway's hashing key: give --config FILE")
        keys, folder = self.settings.keys, self.settings.data_dir / "keys"
        sealing = keys.sealing or (_key(folder / "sealing"),)
        return Keyring(sealing=sealing, hashing=keys.hashing or _key(folder / "hashing"))

    def public_keys(self) -> tuple[bytes, ...]:
        """Return the keys that the node's checkpoints are signed with, as far as they are here."""
        if self.settings is None:
            return ()
        if self.settings.keys.signing:
            return Signer(self.settings.keys.signing).public_keys
        kept = self.settings.data_dir / "keys" / "signing.pub"
        return read_keys(kept) if kept.is_file() else ()

    def session_digests(self, raw: str) -> frozenset[str]:
        """Return the digests that records may have for the session id that an agent has. Raises: as `keyring`."""
        keyring = self.keyring()
        # Anonymous agents, and all where `affinity.mode` says so, have sealed ids; records name the server's own.
        ids = [raw, upstream_session_id(keyring, raw)]
        return frozenset(session_digest(keyring.digest, id) for id in ids if id is not None)


def find_source(config: Path | None, logs: Sequence[Path]) -> Source:
    """Return the log that is named, else the one that the gateway of that configuration writes.

    Raises: click.UsageError, Misconfigured.
    """
    settings = load([config], env=os.environ).snapshot.gateway if config is not None else None
    if logs:
        return Source(tuple(logs), settings)
    if settings is None:
        raise click.UsageError("say where the log is: --config FILE of the gateway, or --log PATH")
    folders = tuple(sink.path for sink in settings.audit.sinks if isinstance(sink, FileSinkSettings))
    if not folders:
        text = "the audit log is not written to files: give the collected lines with --log PATH"
        raise Misconfigured([Fault(str(config), text)])
    return Source(folders, settings)


def read_keys(path: Path) -> tuple[bytes, ...]:
    """Return the public keys of a PEM file. Raises: click.ClickException."""
    try:
        return read_public_keys(path.read_bytes())
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {error}") from error


def _key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror or error}") from error
    if len(key) != KEY_BYTES:
        raise click.ClickException(f"{path}: a key file holds exactly {KEY_BYTES} bytes")
    return key
