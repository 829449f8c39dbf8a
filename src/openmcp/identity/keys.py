"""The public keys of a token issuer: given in a file, or fetched and kept fresh.

Keys belong to one issuer; the same key id at another issuer is another key. Fetched keys
are renewed beside the exchanges, used for a while when the issuer cannot be reached, and
then no longer: what cannot be checked is refused.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from openmcp.identity.fetch import Fetch, FetchFailed

log = logging.getLogger(__name__)

REFRESH_S: Final = 300.0
"""Age at which keys are fetched again, beside the exchanges."""

RETRY_S: Final = 10.0
"""Least time between two fetches, whatever tokens come: a key id is whatever its sender wrote."""

_KEYS_CAP: Final = 100
_LEAST_RSA_BITS: Final = 2048
_CANDIDATES: Final = 4
"""Keys that are tried for a token that names none, or one that several have."""

Verifier = RSAKey | ECKey | OKPKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures."""

    kid: str | None
    algorithm: str | None
    """The one algorithm that it is for; `None` = any that fits its kind."""

    key: Verifier

    def fits(self, kid: str | None, algorithm: str) -> bool:
        """Whether the key may have signed a token with this header."""
        is_named = kid is None or self.kid in (None, kid)
        return is_named and self.algorithm in (None, algorithm) and self.key.key_type == _kind_of(algorithm)


class Keys(Protocol):
    """The keys of one issuer."""

    async def find(self, kid: str | None, algorithm: str) -> Sequence[PublicKey]:
        """Return the keys to try for a token with this header, few at most. Raises: KeysUnavailable."""
        ...


class KeysUnavailable(Exception):
    """Nothing can be verified: the issuer's keys could not be had, or are too old by now."""


class StaticKeys:
    """Keys that stand in a file of the configuration."""

    def __init__(self, content: bytes) -> None:
        """Raises: ValueError for a file that holds no usable key."""
        self._keys = parse_file(content)

    async def find(self, kid: str | None, algorithm: str) -> Sequence[PublicKey]:
        """Return the keys to try."""
        return _fitting(self._keys, kid, algorithm)


class IssuerKeys:
    """Keys that an issuer publishes."""

    def __init__(
        self,
        locate: Callable[[Fetch], Coroutine[object, object, str]],
        fetch: Fetch,
        *,
        clock: Callable[[], float],
        beside: Callable[[Coroutine[object, object, None]], "asyncio.Task[None]"],
        stale_s: float,
    ) -> None:
        """`locate` finds the URL of the key set; `stale_s`: how long keys are used after they were last fetched."""
        self._locate = locate
        self._fetch = fetch
        self._clock = clock
        self._beside = beside
        self._stale_s = stale_s
        self._keys: Sequence[PublicKey] = ()
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._fault = ""

    async def find(self, kid: str | None, algorithm: str) -> Sequence[PublicKey]:
        """Return the keys to try; an unknown key id is looked for at the issuer, as often as `RETRY_S` allows."""
        age = self._clock() - self._fetched_at
        if age > self._stale_s:
            await self._renew()
            if self._clock() - self._fetched_at > self._stale_s:
                raise KeysUnavailable(self._fault or "the issuer's keys were not fetched yet")
        elif age > REFRESH_S:
            self._start()
        found = _fitting(self._keys, kid, algorithm)
        if not found:
            await self._renew()
            found = _fitting(self._keys, kid, algorithm)
        return found

    async def _renew(self) -> None:
        task = self._start()
        if task is not None:
            # Whoever leaves must not take the answer away from the others who wait for it.
            await asyncio.wait((task,))

    def _start(self) -> "asyncio.Task[None] | None":
        """Return the fetch under way, a new one if one may be made, else `None`."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if self._clock() - self._tried_at < RETRY_S:
            return None
        self._tried_at = self._clock()
        self._fetching = self._beside(self._take())
        return self._fetching

    async def _take(self) -> None:
        try:
            document = await self._fetch(await self._locate(self._fetch))
            keys = parse_set(document)
        except (FetchFailed, ValueError) as error:
            self._fault = str(error)
            log.warning("issuer-keys-not-fetched", extra={"why": self._fault})
            return
        self._keys, self._fetched_at, self._fault = keys, self._clock(), ""


def parse_set(document: Mapping[str, object]) -> Sequence[PublicKey]:
    """Return the usable keys of a JWK set (RFC 7517 §5): public ones, for signatures. Raises: ValueError if none is."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise ValueError("the key set has no `keys`")
    found = [_parsed(entry) for entry in cast("list[object]", entries)[:_KEYS_CAP]]
    keys = tuple(key for key in found if key is not None)
    if not keys:
        raise ValueError("the key set holds no usable public key")
    return keys


def parse_file(content: bytes) -> Sequence[PublicKey]:
    """Return the keys of a file: a JWK set, or public keys in PEM. Raises: ValueError if it holds none."""
    if b"-----BEGIN" not in content:
        document = cast("object", json.loads(content))
        if not isinstance(document, dict):
            raise ValueError("the file holds neither a JWK set nor PEM")
        return parse_set(cast("dict[str, object]", document))
    blocks = [b"-----BEGIN" + block for block in content.split(b"-----BEGIN")[1:]]
    return tuple(PublicKey(None, None, _from_pem(block)) for block in blocks)


def _from_pem(block: bytes) -> Verifier:
    try:
        raw = load_pem_public_key(block)
    except UnsupportedAlgorithm:
        raise ValueError("the PEM holds a key of an unknown kind") from None
    match raw:
        case RSAPublicKey() if raw.key_size >= _LEAST_RSA_BITS:
            return import_key(block, "RSA")
        case EllipticCurvePublicKey():
            return import_key(block, "EC")
        case Ed25519PublicKey():
            return import_key(block, "OKP")
        case _:
            raise ValueError("the PEM holds no usable public key")


def _parsed(entry: object) -> PublicKey | None:
    """Return a key of a set; `None` for what is secret, private, weak, for encryption, or not understood."""
    if not isinstance(entry, dict):
        return None
    fields = cast("dict[str, object]", entry)
    if fields.get("kty") not in ("RSA", "EC", "OKP") or "d" in fields or fields.get("use", "sig") != "sig":
        return None
    # Only what makes the key: other members, such as certificates, are not ours to judge.
    wanted = {name: value for name, value in fields.items() if name in ("kty", "n", "e", "crv", "x", "y")}
    if fields["kty"] == "RSA" and _bits(fields.get("n")) < _LEAST_RSA_BITS:
        return None
    try:
        key = import_key(cast("dict[str, str | list[str]]", wanted))
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if not isinstance(key, RSAKey | ECKey | OKPKey):
        return None
    kid, algorithm = fields.get("kid"), fields.get("alg")
    return PublicKey(kid if isinstance(kid, str) else None, algorithm if isinstance(algorithm, str) else None, key)


def _bits(modulus: object) -> int:
    """Return the length of an RSA modulus as a key set writes it: six bits a character."""
    return len(modulus.rstrip("=")) * 6 if isinstance(modulus, str) else 0


def _fitting(keys: Iterable[PublicKey], kid: str | None, algorithm: str) -> Sequence[PublicKey]:
    return tuple(key for key in keys if key.fits(kid, algorithm))[:_CANDIDATES]


def _kind_of(algorithm: str) -> str:
    if algorithm.startswith(("RS", "PS")):
        return "RSA"
    return "EC" if algorithm.startswith("ES") else "OKP"


_: type[Keys] = IssuerKeys
