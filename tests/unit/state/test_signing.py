"""Keys that sign, and what is signed with them."""

import os
import subprocess
from pathlib import Path

import pytest

from openmcp.state.signing import Signer, is_signed, key_id, raw, read_public_keys, text

SEEDS = (os.urandom(32), os.urandom(32))


def test_what_is_signed_is_verified_with_the_public_key_alone_and_nothing_else_is() -> None:
    signer = Signer(SEEDS)
    signature = signer.sign(b"data")
    own, other = signer.public_keys
    assert is_signed(b"data", signature, own)
    assert not is_signed(b"Data", signature, own)
    assert not is_signed(b"data", signature, other)
    assert not is_signed(b"data", signature[:-1], own)


def test_the_public_keys_are_read_again_from_their_file_in_their_order() -> None:
    signer = Signer(SEEDS)
    assert read_public_keys(signer.public_pem()) == signer.public_keys


def test_the_name_of_a_key_is_its_thumbprint() -> None:
    # The key and its thumbprint are those of RFC 8037, appendix A.3.
    assert key_id(raw("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_openssl_reads_the_public_key(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(Signer(SEEDS).public_pem())
    # The command is constant and runs what the machine has.
    said = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", str(tmp_path / "key.pem"), "-noout", "-text"],
        capture_output=True,
        check=True,
        timeout=20,
    )
    assert b"ED25519" in said.stdout


@pytest.mark.parametrize("seeds", [(), (b"short",)])
def test_keys_that_are_none_are_refused(seeds: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Signer(seeds)


@pytest.mark.parametrize("pem", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_without_a_key_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_public_keys(pem)


def test_bytes_survive_their_text() -> None:
    data = os.urandom(33)
    assert raw(text(data)) == data
