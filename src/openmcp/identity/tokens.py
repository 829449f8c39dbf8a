"""One bearer token (JWT, RFC 7519) held against what a source demands: cheap questions first, the signature last.

Used by the sources that take tokens. Knows no HTTP and no agents: claims come out, or the
reason why not.
"""

import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry

from openmcp.identity.keys import PublicKey

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
"""What can be allowed: signatures with public keys. Neither `none` nor shared secrets have a name here."""

_TOKEN_CHARS: Final = 16 << 10
_SUBJECT_CHARS: Final = 512
_GROUPS: Final = 1000
_VALUE_CHARS: Final = 1024


class BadToken(Exception):
    """The token does not hold; the text says why, for the record."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it came, read and not believed yet."""

    text: str
    header: Mapping[str, object]
    claims: Mapping[str, object]

    @property
    def algorithm(self) -> str:
        """The `alg` of its header; empty if it names none."""
        algorithm = self.header.get("alg")
        return algorithm if isinstance(algorithm, str) else ""

    @property
    def kid(self) -> str | None:
        """The key that its header names."""
        kid = self.header.get("kid")
        return kid if isinstance(kid, str) else None

    @property
    def audiences(self) -> frozenset[str]:
        """For whom it was made, without trailing slashes."""
        given = self.claims.get("aud")
        values = cast("list[object]", given) if isinstance(given, list) else [given]
        return frozenset(value.removesuffix("/") for value in values if isinstance(value, str))


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a token has to fulfil, whatever route it is shown to."""

    issuer: str
    """`""` = whoever has the key."""

    algorithms: frozenset[str]
    types: frozenset[str]
    """Lower-case `typ` values; a token without `typ` is taken."""

    leeway_s: float
    max_lifetime_s: float

    def check(self, token: Token, now: float) -> float:
        """Return when the token ends, in Unix seconds, by its own word.

        Raises: BadToken.
        """
        if token.algorithm not in self.algorithms:
            raise BadToken(f"algorithm {token.algorithm!r:.40} is not allowed")
        kind = token.header.get("typ", "jwt")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in self.types:
            raise BadToken(f"a token of the type {kind!r:.40} is not taken")
        if self.issuer and token.claims.get("iss") != self.issuer:
            raise BadToken("another issuer")
        ends = _time(token, "exp")
        if ends is None:
            raise BadToken("the token has no end (exp)")
        if ends + self.leeway_s <= now:
            raise BadToken("the token has expired")
        if ends - now > self.max_lifetime_s + self.leeway_s:
            raise BadToken("the token lives longer than maxLifetime allows")
        for name in ("nbf", "iat"):
            begins = _time(token, name)
            if begins is not None and begins - self.leeway_s > now:
                raise BadToken(f"the token does not hold yet ({name})")
        return ends + self.leeway_s


def bearer_of(value: str) -> str | None:
    """Return the token in an `Authorization` field; `None` if it holds something else (RFC 6750 §2.1)."""
    if value[:7].lower() != "bearer ":
        return None
    return value[7:].strip()


def is_jwt(token: str) -> bool:
    """Whether a bearer token has the form of a signed JWT: three parts."""
    return token.count(".") == 2


def read(token: str) -> Token:
    """Return header and claims, not verified yet. Raises: BadToken."""
    if len(token) > _TOKEN_CHARS:
        raise BadToken("the token is too long")
    header, claims, _ = token.split(".")
    return Token(token, _object(header), _object(claims))


def verify(token: Token, keys: Sequence[PublicKey]) -> None:
    """Return if one of the keys has signed the token. Raises: BadToken."""
    if not keys:
        raise BadToken("the issuer has no such key")
    for candidate in keys:
        registry = _Registry(algorithms=[token.algorithm], strict_check_header=False)
        try:
            jws.deserialize_compact(token.text, candidate.key, registry=registry)
        except (JoseError, ValueError, TypeError):
            continue
        return
    raise BadToken("the signature is wrong")


def bound_certificate(token: Token) -> str:
    """Return the thumbprint of the client certificate that the token is bound to; `""` if it is bound to nothing.

    Raises: BadToken if it is bound to a key in another way: who merely has it must not pass for who has the key.
    """
    bound = token.claims.get("cnf")
    if bound is None:
        return ""
    thumbprint = _member(bound, "x5t#S256")
    if not isinstance(thumbprint, str) or not thumbprint:
        raise BadToken("the token is bound to a key in a way that is not known here (cnf)")
    return thumbprint


def text_at(claims: Mapping[str, object], path: str) -> str:
    """Return the text of a claim, by name or by path (`act.sub`). Raises: BadToken if there is none."""
    value = _at(claims, path)
    if not isinstance(value, str) or not value or len(value) > _SUBJECT_CHARS or not value.isprintable():
        raise BadToken(f"the claim `{path}` is missing or no usable text")
    return value


def texts_at(claims: Mapping[str, object], path: str) -> frozenset[str]:
    """Return the texts of a claim that is a list or a single text; empty if it is missing. Raises: BadToken."""
    value = _at(claims, path)
    if value is None:
        return frozenset()
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    if len(values) > _GROUPS or not all(isinstance(one, str) and len(one) <= _SUBJECT_CHARS for one in values):
        raise BadToken(f"the claim `{path}` is no list of at most {_GROUPS} texts")
    return frozenset(cast("list[str]", values))


def values_at(claims: Mapping[str, object], paths: Sequence[str]) -> Mapping[str, object]:
    """Return those of the claims that are there and simple: texts, numbers, truth values, and lists of texts."""
    found = {path: _at(claims, path) for path in paths}
    return {path: value for path, value in found.items() if _is_simple(value)}


def _is_simple(value: object) -> bool:
    if isinstance(value, list):
        values = cast("list[object]", value)
        return len(values) <= _GROUPS and all(isinstance(one, str) and len(one) <= _VALUE_CHARS for one in values)
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= _VALUE_CHARS)


def _at(claims: Mapping[str, object], path: str) -> object:
    """Return the claim of just this name (names may be URLs, with dots), else the one at the path."""
    if path in claims:
        return claims[path]
    value: object = claims
    for part in path.split("."):
        value = _member(value, part)
    return value


def _member(value: object, name: str) -> object:
    return cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None


def _time(token: Token, name: str) -> float | None:
    value = token.claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BadToken(f"`{name}` is no time")
    return float(value)


def _object(segment: str) -> Mapping[str, object]:
    try:
        raw = binascii.a2b_base64(segment.replace("-", "+").replace("_", "/") + "=" * (-len(segment) % 4))
        found = msgspec.json.decode(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise BadToken("the token cannot be read") from None
    if not isinstance(found, dict):
        raise BadToken("the token cannot be read")
    return cast("dict[str, object]", found)


class _Registry(JWSRegistry):
    """joserfc's rules, with exactly the algorithms of the caller; `EdDSA` is a name that issuers still use."""

    max_header_length = 4 << 10

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()) or name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]
