"""Numbers and addresses of people, and addresses inside the house."""

from typing import Final

from openmcp.language import checks
from openmcp.language.detector import Detector, PatternDetector

_COUNTRIES: Final = "|".join(checks.IBAN_LENGTHS)

US_SSN = PatternDetector(
    "us-ssn",
    "US social security numbers: `ddd-dd-dddd`, also with spaces or dots; nine digits in a row after a word that "
    "announces one. Areas, groups and serials that were never issued do not count.",
    (
        r"(?:^|[^0-9])([0-9]{3} ?- ?[0-9]{2} ?- ?[0-9]{4})(?:$|[^0-9])",
        r"(?:^|[^0-9.])([0-9]{3} [0-9]{2} [0-9]{4}|[0-9]{3}\.[0-9]{2}\.[0-9]{4})(?:$|[^0-9])",
        r"(?i)(?:ssn|social.?security)[^0-9]{0,24}([0-9]{9})(?:$|[^0-9])",
    ),
    sieve=(r"[0-9]{3} ?[-. ] ?[0-9]{2} ?[-. ] ?[0-9]{4}", r"(?i)(?:ssn|social.?security)[^0-9]{0,24}[0-9]{9}"),
    check=checks.ssn,
    needs_key=True,
)

CREDIT_CARD = PatternDetector(
    "credit-card",
    "Payment card numbers of 13 to 19 digits, also in groups, with the prefix and length of an issuer and a valid "
    "check digit.",
    (r"(?:^|[^0-9])([2-689][0-9]{3}(?:[ -]?[0-9]){9,15})",),
    sieve=(r"[2-689][0-9]{3}(?:[ -]?[0-9]){9}",),
    check=checks.card,
)

IBAN = PatternDetector(
    "iban",
    "International bank account numbers, also in groups, with the length of their country and a valid checksum.",
    (rf"(?i)(?:^|[^A-Z0-9])((?:{_COUNTRIES})[0-9]{{2}}(?: ?[A-Z0-9]){{11,30}})",),
    sieve=(rf"(?i)(?:{_COUNTRIES})[0-9]{{2}} ?[A-Z0-9]{{4}} ?[A-Z0-9]{{4}}",),
    check=checks.iban,
)

EMAIL = PatternDetector(
    "email",
    "E-mail addresses.",
    (r"[A-Za-z0-9._%+'-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}",),
    sieve=(r"[A-Za-z0-9._%+'-]@[A-Za-z0-9-]+\.[A-Za-z]",),
)

PHONE = PatternDetector(
    "phone",
    "Telephone numbers: international ones that begin with `+`, and those of North America with separators.",
    (
        r"(?:^|[^0-9+])(\+[1-9][0-9]{0,2}[ .-]?(?:\(?[0-9]{1,4}\)?[ .-]?){2,5}[0-9])(?:$|[^0-9])",
        r"(?:^|[^0-9.-])((?:1[ .-])?\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[ .-][0-9]{4})(?:$|[^0-9.-])",
        r"(?:^|[^0-9.-])((?:1[ .-])?[2-9][0-9]{2}[ .-][2-9][0-9]{2}[ .-][0-9]{4})(?:$|[^0-9.-]|[.-](?:$|[^0-9]))",
    ),
    sieve=(r"\+[1-9][0-9 .()-]{6}", r"[2-9][0-9]{2}\)?[ .-]?[2-9][0-9]{2}[ .-][0-9]{4}"),
    check=checks.phone,
)

IPV4_PRIVATE = PatternDetector(
    "ipv4-private",
    "IPv4 addresses that mean something only inside: private (RFC 1918), shared (RFC 6598), link-local, loopback.",
    (
        r"(?:^|[^0-9.])((?:10|127)(?:\.[0-9]{1,3}){3})(?:$|[^0-9.]|\.(?:$|[^0-9]))",
        r"(?:^|[^0-9.])((?:192\.168|169\.254|172\.(?:1[6-9]|2[0-9]|3[01])|100\.(?:6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7]))"
        r"(?:\.[0-9]{1,3}){2})(?:$|[^0-9.]|\.(?:$|[^0-9]))",
    ),
    sieve=(r"(?:10|127|192\.168|169\.254|172|100)\.[0-9]{1,3}\.[0-9]{1,3}",),
    check=checks.ipv4,
)

_: tuple[Detector, ...] = (US_SSN, CREDIT_CARD, IBAN, EMAIL, PHONE, IPV4_PRIVATE)
