"""What a number has to pass to be one: checksums, ranges and prefixes. Pure functions over bytes.

Each takes `(text, start, end)` of a match and returns what of it counts. The check
digits of cards are ISO/IEC 7812-1's, those of bank accounts ISO 13616's.
"""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeAlias

Span: TypeAlias = tuple[int, int]
_NOTHING: Final[tuple[Span, ...]] = ()
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_NO_DIGITS: Final = bytes(set(range(256)) - set(b"0123456789"))
_NO_ALNUM: Final = bytes(byte for byte in range(256) if not (byte < 128 and chr(byte).isalnum()))
_DIGITS: Final = b"0123456789"

IBAN_LENGTHS: Final = {
    **{"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29},
    **{"BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29},
    **{"ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28},
    **{"HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20},
    **{"LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19},
    **{"MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29},
    **{"PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24},
    **{"SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20},
    "YE": 30,
}
"""Characters of a number by country (SWIFT's IBAN registry)."""

_CARD_LENGTHS: Final = (13, 14, 15, 16, 17, 18, 19)


def luhn(text: bytes, start: int, end: int) -> Iterable[Span]:
    """Return the match if its last digit is the check digit of the others."""
    return ((start, end),) if is_luhn(text[start:end].translate(None, _NO_DIGITS)) else _NOTHING


def is_luhn(digits: bytes) -> bool:
    """Whether the last digit is the check digit of the others."""
    if len(digits) < 2:
        return False
    values = [digit - 48 for digit in reversed(digits)]
    return (sum(values[::2]) + sum(_DOUBLED[value] for value in values[1::2])) % 10 == 0


def card(text: bytes, start: int, end: int) -> Iterable[Span]:
    """Return the card number that a run of digits begins with; it may go on with digits that do not belong to it."""
    digits = text[start:end].translate(None, _NO_DIGITS)
    ends = _group_ends(text, start, end)
    for count in reversed(_CARD_LENGTHS):
        stop = ends.get(count)
        if stop is not None and _is_card(digits[:count]):
            return ((start, stop),)
    return _NOTHING


def _group_ends(text: bytes, start: int, end: int) -> dict[int, int]:
    """Return where groups of digits end, by the number of digits so far."""
    ends: dict[int, int] = {}
    count = 0
    for at in range(start, end):
        if text[at] in _DIGITS:
            count += 1
            if at + 1 == end or text[at + 1] not in _DIGITS:
                ends[count] = at + 1
    return ends


def _is_card(digits: bytes) -> bool:
    return _is_issued(digits) and len(set(digits)) > 1 and is_luhn(digits)


def _is_issued(digits: bytes) -> bool:
    """Whether an issuer gives numbers of this beginning and length."""
    count, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[:1] == b"4":
        return count in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720 or 2200 <= four <= 2204:
        return count == 16
    if two in (34, 37):
        return count == 15
    if two in (36, 38, 39) or 300 <= three <= 305 or three == 309:
        return count in (14, 16, 19)
    if 3528 <= four <= 3589 or two in (60, 62, 64, 65, 81, 82):
        return 16 <= count <= 19
    return four in (5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763) and count in (13, 15, 16, 18, 19)


def iban(text: bytes, start: int, end: int) -> Iterable[Span]:
    """Return the bank account that a run of letters, digits and spaces begins with."""
    wanted = IBAN_LENGTHS.get(text[start : start + 2].decode("ascii", "replace").upper(), 0)
    stop = _end_of(text, start, end, wanted)
    if not stop or (stop < len(text) and chr(text[stop]).isalnum() and text[stop] < 128):
        return _NOTHING
    number = text[start:stop].translate(None, _NO_ALNUM).upper()
    turned = number[4:] + number[:4]
    value = int("".join(str(int(chr(char), 36)) for char in turned))
    return ((start, stop),) if value % 97 == 1 else _NOTHING


def _end_of(text: bytes, start: int, end: int, wanted: int) -> int:
    """Return where so many letters and digits end; 0 if there are not so many."""
    count = 0
    for at in range(start, end):
        if text[at] < 128 and chr(text[at]).isalnum():
            count += 1
            if count == wanted:
                return at + 1
    return 0


def ssn(text: bytes, start: int, end: int) -> Iterable[Span]:
    """Return the match if its area, group and serial were ever issued (SSA: no 000, 666, 9xx; no 00; no 0000)."""
    digits = text[start:end].translate(None, _NO_DIGITS)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    is_issued = area not in (b"000", b"666") and area[:1] != b"9" and group != b"00" and serial != b"0000"
    return ((start, end),) if is_issued and len(digits) == 9 else _NOTHING


def phone(text: bytes, start: int, end: int) -> Iterable[Span]:
    """Return the match if it has as many digits as a telephone number has (ITU-T E.164: at most 15)."""
    digits = text[start:end].translate(None, _NO_DIGITS)
    return ((start, end),) if 8 <= len(digits) <= 15 and len(set(digits)) > 2 else _NOTHING


def ipv4(text: bytes, start: int, end: int) -> Iterable[Span]:
    """Return the match if no part of the address is more than 255."""
    return ((start, end),) if all(int(part) <= 255 for part in text[start:end].split(b".")) else _NOTHING


def entropy(value: bytes) -> float:
    """Return Shannon's entropy in bits per byte."""
    total = len(value)
    return -sum(count / total * math.log2(count / total) for count in Counter(value).values())
