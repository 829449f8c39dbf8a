"""What gives access: keys and tokens in the forms that their issuers document.

Prefixes are specific enough to need no boundary before them, so that nothing glued in
front hides one.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Final

import msgspec

from openmcp.language.checks import Span, entropy
from openmcp.language.detector import Detector, PatternDetector
from openmcp.language.regexes import Expression


def _of_header(text: bytes, start: int, end: int) -> Iterable[Span]:
    """Return the match if its first part is the header of a token: JSON that names an algorithm (RFC 7515 §4.1)."""
    head = text[start:end].split(b".", 1)[0]
    try:
        header: object = msgspec.json.decode(base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return ()
    return ((start, end),) if isinstance(header, dict) and "alg" in header else ()


_ANNOUNCES: Final = (
    r"secret|token|passw(?:or)?d|passphrase|pwd|credentials?|bearer|(?:api|access|auth|account|client|encryption|"
    r"master|private|service|session|shared|signing|storage)[ _.-]?key"
)
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_HEX_BITS: Final = 3.0
_BITS: Final = 4.2
_EVENNESS: Final = 0.85
"""Of a short value: the share of the entropy that it could have."""

_LOOKS_BACK: Final = 64
_NAMES_NO_SECRET: Final = Expression(
    r"(?i)(?:page|next|prev|previous|progress|continuation|cancel(?:l?ation)?|sync|change|public)[ _.-]?(?:token|key)"
    r"[^a-z]*$"
)
_UUID: Final = Expression(r"(?i)^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$")


def _is_random(text: bytes, start: int, end: int) -> Iterable[Span]:
    """Return the match if it is as uneven as chance makes it, and does not stand behind a harmless name."""
    value = text[start:end]
    kinds = (any(97 <= c <= 122 or 65 <= c <= 90 for c in value), any(48 <= c <= 57 for c in value))
    if not all(kinds) or _UUID.is_in(value):
        return ()
    if _NAMES_NO_SECRET.is_in(text[max(0, start - _LOOKS_BACK) : start]):
        return ()
    if _HEX.issuperset(value):
        is_enough = len(value) >= 32 and entropy(value) > _HEX_BITS
    else:
        is_enough = entropy(value) > min(_BITS, _EVENNESS * (len(value) - 1).bit_length())
    return ((start, end),) if is_enough else ()


AWS_ACCESS_KEY = PatternDetector(
    "aws-access-key",
    "AWS access key ids (`AKIA…`, `ASIA…`), and secret access keys behind a name that says so.",
    (
        r"(?:^|[^A-Za-z0-9])((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})(?:$|[^A-Za-z0-9])",
        r"(?i)secret.?access.?key[^A-Z0-9]{1,8}([A-Z0-9/+]{40})(?:$|[^A-Z0-9/+])",
    ),
    sieve=(r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{4}", r"(?i)secret.?access.?key"),
    is_secret=True,
    needs_key=True,
)
GITHUB_TOKEN = PatternDetector(
    "github-token",
    "GitHub tokens (`ghp_…`, `gho_…`, `ghu_…`, `ghs_…`, `ghr_…`, `github_pat_…`).",
    (r"gh[pousr]_[A-Za-z0-9]{36,255}", r"github_pat_[A-Za-z0-9_]{22,255}"),
    sieve=(r"gh[pousr]_[A-Za-z0-9]{8}", r"github_pat_[A-Za-z0-9]"),
    is_secret=True,
)
GITLAB_TOKEN = PatternDetector(
    "gitlab-token",
    "GitLab tokens (`glpat-…`, `gldt-…`, `glrt-…`, and their kind).",
    (r"gl(?:pat|dt|rt|ptt|ft|soat|cbt|agent|imt|oas)-[A-Za-z0-9_.-]{20,255}",),
    sieve=(r"gl(?:pat|dt|rt|ptt|ft|soat|cbt|agent|imt|oas)-[A-Za-z0-9_]",),
    is_secret=True,
)
SLACK_TOKEN = PatternDetector(
    "slack-token",
    "Slack tokens (`xoxb-…`, `xapp-…`, and their kind), and the URLs of incoming webhooks.",
    (
        r"xox[abceoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,255}",
        r"xapp-[0-9]-[A-Z0-9]{6,16}-[0-9]{6,16}-[a-f0-9]{32,128}",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9]{6,16}/[A-Za-z0-9]{6,20}/[A-Za-z0-9]{16,64}",
    ),
    sieve=(r"xox[abceoprs][.-]", r"xapp-[0-9]-", r"hooks\.slack\.com/"),
    is_secret=True,
)
STRIPE_KEY = PatternDetector(
    "stripe-key",
    "Stripe secret and restricted keys (`sk_live_…`, `rk_test_…`), and secrets of webhooks (`whsec_…`).",
    (r"[sr]k_(?:live|test|prod)_[A-Za-z0-9]{10,255}", r"whsec_[A-Za-z0-9+/=]{24,255}"),
    sieve=(r"[sr]k_(?:live|test|prod)_[A-Za-z0-9]", r"whsec_[A-Za-z0-9]"),
    is_secret=True,
)
OPENAI_KEY = PatternDetector(
    "openai-key",
    "OpenAI API keys (`sk-proj-…`, `sk-svcacct-…`, `sk-admin-…`, and the older `sk-…`).",
    (
        r"sk-(?:proj|svcacct|admin|service|None)-[A-Za-z0-9_-]{20,255}",
        r"(?:^|[^A-Za-z0-9])(sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20})",
        r"(?:^|[^A-Za-z0-9])(sk-[A-Za-z0-9]{48})(?:$|[^A-Za-z0-9])",
    ),
    sieve=(r"sk-(?:(?:proj|svcacct|admin|service|None)-|[A-Za-z0-9]{20})",),
    is_secret=True,
)
ANTHROPIC_KEY = PatternDetector(
    "anthropic-key",
    "Anthropic API keys (`sk-ant-…`).",
    (r"sk-ant-[a-z]{2,12}[0-9]{2}-[A-Za-z0-9_-]{20,255}",),
    sieve=(r"sk-ant-",),
    is_secret=True,
)
GOOGLE_API_KEY = PatternDetector(
    "google-api-key",
    "Google API keys (`AIza…`), and secrets of OAuth clients (`GOCSPX-…`).",
    (r"AIza[A-Za-z0-9_-]{35}", r"GOCSPX-[A-Za-z0-9_-]{28}"),
    sieve=(r"AIza[A-Za-z0-9_-]{8}", r"GOCSPX-"),
    is_secret=True,
)
NPM_TOKEN = PatternDetector(
    "npm-token", "npm access tokens (`npm_…`).", (r"npm_[A-Za-z0-9]{36}",), (r"npm_[A-Za-z0-9]{8}",), is_secret=True
)
PRIVATE_KEY = PatternDetector(
    "private-key",
    "Private keys in PEM form, from their first line to their last, or to the end of the text.",
    (
        r"(?s)-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    sieve=(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY",),
    is_secret=True,
)
JWT = PatternDetector(
    "jwt",
    "JSON Web Tokens (RFC 7519), signed or encrypted: the header has to be one.",
    (r"(?:^|[^A-Za-z0-9_-])(ey[JI][A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4})",),
    sieve=(r"ey[JI][A-Za-z0-9_-]{8,}\.[A-Za-z0-9_.-]",),
    check=_of_header,
    is_secret=True,
)
GENERIC_HIGH_ENTROPY = PatternDetector(
    "generic-high-entropy",
    "Values of 20 to 200 characters that look like chance, behind a name that announces a secret (password, token, "
    "API key, …). UUIDs and tokens of pages do not count.",
    (
        rf"(?i)(?:{_ANNOUNCES})"
        r"[a-z0-9_.-]{0,20}(?:[^a-z0-9]{1,6}|[^a-z0-9]{1,3}(?:is|was|to)[^a-z0-9]{1,3})"
        r"([a-z0-9+/_.~=-]{20,200})(?:$|[^a-z0-9+/_.~=-])",
    ),
    sieve=(rf"(?i)(?:{_ANNOUNCES})",),
    check=_is_random,
    is_secret=True,
    needs_key=True,
)

_: tuple[Detector, ...] = (
    *(AWS_ACCESS_KEY, GITHUB_TOKEN, GITLAB_TOKEN, SLACK_TOKEN, STRIPE_KEY, OPENAI_KEY, ANTHROPIC_KEY),
    *(GOOGLE_API_KEY, NPM_TOKEN, PRIVATE_KEY, JWT, GENERIC_HIGH_ENTROPY),
)
