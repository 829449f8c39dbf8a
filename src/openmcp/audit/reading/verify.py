"""Proves a log from its bytes alone: every line is there, unchanged and in its place.

The chain shows what was changed, removed, moved or added in the middle; what was cut off
the end shows by the missing closing checkpoint, which also a killed process leaves behind:
"ended uncleanly" is told, and is not "broken". Signatures show a chain that was made again
by somebody who has not the key.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import msgspec

from openmcp.audit.chain import signed_part
from openmcp.audit.reading.bodies import Bodies, BodyMissing
from openmcp.audit.reading.files import RawLine, is_packed, log_files, raw_lines
from openmcp.audit.record import GENESIS, VERSION, Line, decode
from openmcp.state.signing import is_signed, key_id
from openmcp.state.signing import raw as read_key

CheckSignature: TypeAlias = Callable[[Line, bytes], str]
"""Return what is wrong with a checkpoint's signature, `""` if nothing is; the bytes are the line's."""

_CHANGED: Final = "the line is not as it was written"

_HEAD_LINES: Final = 20
"""So many lines of a file are tried to learn whose it is."""

_ENDS: Final = frozenset({"rotated", "closed"})


class State(Enum):
    """What a writer's log is."""

    INTACT = "intact"
    """Whole, and closed by a checkpoint."""

    UNCLEAN = "ended uncleanly"
    """Whole as far as it goes; still being written, or the process was killed, or the end was cut off."""

    BROKEN = "broken"
    """A line was changed, removed, moved or added."""


class Break(NamedTuple):
    """The first line that is not as it was written."""

    path: Path
    number: int
    """Line of the file, from 1."""

    why: str


@dataclass(slots=True)
class Verdict:
    """What the log of one writer proves."""

    writer: str
    first: int = 0
    """Number of its first line that is here."""

    records: int = 0
    checkpoints: int = 0
    signed: int = 0
    since_checkpoint: int = 0
    """Records after the last checkpoint: the chain ties them, no signature does."""

    files: list[Path] = field(default_factory=list[Path])
    end: str = ""
    """Reason of the last checkpoint, if it is the last line."""

    torn: Path | None = None
    """The file whose last line is not whole."""

    broken: Break | None = None

    @property
    def state(self) -> State:
        """The verdict in one word."""
        if self.broken is not None:
            return State.BROKEN
        return State.INTACT if self.end == "closed" and self.torn is None else State.UNCLEAN


def signature_check(public_keys: Iterable[bytes]) -> CheckSignature:
    """Return the check against keys that the verifier has from elsewhere; without any, against those the log names.

    A log that names its own keys only shows that one holder signed all of it.
    """
    known = {key_id(key): key for key in public_keys}
    is_told = bool(known)
    signed_writers: set[str] = set()

    def check(line: Line, raw: bytes) -> str:
        checkpoint = line.checkpoint
        if checkpoint is None:
            return ""
        if not checkpoint.kid:
            return "the checkpoint is not signed" if is_told or line.writer in signed_writers else ""
        if not is_told and checkpoint.public_key:
            with suppress(ValueError):
                key = read_key(checkpoint.public_key)
                known.setdefault(key_id(key), key)
        signed_writers.add(line.writer)
        signing = known.get(checkpoint.kid)
        if signing is None:
            return f"the checkpoint is signed with the key {checkpoint.kid}, which is none of those given"
        signed = signed_part(raw)
        if signed is None or not is_signed(*signed, signing):
            return "the signature of the checkpoint does not hold: the line was changed, or made by somebody else"
        return ""

    return check


def verify(
    paths: Iterable[Path], *, check_signature: CheckSignature | None = None, is_retained: bool = False
) -> list[Verdict]:
    """Return a verdict for each writer. `is_retained`: older files were removed on purpose.

    Raises: LogNotReadable.
    """
    files = log_files(paths)
    proof = _Proof(check_signature, is_retained, Bodies(files))
    for head in sorted(map(_head, files)):
        proof.read(head.path, head.writer)
    return [writer.verdict for writer in proof.writers.values()]


class _Head(NamedTuple):
    writer: str
    seq: int
    path: Path


def _head(path: Path) -> _Head:
    """Return what the files are ordered by, so that those of a writer follow one another."""
    for raw in raw_lines(path):
        line = _read(raw)
        if line is not None and line.writer:
            return _Head(line.writer, line.seq, path)
        if raw.number >= _HEAD_LINES:
            break
    return _Head("", 0, path)


