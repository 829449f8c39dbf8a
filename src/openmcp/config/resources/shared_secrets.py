"""Identities by what the agent knows: `basic` (user and password) and `signature` (signed requests)."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from openmcp.config.resources.base import Fields, SecretRef, SourcedIdentity
from openmcp.config.values import Duration

_USER = re.compile(r"[^\x00-\x1f:\x7f]{1,128}")
_KEY_ID = re.compile(r"[A-Za-z0-9._@/-]{1,128}")


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise ValueError("a user has 1 to 128 characters, none of them a colon or a control character")
    return text


def _key_id(text: str) -> str:
    if not _KEY_ID.fullmatch(text):
        raise ValueError(f"`{text[:80]}` cannot be a key id: use 1 to 128 letters, digits and `.`, `_`, `@`, `/`, `-`")
    return text


class BasicSource(Fields):
    """Takes user and password in `Authorization: Basic`; agents name theirs by argon2id hash."""


class SignatureSource(Fields):
    """Takes requests that are signed as RFC 9421 says; agents name their keys."""

    max_age: Duration = "60s"
    """How long a signature holds after it was made. Each nonce is remembered that long, and counts once."""


class BasicIdentity(SourcedIdentity):
    """A user with a password."""

    naming_field = "user"

    user: Annotated[str, AfterValidator(_user)]
    """The user's name."""

    argon2id: Annotated[SecretRef, Field(alias="argon2id")]
    """Where the hash of the password is read from: `$argon2id$v=19$m=…,t=…,p=…$…$…`."""

    @property
    def principal_id(self) -> str:
        """`basic:<source>:<user>`."""
        return f"basic:{self.source}:{self.user}"


class SignatureIdentity(SourcedIdentity):
    """A key that signs requests."""

    naming_field = "keyId"

    key_id: Annotated[str, AfterValidator(_key_id)]
    """The `keyid` of its signatures."""

    algorithm: Literal["hmac-sha256", "ed25519"]
    """How it signs."""

    key: SecretRef
    """For `hmac-sha256` the shared secret, at least 32 bytes; for `ed25519` the public key in PEM."""

    @property
    def principal_id(self) -> str:
        """`sig:<source>:<keyId>`."""
        return f"sig:{self.source}:{self.key_id}"
