"""What else a text says: its normal form, and what it holds in escapes, base64, percent signs or entities.

A *view* is another reading of a text, in bytes. Views have views: JSON inside JSON
inside base64. All of them together are bounded, and what is beyond the bound is never
taken for harmless (`Exceeded`).
"""

import binascii
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from openmcp.language.normal import normalised
from openmcp.language.regexes import Expression

MAX_DEPTH: Final = 8
"""Views of views: one more layer than this is not opened."""

GROWTH: Final = 6
"""Bytes of all views together, as a multiple of the text."""

LEAST_BYTES: Final = 64 << 10
"""Bytes of views that every text may have, however short it is."""

BASE64: Final = r"[A-Za-z0-9+/_-]{16}"
PERCENT: Final = r"%[0-9A-Fa-f]{2}"
ENTITY: Final = r"&#[0-9xX]"
TRIGGERS: Final = (BASE64, PERCENT, ENTITY)
"""Expressions for the sieve: without a match a text has no view of that kind."""

_RUNS: Final = Expression(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*")
_ESCAPES: Final = Expression(r"(?:\\u[0-9A-Fa-f]{4})+")
_ENTITIES: Final = Expression(r"&#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});?")
_PRINTABLE: Final = Expression(r"[\x20-\x7e\t\r\n]{8,}")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_SPACES: Final = b"\r\n"
_SHORT_RUN: Final = 1024
"""A longer run is decoded from its beginning only, a shorter one at each of the four ways to cut it."""

_BETWEEN: Final = b"\0"
"""Between the parts of one view, so that nothing is found that lies in two of them."""

_SIMPLE: Final = ((rb"\n", b"\n"), (rb"\t", b"\t"), (rb"\r", b"\r"), (rb"\"", b'"'), (rb"\/", b"/"))
_RARE: Final = ((rb"\b", b"\b"), (rb"\f", b"\f"))
_BACKSLASH: Final = b"\\"
_HELD: Final = b"\0\\\0"


class Exceeded(Exception):
    """There is more to inspect than the budget allows; what it is stays unknown."""


class Budget:
    """How much of views one text, or one message, may have."""

    __slots__ = ("_left",)

    def __init__(self, size: int) -> None:
        self._left = max(LEAST_BYTES, GROWTH * size)

    def spend(self, size: int) -> None:
        """Raises: Exceeded."""
        self._left -= size
        if self._left < 0:
            raise Exceeded("more to decode than the budget allows")


def unescaped(text: bytes) -> bytes:
    """Return the text with the escapes of JSON strings (RFC 8259 §7) resolved, once."""
    if _BACKSLASH not in text:
        return text
    has_pairs = b"\\\\" in text
    if has_pairs:
        text = text.replace(b"\\\\", _HELD)
    for escape, char in _SIMPLE:
        text = text.replace(escape, char)
    for escape, char in _RARE:
        text = text.replace(escape, char)
    if rb"\u" in text:
        text = b"".join(_pieces(text, _ESCAPES, _code_units))
    return text.replace(_HELD, _BACKSLASH) if has_pairs else text


def views(text: bytes, hits: Sequence[int]) -> Iterator[bytes]:
    """Yield what else the text says, one layer down; `hits`: which of `TRIGGERS` it holds, by their places."""
    if _BACKSLASH in text:
        yield unescaped(text)
    if not text.isascii():
        plain = text.decode("utf-8", "replace")
        normal = normalised(plain)
        if normal is not plain:
            yield normal.encode("utf-8", "replace")
    if 0 in hits:
        yield _BETWEEN.join(_decoded(text))
    if 1 in hits:
        yield unquote_to_bytes(text)
    if 2 in hits:
        yield b"".join(_pieces(text, _ENTITIES, _character))


def _pieces(text: bytes, expression: Expression, meaning: Callable[[bytes], bytes]) -> Iterator[bytes]:
    at = 0
    for start, end in expression.finds(text):
        yield text[at:start]
        yield meaning(text[start:end])
        at = end
    yield text[at:]


def _code_units(escapes: bytes) -> bytes:
    r"""Return the characters of `\uXXXX\uXXXX…`; halves of pairs that lost each other become question marks."""
    units = bytes.fromhex(escapes.replace(rb"\u", b"").decode())
    return units.decode("utf-16-be", "replace").encode("utf-8", "replace")


def _character(entity: bytes) -> bytes:
    digits = entity[2:].rstrip(b";")
    code = int(digits[1:], 16) if digits[:1] in (b"x", b"X") else int(digits)
    return chr(code).encode("utf-8", "replace") if code <= 0x10FFFF else b"?"


def _decoded(text: bytes) -> Iterator[bytes]:
    """Yield what runs of base64 hold that could be text."""
    for start, end in _RUNS.finds(text):
        run = text[start:end]
        # Text in base64 is never all of one case: capitals begin most groups of what is not letters.
        if not run.islower():
            yield from _readings(run.translate(_STANDARD, _SPACES))


def _readings(run: bytes) -> Iterator[bytes]:
    """Yield the text in a run, wherever in it the base64 begins: something else may be glued in front."""
    for skipped in range(4 if len(run) <= _SHORT_RUN else 1):
        part = run[skipped:]
        usable = len(part) - (len(part) % 4 == 1)
        data = binascii.a2b_base64(part[:usable] + b"=" * (-usable % 4))
        found = _text_in(data)
        if found:
            yield found


def _text_in(data: bytes) -> bytes:
    """Return the text that bytes are: as UTF-8, as UTF-16 of ASCII, or the readable runs in them."""
    if b"\0" in data:
        data = data.replace(b"\0", b"")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return _BETWEEN.join(data[start:end] for start, end in _PRINTABLE.finds(data))
    return data