def _read(raw: RawLine) -> Line | None:
    try:
        return decode(raw.data) if raw.is_whole else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class _Writer:
    """The chain of one writer as far as it was read."""

    def __init__(self, name: str) -> None:
        self.verdict = Verdict(name)
        self.seq = 0
        self.prev = GENESIS
        self.at: tuple[Path, int] | None = None
        """Where its last line stands."""

        self.suspect: Break | None = None
        """A line that does not fit the one before: whichever of both was changed shows at the next."""

    def take(self, line: Line, raw: bytes, *, is_first_of_file: bool, is_retained: bool) -> str:
        """Go one line on; return what is wrong with it, `""` if nothing is."""
        verdict = self.verdict
        if not verdict.records and is_retained and line.seq > 1:
            # Nothing is here that the first line could be compared with.
            self.seq, self.prev = line.seq - 1, line.prev
        wrong = self._wrong(line, is_first_of_file=is_first_of_file)
        self.seq, self.prev = line.seq, sha256(raw).hexdigest()
        verdict.first = verdict.first or line.seq
        verdict.records += 1
        verdict.end = ""
        verdict.since_checkpoint += 1
        if line.checkpoint is not None:
            verdict.since_checkpoint = 0
            verdict.checkpoints += 1
            verdict.end = line.checkpoint.reason
        return wrong

    def _wrong(self, line: Line, *, is_first_of_file: bool) -> str:
        if line.v != VERSION:
            return f"the line is of version {line.v} of the schema, this program reads {VERSION}"
        if line.seq > self.seq + 1:
            gap = (
                f"line {self.seq + 1} is" if line.seq == self.seq + 2 else f"lines {self.seq + 1} to {line.seq - 1} are"
            )
            before = " before this file" if is_first_of_file else ""
            return f"{gap} missing{before}"
        if line.seq <= self.seq:
            return f"line {line.seq} comes after line {self.seq}: it was moved, or is here twice"
        if line.prev != self.prev:
            return _CHANGED
        if self.verdict.torn is not None:
            return "the file before it ends in the middle of a line"
        if is_first_of_file and self.verdict.records and self.verdict.end not in _ENDS:
            return "the file before it does not end with a checkpoint: its end was cut off"
        if (line.type == "checkpoint" or line.sig) and line.checkpoint is None:
            return "the line is a checkpoint without a count"
        if line.checkpoint is not None and line.checkpoint.records != line.seq - 1:
            return f"the checkpoint counts {line.checkpoint.records} lines, there are {line.seq - 1}"
        return ""


class _Proof:
    """Goes through the files."""

    def __init__(self, check_signature: CheckSignature | None, is_retained: bool, bodies: Bodies) -> None:
        self._check_signature = check_signature
        self._is_retained = is_retained
        self._bodies = bodies
        self.writers: dict[str, _Writer] = {}

    def read(self, path: Path, name: str) -> None:
        """Take one file, of the writer `name`; files of a writer come in their order."""
        self._writer(name).verdict.files.append(path)
        seen: set[str] = set()
        for raw in raw_lines(path):
            line = _read(raw)
            if line is None or not line.writer:
                self._fail(self._writer(name).verdict, path, raw, is_record=line is not None)
                continue
            self._take(self._writer(line.writer), path, raw, line=line, is_first=line.writer not in seen)
            seen.add(line.writer)

    def _writer(self, name: str) -> _Writer:
        return self.writers.setdefault(name, _Writer(name))

    def _take(self, writer: _Writer, path: Path, raw: RawLine, *, line: Line, is_first: bool) -> None:
        verdict = writer.verdict
        if writer.suspect is not None:
            if line.prev != writer.prev:
                verdict.broken = writer.suspect
            writer.suspect = None
        before, fits = writer.at, line.prev == writer.prev
        wrong = writer.take(line, raw.data, is_first_of_file=is_first, is_retained=self._is_retained)
        writer.at = (path, raw.number)
        if not wrong and line.checkpoint is not None and self._check_signature is not None:
            wrong = self._check_signature(line, raw.data)
            verdict.signed += not wrong and bool(line.checkpoint.kid)
        wrong = wrong or self._wrong_body(line)
        if wrong and verdict.broken is None:
            verdict.broken = Break(path, raw.number, wrong)
            if wrong == _CHANGED and not fits and before is not None:
                verdict.broken = Break(*before, _CHANGED)
                writer.suspect = Break(path, raw.number, _CHANGED)

    def _wrong_body(self, line: Line) -> str:
        if line.body_ref is not None:
            try:
                self._bodies.spilled(line.body_ref)
            except BodyMissing as error:
                return str(error)
        return ""

    def _fail(self, verdict: Verdict, path: Path, raw: RawLine, *, is_record: bool) -> None:
        if not raw.is_whole:
            verdict.torn = path
            if verdict.broken is None and is_packed(path):
                verdict.broken = Break(path, raw.number, "the compressed file is damaged: it was whole once")
        elif verdict.broken is None:
            why = "the line names no writer" if is_record else "the line is no record"
            verdict.broken = Break(path, raw.number, why)
