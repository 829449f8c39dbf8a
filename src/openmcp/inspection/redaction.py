"""What may stand in a log: `LogRedactor` takes secrets out of a value before anybody writes it down.

Handed to `audit/` by the runtime. Beside what detectors find, the values of keys whose
name says that they are secret are taken out whatever they look like. What cannot be
inspected is not written: the whole value goes.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import is_
from typing import Final

import msgspec

from openmcp.errors import Unavailable
from openmcp.inspection import marks
from openmcp.inspection.looking import BUDGET, Look
from openmcp.inspection.marks import Cut
from openmcp.inspection.registry import installed, resolved
from openmcp.inspection.scanner import NOTHING, Scanner
from openmcp.inspection.views import Exceeded
from openmcp.language.detector import Detector, PatternDetector
from openmcp.mcp.content import Path, Text, json_path
from openmcp.mcp.message import Json, JsonObject
from openmcp.model.content import Detect, Redaction

PERSONAL: Final = ("us-ssn", "credit-card", "iban")
"""What is taken out of every log beside secrets."""

_ENDS: Final = (
    *("password", "passwd", "pwd", "passphrase", "secret", "secrets", "token", "tokens", "apikey", "privatekey"),
    *("secretkey", "accesskey", "signingkey", "encryptionkey", "authkey", "credential", "credentials"),
    *("authorization", "cookie", "connectionstring"),
)
"""How names of secret keys end, in small letters and without signs."""

_HARMLESS: Final = frozenset(
    {
        *("progresstoken", "pagetoken", "nexttoken", "nextpagetoken", "prevpagetoken", "continuationtoken"),
        *("synctoken", "maxtokens", "inputtokens", "outputtokens", "totaltokens", "completiontokens", "prompttokens"),
    }
)
"""Names that end like it and hold no secret: places in lists, and counts."""

_KNOWN_KEYS: Final = 4_096
_KEY_CHARS: Final = 64

_WORDS: Final = (
    r"[a-z0-9_.-]{0,40}(?:password|passwd|pwd|passphrase|secret|api[_.-]?key|private[_.-]?key|secret[_.-]?key|"
    r"access[_.-]?key|(?:access|refresh|id|auth|bearer|session|api|bot)[_.-]?token|credential|authorization|cookie)s?"
)
KEY: Final = PatternDetector(
    "key",
    "The value of a key whose name says that it is secret, in a text that holds JSON, a query or a header.",
    (
        rf'(?i)"(?:{_WORDS}|token)"\s*:\s*"((?:[^"\\]|\\.)+)"',
        rf"(?i)(?:^|[?&;\s])(?:{_WORDS}|token)=([^&\s\"';,]+)",
        r"(?i)(?:proxy-)?authorization\s*:\s*(?:[a-z]+\s+)?([a-z0-9+/=._~:-]{6,})",
    ),
    sieve=(
        r"(?i)(?:password|passwd|pwd|passphrase|secret|key|token|credential|authorization|cookie)s?(?:\s*[=:]|\"\s*:)",
    ),
    is_secret=True,
)


class LogRedactor:
    """Takes out what no log may hold."""

    def __init__(self, detectors: Iterable[Detect] = (), keys: Iterable[str] = ()) -> None:
        """`detectors` and `keys` count beside the default ones.

        Raises: ValueError for a pattern that RE2 refuses, LookupError for a detector that there is not.
        """
        self._scanner = Scanner((*_defaults(), *map(resolved, detectors), KEY))
        self._keys = frozenset(map(_folded, keys))
        self._known: dict[str, bool] = {}

    def redact(self, value: Json) -> tuple[Json, tuple[Redaction, ...]]:
        """Return what may be written, and what was taken out; the same object where nothing was."""
        return _redacted(self._scanner, value, self.is_secret, is_always=bool(self._keys))

    def is_secret(self, key: str) -> bool:
        """Whether the name of a key says that its value is secret."""
        known = self._known.get(key)
        if known is None:
            folded = _folded(key)
            known = folded in self._keys or (folded.endswith(_ENDS) and folded not in _HARMLESS)
            if len(self._known) < _KNOWN_KEYS and len(key) <= _KEY_CHARS:
                self._known[key] = known
        return known


class SightRedactor:
    """Takes out all that a scanner sees, wherever it stands: for the record of what rules found something in."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner

    def redact(self, value: Json) -> tuple[Json, tuple[Redaction, ...]]:
        """Return what may be written, and what was taken out; the same object where nothing was."""
        return _redacted(self._scanner, value, _no_key)


