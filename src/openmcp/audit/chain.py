"""The `Chain` of one writer: gives each line its number and the digest of the line before it, and signs the count.

A missing, altered, added or moved line shows at the next one; who would make the whole
chain anew lacks the key of the checkpoints. Used by `writer` on its thread; whoever
verifies a log computes the same from the bytes alone.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Literal

from openmcp.audit.record import GENESIS, VERSION, CheckpointPart, Line, encode
from openmcp.state import signing
from openmcp.state.signing import Signer

Reason = Literal["opened", "interval", "rotated", "closed"]

SIGNED: Final = b"openmcp audit checkpoint v1\n"
"""Stands before the line in what is signed, so that the signature means nothing elsewhere."""

_SIG: Final = b',"sig":"'
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")


class Chain:
    """Makes whole lines of encoded ones."""

    def __init__(self, writer: str, signer: Signer | None = None) -> None:
        """`signer` signs the checkpoints; without one they only count."""
        # It stands in every line as it is.
        if not _NAME.fullmatch(writer):
            raise ValueError("the name of a writer consists of letters, digits, `.`, `_` and `-`")
        self._start = f'{{"v":{VERSION},"seq":'
        self._middle = f',"writer":"{writer}","prev":"'
        self._prev = GENESIS
        self._signer = signer
        self.seq = 0
        """Number of the last line."""

    def link(self, bodies: Iterable[bytes]) -> bytes:
        """Return the lines, each with its newline; every body is a JSON object with at least one member."""
        start, middle, seq, prev = self._start, self._middle, self.seq, self._prev
        lines: list[bytes] = []
        for body in bodies:
            seq += 1
            line = f'{start}{seq}{middle}{prev}",'.encode() + body[1:]
            prev = sha256(line).hexdigest()
            lines.append(line)
        self.seq, self._prev = seq, prev
        lines.append(b"")
        return b"\n".join(lines)

    def checkpoint(self, reason: Reason, ts: int) -> bytes:
        """Return a line that states the count so far, signed."""
        signer = self._signer
        if signer is None:
            return self.link([_body(CheckpointPart(reason=reason, records=self.seq), ts)])
        # Who reads a file alone can see in its first line whose it says to be.
        key = signing.text(signer.public_keys[0]) if reason == "opened" else ""
        body = _body(CheckpointPart(reason=reason, records=self.seq, kid=signer.kid, public_key=key), ts)
        seq, prev = self.seq, self._prev
        unsigned = self.link([body])[:-1]
        # The signature is part of the line that the next one names, so it is linked again with it.
        self.seq, self._prev = seq, prev
        signature = signing.text(signer.sign(SIGNED + unsigned)).encode()
        return self.link([b'%b%b%b"}' % (body[:-1], _SIG, signature)])


def signed_part(line: bytes) -> tuple[bytes, bytes] | None:
    """Return what the signature of a checkpoint was made over, and the signature; `None` for an unsigned line.

    `line` is without its newline.
    """
    unsigned, mark, rest = line.rpartition(_SIG)
    if not mark or not rest.endswith(b'"}'):
        return None
    try:
        return SIGNED + unsigned + b"}", signing.raw(rest[:-2].decode("ascii"))
    except ValueError:
        return None


def _body(part: CheckpointPart, ts: int) -> bytes:
    return encode(Line(type="checkpoint", ts=ts, checkpoint=part))
