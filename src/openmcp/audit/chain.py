"""The `Chain` of one writer: gives each line its number and the digest of the line before it.

A missing, altered, added or moved line shows at the next one. Used by `writer` on its
thread; whoever verifies a log computes the same from the bytes alone.
"""

import re
from hashlib import sha256
from typing import Final, Literal

from openmcp.audit.record import GENESIS, VERSION, CheckpointPart, Line, encode

Reason = Literal["opened", "interval", "rotated", "closed"]

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")
_HEAD: Final = b'{"v":%d,"seq":%d,"writer":"%s","prev":"%s",'


class Chain:
    """Makes whole lines of encoded ones."""

    def __init__(self, writer: str) -> None:
        # It stands in every line as it is.
        if not _NAME.fullmatch(writer):
            raise ValueError("the name of a writer consists of letters, digits, `.`, `_` and `-`")
        self._writer = writer.encode()
        self._prev = GENESIS.encode()
        self.seq = 0
        """Number of the last line."""

    def link(self, body: bytes) -> bytes:
        """Return the line, with its newline; `body` is a JSON object with at least one member."""
        self.seq += 1
        line = _HEAD % (VERSION, self.seq, self._writer, self._prev) + body[1:]
        self._prev = sha256(line).hexdigest().encode()
        return line + b"\n"

    def checkpoint(self, reason: Reason, ts: int) -> bytes:
        """Return a line that states the count so far."""
        part = CheckpointPart(reason=reason, records=self.seq)
        return self.link(encode(Line(type="checkpoint", ts=ts, checkpoint=part)))
