"""The `Chain` of one writer: gives each line its number and the digest of the line before it.

A missing, altered, added or moved line shows at the next one. Used by `writer` on its
thread; whoever verifies a log computes the same from the bytes alone.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Literal

from openmcp.audit.record import GENESIS, VERSION, CheckpointPart, Line, encode

Reason = Literal["opened", "interval", "rotated", "closed"]

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")


class Chain:
    """Makes whole lines of encoded ones."""

    def __init__(self, writer: str) -> None:
        # It stands in every line as it is.
        if not _NAME.fullmatch(writer):
            raise ValueError("the name of a writer consists of letters, digits, `.`, `_` and `-`")
        self._start = f'{{"v":{VERSION},"seq":'
        self._middle = f',"writer":"{writer}","prev":"'
        self._prev = GENESIS
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
        """Return a line that states the count so far."""
        part = CheckpointPart(reason=reason, records=self.seq)
        return self.link([encode(Line(type="checkpoint", ts=ts, checkpoint=part))])