def _no_key(_: str) -> bool:
    return False


class _Redaction:
    """One value on its way into the log."""

    def __init__(self, look: Look, is_secret: Callable[[str], bool]) -> None:
        self._look = look
        self._is_secret = is_secret
        self.taken: list[Redaction] = []

    def of(self, value: Json, path: Path) -> Json:
        """Return what may be written of the value at `path`."""
        match value:
            case dict():
                return self._mapping(value, path)
            case list():
                items = [self.of(item, (*path, at)) for at, item in enumerate(value)]
                return value if all(map(is_, items, value)) else items
            case str():
                return self._text(Text(path, value))
            case bool() | None:
                return value
            case _:
                number = Text(path, msgspec.json.encode(value).decode(), is_number=True)
                written = self._text(number)
                return value if written is number.value else written

    def _mapping(self, value: JsonObject, path: Path) -> JsonObject:
        written: JsonObject = {}
        is_changed = False
        # The properties of a schema are named like what they describe, and hold nothing of it.
        is_schema = path[-1:] == ("properties",)
        for key, item in value.items():
            name = self._key(key, (*path, key), written)
            # Below a name that was taken out, paths hold what stands for it.
            place = (*path, name)
            if self._is_secret(key) and not (is_schema and isinstance(item, dict)):
                written[name] = self._secret(name, item, place)
            else:
                written[name] = self.of(item, place)
            is_changed = is_changed or name is not key or written[name] is not item
        return written if is_changed else value

    def _secret(self, key: str, value: Json, path: Path) -> Json:
        if value is None or value == "" or isinstance(value, bool):
            return value
        length = len(value) if isinstance(value, str) else len(msgspec.json.encode(value))
        name = f"key:{key[:_KEY_CHARS]}"
        self.taken.append(Redaction(json_path(path), name, length))
        return marks.redacted(name)

    def _key(self, key: str, path: Path, written: JsonObject) -> str:
        """Return the name under which a member may be written; two that were redacted keep apart."""
        name = self._text(Text(path, key, is_key=True))
        if name is key:
            return key
        count = sum(other.startswith(name) for other in written)
        return f"{name}-{count + 1}" if count else name

    def _text(self, text: Text) -> str:
        sights = self._look.at(text)
        if not sights:
            return text.value
        # A path names keys; one that was taken out must not stand in it.
        path = json_path((*text.path[:-1], "*") if text.is_key else text.path)
        whole = next((sight for sight in sights if sight.span is None or text.is_number), None)
        if whole is not None:
            self.taken.append(Redaction(path, whole.detector.name, len(text.value)))
            return marks.redacted(whole.detector.name)
        cuts = [Cut(sight.span, sight.detector.name) for sight in sights if sight.span is not None]
        raw = text.value.encode("utf-8", "replace")
        for cut in marks.joined(cuts):
            length = len(raw[cut.span[0] : cut.span[1]].decode("utf-8", "replace"))
            self.taken.append(Redaction(path, cut.detector, length))
        return marks.without(text.value, cuts)


def _redacted(
    scanner: Scanner, value: Json, is_secret: Callable[[str], bool], *, is_always: bool = False
) -> tuple[Json, tuple[Redaction, ...]]:
    """`is_always`: keys may be secret of which the sieve knows nothing."""
    try:
        candidates = scanner.sift(msgspec.json.encode(value))
        if candidates is NOTHING and not is_always:
            return value, ()
        redaction = _Redaction(Look(scanner, candidates), is_secret)
        return redaction.of(value, ()), tuple(redaction.taken)
    except (Exceeded, Unavailable, UnicodeError, RecursionError):
        return marks.redacted(BUDGET), (Redaction("$", BUDGET, 0),)


def _defaults() -> Sequence[Detector]:
    return [detector for detector in installed() if detector.is_secret or detector.name in PERSONAL]


def _folded(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())
