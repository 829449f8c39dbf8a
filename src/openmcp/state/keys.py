"""The namespaces of the state store, spelled once, and how their keys are made.

Used by routing and approvals. A raw id that is a secret never becomes a key: the key is
its keyed digest, so that whoever reads the store cannot use it.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final

SESSIONS: Final = "sessions"
"""HMAC(server, session id) → whose session it is and which replica holds it."""

CALLS: Final = "calls"
"""The key of a session → how many calls came in it, where a rule reads that."""

REPLIES: Final = "replies"
"""Answers to a server's requests that were already given, so that a second one is dropped."""

ROUNDS: Final = "rounds"
"""Rounds of multi-round calls that were forwarded already, so that none is replayed."""

PINS: Final = "pins"
"""`server` → what is known of its pins as a whole; `server kind SHA-256(name)` → one pin. Nothing in it is secret."""

PIN_TEXTS: Final = "pin-texts"
"""`server digest` → the definition with this digest, so that people can compare."""

REVIEWS: Final = "reviews"
"""Id → a review, with its votes."""

REVIEW_QUESTIONS: Final = "review-questions"
"""HMAC(who asks, what) → id of the newest review of just that."""

OPEN_REVIEWS: Final = "open-reviews"
"""`HMAC(agent) id` → nothing: which reviews wait for people."""

REVIEW_ARGUMENTS: Final = "review-arguments"
"""`id number` → a piece of the arguments as they would be sent, for approvers who have to see them whole."""

GRANTS: Final = "grants"
"""HMAC(whom it is for, what it covers) → a grant."""

GRANT_KEYS: Final = "grant-keys"
"""Id of a review → the key of its grant."""


def session_key(hashing: Callable[[str, bytes], bytes], server: str, session_id: str) -> str:
    """Return the key of a session; the same id on another server gives another key.

    `hashing`: `Keyring.digest`.
    """
    # A NUL cannot be in a server's name, so no two pairs run together.
    digest = hashing("session", f"{server}\0{session_id}".encode())
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
