"""SPIFFE IDs, read strictly: what is accepted is exactly one spelling of each.

Pure; used where identities are configured and where they are verified. A parser that folds
case or resolves paths would make two spellings one identity, and policies see spellings.
"""

import string
from typing import NamedTuple

SCHEME = "spiffe://"

_DOMAIN_CHARS = frozenset(string.ascii_lowercase + string.digits + "._-")
_PATH_CHARS = frozenset(string.ascii_letters + string.digits + "._-")
_DOMAIN_BYTES = 255
_ID_BYTES = 2048


class SpiffeId(NamedTuple):
    """The name of a workload (SPIFFE-ID §2)."""

    trust_domain: str
    path: str
    """With its leading slash; `""` = the trust domain itself, which is no workload."""

    def __str__(self) -> str:
        return f"{SCHEME}{self.trust_domain}{self.path}"


def spiffe_id(text: str) -> SpiffeId:
    """Return the parts of a SPIFFE ID.

    Raises: ValueError for anything that is not written exactly as SPIFFE-ID §2 has it.
    """
    if not text.startswith(SCHEME):
        raise ValueError(f"`{text[:80]}` is not a SPIFFE ID: it has to begin with {SCHEME}")
    if len(text) > _ID_BYTES:
        raise ValueError(f"a SPIFFE ID has at most {_ID_BYTES} bytes")
    domain, slash, path = text[len(SCHEME) :].partition("/")
    trust_domain(domain)
    if slash:
        _check_path(text, path)
    return SpiffeId(domain, slash + path)


def workload_id(text: str) -> SpiffeId:
    """Return the parts of the SPIFFE ID of a workload.

    Raises: ValueError where it is none, or names no more than a trust domain.
    """
    found = spiffe_id(text)
    if not found.path:
        raise ValueError(f"`{text[:80]}` names a trust domain and no workload in it")
    return found


def trust_domain(text: str) -> str:
    """Return the name of a trust domain as it is.

    Raises: ValueError for anything but lower-case letters, digits, `.`, `_` and `-`.
    """
    if not text or len(text) > _DOMAIN_BYTES or not _DOMAIN_CHARS.issuperset(text):
        raise ValueError(
            f"`{text[:80]}` is not a trust domain: it has 1 to {_DOMAIN_BYTES} lower-case letters, digits, "
            "`.`, `_` and `-`, and no port"
        )
    return text


def _check_path(text: str, path: str) -> None:
    for segment in path.split("/"):
        if segment in ("", ".", "..") or not _PATH_CHARS.issuperset(segment):
            raise ValueError(
                f"`{text[:80]}` is not a SPIFFE ID: each part of its path has letters, digits, `.`, `_` and `-`, and "
                "none is empty, `.` or `..`"
            )
