"""What is meant to steer a model rather than to inform it. Signs, not proofs: no pattern stops a prompt injection."""

from collections.abc import Iterable
from typing import Final

from openmcp.language.checks import Span
from openmcp.language.detector import Detector, PatternDetector

_FLAG: Final = "\U0001f3f4".encode()
_END_OF_FLAG: Final = "\U000e007f".encode()
_LONGEST_FLAG: Final = 7 * 4


def _is_no_flag(text: bytes, start: int, end: int) -> Iterable[Span]:
    """Return the match unless its tags are those of a flag (Unicode UTS #51, emoji tag sequences)."""
    is_flag = text[:start].endswith(_FLAG) and text[start:end].endswith(_END_OF_FLAG) and end - start <= _LONGEST_FLAG
    return () if is_flag else ((start, end),)


HIDDEN_UNICODE = PatternDetector(
    "hidden-unicode",
    "Characters that a person does not see and a model reads: tags, zero-width characters, changes of direction, "
    "fillers, and control sequences of terminals. Joiners count only between letters or digits of ASCII: elsewhere "
    "scripts and emoji need them.",
    (
        r"[\x{200B}\x{2060}-\x{2064}\x{2066}-\x{206F}\x{202A}-\x{202E}\x{FEFF}\x{180E}\x{115F}\x{1160}\x{3164}\x{FFA0}"
        r"\x{FFF9}-\x{FFFB}\x{E0000}-\x{E007F}\x{E0100}-\x{E01EF}]+",
        r"[A-Za-z0-9]([\x{00AD}\x{034F}\x{200C}-\x{200F}]+)[A-Za-z0-9]",
        r"\x1b\[[0-9;]{0,32}[A-Za-z]",
    ),
    check=_is_no_flag,
)

_ALL = r"(?:all|any|every|each|the|of|your|my|these|those|this|that|other|and|or)\s+"
_EARLIER = r"(?:previous|prior|earlier|preceding|above|foregoing|initial|original|existing|system)"
_ORDERS = r"(?:instruction|prompt|direction|directive|rule|guideline|command|message|constraint|context|restriction)s?"

PROMPT_INJECTION_PHRASES = PatternDetector(
    "prompt-injection-phrases",
    "Phrases by which texts try to give a model orders: to ignore its instructions, to show them, to keep something "
    "from the user, to take another role; and marks of chat templates.",
    (
        rf"(?i)\b(?:ignore|disregard|forget|override|bypass)\s+(?:{_ALL}){{0,4}}{_EARLIER}\s+(?:{_ALL}){{0,2}}"
        rf"(?:[a-z]+\s+)?{_ORDERS}\b",
        rf"(?i)\b(?:ignore|disregard|forget|override)\s+(?:{_ALL}){{1,4}}(?:[a-z]+\s+)?{_ORDERS}\b"
        r"(?:\s+(?:above|before|so\s+far|given|you))?",
        r"(?i)\b(?:ignore|disregard|forget)\s+(?:everything|anything|all)\s+"
        r"(?:above|before|prior|previous|that\s+came\s+before|you\s+(?:were|have\s+been)\s+told)\b",
        rf"(?i)\b(?:reveal|print|show|output|repeat|display|leak|disclose)\s+(?:me\s+)?(?:{_ALL}){{0,3}}"
        r"(?:system|hidden|initial|secret|developer)\s+(?:prompt|instructions?|message)\b",
        r"(?i)\b(?:do\s+not|don'?t|never|without)\s+(?:tell|telling|inform|informing|mention|mentioning|notify|"
        r"notifying|alert|alerting|show|reveal|disclose|asking|ask)\s+(?:[a-z]+\s+){0,5}(?:to\s+)?(?:the\s+)?"
        r"(?:user|human|operator)\b",
        r"(?i)\byou\s+are\s+now\s+(?:in\s+)?(?:[a-z]+\s+){0,3}(?:mode|unrestricted|jailbroken|DAN)\b",
        r"(?i)\b(?:enter|enable|activate|switch\s+to)\s+(?:[a-z]+\s+){0,2}(?:developer|jailbreak|god|dan|unrestricted)\s+"
        r"mode\b",
        r"(?i)\b(?:new|updated|real|actual)\s+(?:system\s+)?instructions?\s*:",
        r"(?i)\bbefore\s+(?:using|calling|invoking|running)\s+(?:this|the|any)\s+(?:other\s+)?tools?\b.{0,60}\b"
        r"(?:read|send|call|pass|include|fetch|open)\b",
        r"(?i)</?(?:important|system|instructions?|assistant|admin)>",
        r"(?i)<\|(?:im_start|im_end|system|user|assistant|endoftext|start_header_id|eot_id)\|>|\[/?INST\]|<</?SYS>>",
    ),
    sieve=(
        r"(?i)(?:ignore|disregard|forget|override|bypass)\s",
        r"(?i)(?:system|hidden|initial|secret|developer)\s+(?:prompt|instruction|message)",
        r"(?i)(?:user|human|operator)\b",
        r"(?i)you\s+are\s+now\s",
        r"(?i)(?:developer|jailbreak|god|dan|unrestricted)\s+mode",
        r"(?i)instructions?\s*:",
        r"(?i)before\s+(?:using|calling|invoking|running)\s",
        r"(?i)</?(?:important|system|instruction|assistant|admin)",
        r"<\||(?i)\[/?INST\]|<</?SYS>>",
    ),
)

_: tuple[Detector, ...] = (HIDDEN_UNICODE, PROMPT_INJECTION_PHRASES)
