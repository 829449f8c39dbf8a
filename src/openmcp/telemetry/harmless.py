"""Text and JSON that cannot forge a line, move the cursor or turn the reading direction.

What agents and servers send ends in logs that people read in terminals. Used by the
process log and by the audit log.
"""

import re
from typing import Final

# Beside what JSON escapes itself: DEL and C1 controls, line and paragraph separators,
# bidirectional marks, overrides and isolates, other invisible characters, lone surrogates, tags.
_HIDDEN: Final = (
    r"\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
_UNSAFE = re.compile(f"[{_HIDDEN}]")
_UNSAFE_TEXT = re.compile(f"[\x00-\x1f{_HIDDEN}]")


def json_line(encoded: bytes) -> bytes:
    """Return the same JSON value with every hidden character escaped, and on one line.

    `encoded` is valid JSON; raw newlines may stand between its tokens.
    """
    if b"\n" in encoded or b"\r" in encoded:
        # Inside a JSON string they are escaped already, so these are only white space.
        encoded = encoded.replace(b"\n", b" ").replace(b"\r", b" ")
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _UNSAFE.sub(_escaped, encoded.decode()).encode()


def text(value: str, max_chars: int = 1000) -> str:
    """Return the text with every control and hidden character made visible, cut to a length."""
    if len(value) > max_chars:
        value = value[: max_chars - 1] + "…"
    return value if value.isascii() and value.isprintable() else _UNSAFE_TEXT.sub(_escaped, value)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
