"""User and password (RFC 7617), known to the gateway only as argon2id hashes.

For what cannot do better. A check costs tens of milliseconds and megabytes on purpose, so
it runs beside the event loop, few at a time, once for the same password, and not at all for
peers that have failed too often; what was checked is remembered by a keyed digest.
"""

import asyncio
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from argon2.exceptions import Argon2Error
from argon2.low_level import Type, verify_secret

from openmcp.config.identities import AgentSpec, BasicIdentity, SourceSpec
from openmcp.errors import Overloaded
from openmcp.identity.failures import Failures
from openmcp.identity.lasting import Lasting
from openmcp.identity.source import Absent, Advertised, IdentitySource, Invalid, Verdict
from openmcp.model.agent import Principal, Trust
from openmcp.model.http import Request
from openmcp.model.server import Server

_AUTHORIZATION: Final = "authorization"
_MAX_CHARS: Final = 1024
PARALLEL: Final = max(1, (os.cpu_count() or 1) // 2)
"""Checks at the same time: half of the machine stays with those who are in already."""

WAITING: Final = 16
"""Further ones that may wait for their turn."""

_RIGHT_S: Final = 300.0
_WRONG_S: Final = 60.0
_KNOWN_CAP: Final = 4096
_FINGERPRINT: Final = 12


@dataclass(frozen=True, slots=True)
class Known:
    """What came of a check."""

    hashed: str
    """The hash that it was checked against; another one by now makes it void."""

    is_right: bool
    until: float


class Passwords:
    """Checks passwords, and remembers what came of it; outlives snapshots."""

    def __init__(self, clock: Callable[[], float], verify: Callable[[str, bytes], bool] | None = None) -> None:
        """`verify` says, in a thread of its own, whether a hash is that of a password; default: argon2id."""
        self._clock = clock
        self._verify = verify or is_right
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, Known] = {}
        self._under_way: dict[bytes, asyncio.Task[bool]] = {}
        self._turn = asyncio.Semaphore(PARALLEL)

    def digest(self, user: str, password: bytes) -> bytes:
        """Return what stands for this pair in memory: useless to whoever reads the memory later."""
        return hmac.digest(self._key, user.encode() + b"\0" + password, "sha256")

    def remembered(self, digest: bytes, hashed: str) -> Known | None:
        """Return what came of an earlier check against the same hash, however long ago."""
        known = self._known.get(digest)
        return known if known is not None and known.hashed == hashed else None

    def is_fresh(self, known: Known) -> bool:
        """Whether an earlier check still counts."""
        return self._clock() < known.until

    async def check(self, digest: bytes, password: bytes, hashed: str) -> bool:
        """Return whether the password is the hashed one. Raises: Overloaded if too many wait for theirs."""
        task = self._under_way.get(digest)
        if task is None:
            if len(self._under_way) >= WAITING + PARALLEL:
                raise Overloaded(detail="too many passwords wait to be checked")
            task = self._under_way[digest] = asyncio.create_task(self._checked(digest, password, hashed))
            task.add_done_callback(lambda _: self._under_way.pop(digest, None))
        # Whoever leaves must not take the answer away from the others who sent the same.
        return await asyncio.shield(task)

    async def _checked(self, digest: bytes, password: bytes, hashed: str) -> bool:
        async with self._turn:
            is_right = await asyncio.to_thread(self._verify, hashed, password)
        self._known.pop(digest, None)
        if len(self._known) >= _KNOWN_CAP:
            del self._known[next(iter(self._known))]
        until = self._clock() + (_RIGHT_S if is_right else _WRONG_S)
        self._known[digest] = Known(hashed, is_right, until)
        return is_right


class BasicSource:
    """Recognises users by password."""

    def __init__(self, name: str, users: dict[str, str], passwords: Passwords, failures: Failures) -> None:
        """`users`: user → argon2id hash in PHC form."""
        self._name = name
        self._users = users
        self._passwords = passwords
        self._failures = failures
        self._principals = {user: _principal(name, user, hashed) for user, hashed in users.items()}
        # A user who does not exist takes as long as one who does, so that the time tells nothing.
        self._decoy = next(iter(users.values()), "")

    @classmethod
    def from_spec(cls, spec: SourceSpec, agents: Iterable[AgentSpec], lasting: Lasting) -> "BasicSource":
        """Return the source with all users that agents have there."""
        users = {
            identity.user: identity.hashed
            for agent in agents
            for identity in agent.identities
            if isinstance(identity, BasicIdentity) and identity.source == spec.name
        }
        passwords = lasting.kept(Passwords, spec.name, lambda: Passwords(lasting.clock))
        return cls(spec.name, users, passwords, lasting.failures)

    @property
    def name(self) -> str:
        """Name of the `IdentitySource` resource."""
        return self._name

    @property
    def headers(self) -> frozenset[str]:
        """The header of HTTP authentication."""
        return frozenset({_AUTHORIZATION})

    @property
    def scheme(self) -> str:
        """The scheme `Basic`."""
        return "basic"

    @property
    def issuer(self) -> None:
        """Passwords are no OAuth."""
        return None

    async def verify(self, request: Request, server: Server) -> Verdict:
        """Return the principal whose password was presented. Raises: Overloaded."""
        value = request.headers.get(_AUTHORIZATION)
        if value is None or value[:6].lower() != "basic ":
            return Absent.ABSENT
        pair = _pair(value[6:].strip())
        if pair is None or _AUTHORIZATION in request.repeated:
            return Invalid("the user and password cannot be read")
        user, password = pair
        hashed = self._users.get(user, "")
        digest = self._passwords.digest(user, password)
        known = self._passwords.remembered(digest, hashed or self._decoy)
        if known is not None and self._passwords.is_fresh(known):
            return self._verdict(user, known.is_right)
        if not (known is not None and known.is_right) and not self._failures.may_try(request.peer.address):
            return Invalid("too many failures from this peer")
        if not self._decoy:
            return Invalid("no user is configured")
        return self._verdict(user, await self._passwords.check(digest, password, hashed or self._decoy))

    def vouches(self, principal: Principal) -> bool:
        """Whether the user still has the password that was presented."""
        known = self._principals.get(principal.id.removeprefix(f"basic:{self._name}:"))
        return known is not None and known.fingerprint == principal.fingerprint

    def _verdict(self, user: str, is_right: bool) -> Verdict:
        principal = self._principals.get(user)
        if principal is None:
            # What stands in the place of a user may be a password that was typed there.
            return Invalid("a user who is not configured")
        return principal if is_right else Invalid(f"wrong password of user {user!r}")


def _pair(encoded: str) -> tuple[str, bytes] | None:
    if len(encoded) > _MAX_CHARS:
        return None
    try:
        decoded = binascii.a2b_base64(encoded, strict_mode=True)
        user, colon, password = decoded.partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


def is_right(hashed: str, password: bytes) -> bool:
    """Whether a password is the hashed one."""
    try:
        return verify_secret(hashed.encode(), password, Type.ID)
    except Argon2Error:
        return False


def _principal(source: str, user: str, hashed: str) -> Principal:
    return Principal(
        id=f"basic:{source}:{user}",
        source=source,
        method="basic",
        trust=Trust.SHARED_SECRET,
        fingerprint=hashlib.sha256(hashed.encode()).hexdigest()[:_FINGERPRINT],
    )


_: type[IdentitySource] = BasicSource
__: type[Advertised] = BasicSource
