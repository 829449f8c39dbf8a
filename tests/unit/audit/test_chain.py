"""The chain of a writer: lines that name one another, and checkpoints that are signed."""

import os
from hashlib import sha256

import pytest

from openmcp.audit.chain import Chain, signed_part
from openmcp.audit.record import GENESIS, decode
from openmcp.state.signing import Signer, is_signed, raw

SIGNER = Signer((os.urandom(32),))


def test_every_line_names_the_one_before_also_over_a_signed_checkpoint() -> None:
    chain = Chain("n-b-0", SIGNER)
    data = chain.checkpoint("opened", 1) + chain.link([b'{"type":"message","ts":2}']) + chain.checkpoint("closed", 3)
    prev = GENESIS
    for number, line in enumerate(data.splitlines(), 1):
        read = decode(line)
        assert (read.seq, read.prev) == (number, prev)
        prev = sha256(line).hexdigest()


def test_a_checkpoint_is_signed_as_a_whole_and_any_change_of_it_shows() -> None:
    chain = Chain("n-b-0", SIGNER)
    line = chain.checkpoint("opened", 1)[:-1]
    part = decode(line).checkpoint
    assert part is not None
    assert part.kid == SIGNER.kid
    key = raw(part.public_key)
    assert key == SIGNER.public_keys[0]
    signed = signed_part(line)
    assert signed is not None
    assert is_signed(*signed, key)
    for forged in (
        line.replace(b'"seq":1', b'"seq":2'),
        line.replace(b"opened", b"closed"),
        line.replace(b"n-b", b"m-b"),
    ):
        changed = signed_part(forged)
        assert changed is not None
        assert not is_signed(*changed, key)


def test_only_a_file_s_first_line_says_the_public_key() -> None:
    part = decode(Chain("n-b-0", SIGNER).checkpoint("interval", 1)).checkpoint
    assert part is not None
    assert part.public_key == ""


@pytest.mark.parametrize("line", [b"{}", b'{"a":1,"sig":"x', b'{"a":1,"sig":"\xff"}'])
def test_a_line_without_a_signature_has_none(line: bytes) -> None:
    assert signed_part(line) is None


def test_without_a_key_checkpoints_only_count() -> None:
    line = Chain("n-b-0").checkpoint("opened", 1)[:-1]
    assert decode(line).sig == ""
    assert signed_part(line) is None
