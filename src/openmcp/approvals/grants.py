"""Keeps grants: made once from an approved review, found by what they cover, used by reservation.

Every change is a compare-and-set on the grant's one value. A grant is read fresh whenever it
is asked for: an end, a revocation or a last use anywhere counts at once everywhere.
"""

import secrets
from collections.abc import Callable, Iterable

import msgspec

from openmcp.approvals.review import Review, Verdict
from openmcp.approvals.scope import Question
from openmcp.errors import ApprovalRefused, StoreConflict
from openmcp.model.grant import Grant, GrantStatus
from openmcp.state import keys
from openmcp.state.store import ABSENT, Store, Version

_KEPT_S = 7 * 86400.0
"""How long a grant that has ended can be looked at."""

_TRIES = 50
"""Compare-and-set again after somebody else was first; more rivals than this at once are a fault."""

_CALLER_CLOCK_MARGIN_S = 2.0
"""By how much a grant ends early where nodes share a store that has no clock of its own."""


class Grants:
    """All grants, over the shared store."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        capabilities = store.capabilities
        is_skewed = capabilities.shared and capabilities.clock == "caller"
        self._margin_s = _CALLER_CLOCK_MARGIN_S if is_skewed else 0.0

    async def find(self, question: Question, *, rule_digest: str, definition: str) -> Grant | None:
        """Return a grant that covers the call now, whatever its scope; `None` if there is none.

        Raises: StoreUnavailable.
        """
        for key in question.grant_keys():
            found = await self._get(key)
            if found is not None and self._covers(found[0], question, rule_digest, definition):
                return found[0]
        return None

    async def make(self, review: Review) -> Grant:
        """Return the grant of an approved review; made by whoever comes first, and the same for all others.

        Raises: StoreUnavailable.
        """
        grant = granted(review)
        for _ in range(_TRIES):
            found = await self._get(grant.key)
            if found is not None and found[0].id == grant.id:
                return found[0]
            if found is not None and found[0].created_at > grant.created_at:
                # A newer yes to the same question has taken its place.
                return found[0]
            try:
                await self._put(grant, found[1] if found else None)
            except StoreConflict:
                continue
            await self._store.put(keys.GRANT_KEYS, grant.id, grant.key.encode(), ttl_s=self._life(grant), durable=True)
            return grant
        raise StoreConflict(detail=f"too many rivals for grant {grant.id}")

    async def reserve(self, grant: Grant) -> str:
        """Begin a use, and return the reservation's name; empty where uses are not counted.

        Raises: ApprovalRefused if the grant has ended or has no use left; StoreUnavailable.
        """
        if grant.max_uses is None:
            await self._require(grant)
            return ""
        name = secrets.token_hex(8)

        def reserved(found: Grant) -> Grant:
            self._check(found, grant)
            if not found.has_use_left:
                raise ApprovalRefused(detail=f"grant {grant.id} is used up")
            return msgspec.structs.replace(found, reserved=(*found.reserved, name))

        await self._change(grant.key, reserved)
        return name

    async def consume(self, grant: Grant, reservation: str) -> None:
        """End a use that reached the server. Raises: StoreUnavailable; then the reservation stays, and counts."""
        await self._settle(grant, reservation, used=1)

    async def release(self, grant: Grant, reservation: str) -> None:
        """Give back a use of which nothing reached the server. Raises: StoreUnavailable; then it counts as used."""
        await self._settle(grant, reservation, used=0)

    async def revoke(self, grant_id: str, *, by: str) -> Grant | None:
        """End a grant now; return it, `None` if there is none of that id. Raises: StoreUnavailable."""
        item = await self._store.get(keys.GRANT_KEYS, grant_id)
        if item is None:
            return None
        now = self._clock()

        def revoked(found: Grant) -> Grant:
            is_active = found.id == grant_id and found.status(now) is GrantStatus.ACTIVE
            return msgspec.structs.replace(found, revoked_at=now, revoked_by=by) if is_active else found

        return await self._change(item.value.decode(), revoked)

    async def all(self, *, limit: int = 1000) -> list[Grant]:
        """Return grants that can still be looked at, the newest first. Raises: StoreUnavailable."""
        found: list[Grant] = []
        cursor: str | None = None
        while len(found) < limit:
            page = await self._store.scan(keys.GRANTS, limit=min(limit, 500), cursor=cursor)
            found += [msgspec.msgpack.decode(item.value, type=Grant) for _, item in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        return sorted(found, key=lambda grant: grant.created_at, reverse=True)[:limit]

    async def _settle(self, grant: Grant, reservation: str, *, used: int) -> None:
        if not reservation:
            return

        def settled(found: Grant) -> Grant:
            if reservation not in found.reserved:
                return found
            rest = tuple(name for name in found.reserved if name != reservation)
            return msgspec.structs.replace(found, reserved=rest, used=found.used + used)

        await self._change(grant.key, settled)

    async def _require(self, grant: Grant) -> None:
        found = await self._get(grant.key)
        if found is None:
            raise ApprovalRefused(detail=f"grant {grant.id} is gone")
        self._check(found[0], grant)

    def _check(self, found: Grant, grant: Grant) -> None:
        status = found.status(self._clock() + self._margin_s)
        if found.id != grant.id or status is not GrantStatus.ACTIVE:
            raise ApprovalRefused(detail=f"grant {grant.id} is {status.value}")

    def _covers(self, grant: Grant, question: Question, rule_digest: str, definition: str) -> bool:
        if grant.status(self._clock() + self._margin_s) is not GrantStatus.ACTIVE or not grant.has_use_left:
            return False
        is_same_rule = (grant.policy, grant.rule) == (question.needed.rule.policy, question.needed.rule.rule)
        # Where many tools are covered, the definition of one says nothing of the others.
        is_same_definition = not grant.subject or grant.definition == definition
        return is_same_definition and (not is_same_rule or grant.rule_digest == rule_digest)

    async def _change(self, key: str, change: Callable[[Grant], Grant]) -> Grant:
        for _ in range(_TRIES):
            found = await self._get(key)
            if found is None:
                raise ApprovalRefused(detail="the grant is gone")
            changed = change(found[0])
            if changed is found[0]:
                return changed
            try:
                await self._put(changed, found[1])
            except StoreConflict:
                continue
            return changed
        raise StoreConflict(detail="too many rivals for one grant")

    async def _get(self, key: str) -> tuple[Grant, Version] | None:
        item = await self._store.get(keys.GRANTS, key)
        return (msgspec.msgpack.decode(item.value, type=Grant), item.version) if item is not None else None

    async def _put(self, grant: Grant, version: Version | None) -> None:
        expected = ABSENT if version is None else version
        value = msgspec.msgpack.encode(grant)
        await self._store.put(keys.GRANTS, grant.key, value, ttl_s=self._life(grant), if_version=expected, durable=True)

    def _life(self, grant: Grant) -> float:
        return max(1.0, grant.expires_at - self._clock()) + _KEPT_S


def granted(review: Review) -> Grant:
    """Return the grant that an approved review makes: as narrow as the narrowest of its approvals."""
    approving = [vote for vote in review.votes if vote.verdict is Verdict.APPROVE]
    is_once = any(vote.is_once for vote in approving) or review.needed.scope == "call"
    ttl_s = min([review.needed.ttl_s, *_given(vote.ttl_s for vote in approving)])
    covers_one = is_once or review.needed.scope in ("agent+tool", "agent+tool+args")
    return Grant(
        id=review.id,
        policy=review.needed.policy,
        rule=review.needed.rule,
        expires_at=review.closed_at + ttl_s,
        key=review.places.grant_once if is_once else review.places.grant,
        agent=review.asker.name,
        server=review.asked.server,
        subject=review.asked.subject if covers_one else "",
        flow=review.needed.flow,
        scope="call" if is_once else review.needed.scope,
        rule_digest=review.needed.digest,
        definition=review.asked.definition if covers_one else "",
        created_at=review.closed_at,
        approvers=tuple(vote.voter.email for vote in approving),
        reason=review.closed_because,
        max_uses=1 if is_once else review.needed.max_uses,
    )


def _given(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
