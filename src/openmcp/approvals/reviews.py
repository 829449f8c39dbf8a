"""Keeps reviews: opened once per question, voted on by compare-and-set, ended once.

A repeat of the question attaches to the open review. Any node may finish what another one
began: all there is to know stands in the store.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from openmcp.approvals.flow import Flow
from openmcp.approvals.review import Review, Status, Vote
from openmcp.errors import ApprovalRefused, StoreConflict, VoteRefused
from openmcp.state import keys
from openmcp.state.store import ABSENT, Store, Version

_KEPT_S: Final = 30 * 86400.0
"""How long a review can be looked at after it was opened; the audit log keeps it as long as you do."""

_TRIES: Final = 400
"""Compare-and-set again after somebody else was first: two hundred people may vote at once."""

_PIECE: Final = 200 << 10
_CODE_CHARS: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
"""Without those that are taken for one another when read aloud."""

CODE_LENGTH: Final = 6


def new_code() -> str:
    """Return six characters to talk about a review."""
    return "".join(secrets.choice(_CODE_CHARS) for _ in range(CODE_LENGTH))


class Reviews:
    """All reviews, over the shared store. Every method raises StoreUnavailable where the store is down."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def newest(self, question: str) -> Review | None:
        """Return the newest review of a question; an open one whose deadline has passed is ended first."""
        item = await self._store.get(keys.REVIEW_QUESTIONS, question)
        return await self.get(item.value.decode()) if item is not None else None

    async def get(self, review_id: str) -> Review | None:
        """Return a review as it stands now; `None` if there is none of that id."""
        found = await self._get(review_id)
        if found is None:
            return None
        review, _ = found
        if review.is_open and self._clock() >= review.expires_at:
            return await self.close(review_id, Status.EXPIRED, because="Nobody answered in time.")
        return review

    async def by_code(self, code: str) -> Review | None:
        """Return the open review with this code; `None` if there is none, or more than one."""
        found = [review async for review in self.open_ones() if review.code == code.upper()]
        return found[0] if len(found) == 1 else None

    async def open(self, review: Review, *, arguments: bytes, limit: int) -> Review:
        """Open a review, or return the open one that somebody was quicker to open for the same question.

        `arguments`: as they would be sent; `limit`: how many the agent may have open.
        Raises: ApprovalRefused if it has as many already.
        """
        places = review.places
        for _ in range(_TRIES):
            item = await self._store.get(keys.REVIEW_QUESTIONS, places.question)
            there = await self.get(item.value.decode()) if item is not None else None
            if there is not None and there.is_open:
                return there
            await self._require_room(places.agent, limit)
            # The review first: a question must never lead to nothing.
            await self._keep(review, arguments)
            try:
                await self._store.put(
                    keys.REVIEW_QUESTIONS,
                    places.question,
                    review.id.encode(),
                    ttl_s=_KEPT_S,
                    if_version=ABSENT if item is None else item.version,
                    durable=True,
                )
            except StoreConflict:
                await self._drop(review)
                continue
            return review
        raise StoreConflict(detail="too many rivals for one question")

    async def repeated(self, review_id: str) -> None:
        """Count that the agent asked again."""
        await self._change(review_id, lambda review: _more(review) if review.is_open else review)

    async def vote(self, review_id: str, vote: Vote, flow: Flow) -> tuple[Review, bool]:
        """Cast a vote; return the review as it stands then, and whether this vote has ended it.

        Raises: VoteRefused, with a sentence for the voter.
        """
        before = Status.PENDING

        def voted(review: Review) -> Review:
            return review.with_vote(vote, flow)

        review = await self._change(review_id, voted)
        if review is None:
            raise VoteRefused("There is no such review.")
        return review, review.status is not before

    async def close(self, review_id: str, status: Status, *, because: str = "") -> Review | None:
        """End a review in another way than by votes; one that has ended stays as it is."""
        now = self._clock()

        def closed(review: Review) -> Review:
            return review.closed(status, at=now, because=because) if review.is_open else review

        return await self._change(review_id, closed)

    async def escalated(self, review_id: str, steps: int) -> Review | None:
        """Note how many steps of the escalation were taken."""

        def noted(review: Review) -> Review:
            return msgspec.structs.replace(review, escalated=steps) if review.escalated < steps else review

        return await self._change(review_id, noted)

    async def open_ones(self) -> AsyncIterator[Review]:
        """Yield the reviews that wait for people, the oldest of each agent first."""
        cursor: str | None = None
        while True:
            page = await self._store.scan(keys.OPEN_REVIEWS, limit=500, cursor=cursor)
            for key, _ in page.items:
                review = await self.get(key.partition(" ")[2])
                if review is not None and review.is_open:
                    yield review
            cursor = page.cursor
            if cursor is None:
                return

    async def all(self, *, limit: int = 1000) -> list[Review]:
        """Return reviews that can still be looked at, the newest first."""
        found: list[Review] = []
        cursor: str | None = None
        while True:
            page = await self._store.scan(keys.REVIEWS, limit=500, cursor=cursor)
            found += [msgspec.msgpack.decode(item.value, type=Review) for _, item in page.items]
            cursor = page.cursor
            if cursor is None:
                return sorted(found, key=lambda review: review.created_at, reverse=True)[:limit]

    async def arguments(self, review_id: str) -> bytes:
        """Return the arguments as they would be sent, whole."""
        pieces: list[bytes] = []
        cursor: str | None = None
        while True:
            page = await self._store.scan(keys.REVIEW_ARGUMENTS, f"{review_id} ", limit=100, cursor=cursor)
            pieces += [item.value for _, item in page.items]
            cursor = page.cursor
            if cursor is None:
                return b"".join(pieces)

    def watch(self, review_id: str) -> AsyncIterator[str]:
        """Yield hints that a review may have changed."""
        return self._store.watch(keys.REVIEWS, review_id)

    async def _require_room(self, agent: str, limit: int) -> None:
        page = await self._store.scan(keys.OPEN_REVIEWS, f"{agent} ", limit=limit)
        if len(page.items) < limit:
            return
        # Some may have ended without anybody looking.
        for key, _ in page.items:
            await self.get(key.partition(" ")[2])
        if len((await self._store.scan(keys.OPEN_REVIEWS, f"{agent} ", limit=limit)).items) >= limit:
            raise ApprovalRefused(
                "This call needs human approval, and this agent has too many open reviews: wait for their answers.",
                detail=f"the agent has {limit} open reviews",
            )

    async def _keep(self, review: Review, arguments: bytes) -> None:
        for number, start in enumerate(range(0, len(arguments), _PIECE)):
            piece = arguments[start : start + _PIECE]
            await self._store.put(keys.REVIEW_ARGUMENTS, f"{review.id} {number:04d}", piece, ttl_s=_KEPT_S)
        await self._store.put(keys.REVIEWS, review.id, _encoded(review), ttl_s=_KEPT_S, if_version=ABSENT, durable=True)
        await self._store.put(keys.OPEN_REVIEWS, _open_key(review), b"", ttl_s=_KEPT_S)

    async def _drop(self, review: Review) -> None:
        """Forget a review that nobody has seen: another one of the same question was quicker."""
        await self._store.delete(keys.OPEN_REVIEWS, _open_key(review))
        await self._store.delete(keys.REVIEWS, review.id)

    async def _change(self, review_id: str, change: Callable[[Review], Review]) -> Review | None:
        for _ in range(_TRIES):
            found = await self._get(review_id)
            if found is None:
                return None
            review, version = found
            changed = change(review)
            if changed is review:
                return review
            try:
                await self._store.put(
                    keys.REVIEWS, review_id, _encoded(changed), ttl_s=_KEPT_S, if_version=version, durable=True
                )
            except StoreConflict:
                continue
            if review.is_open and not changed.is_open:
                await self._store.delete(keys.OPEN_REVIEWS, _open_key(changed))
            return changed
        raise StoreConflict(detail=f"too many rivals for review {review_id}")

    async def _get(self, review_id: str) -> tuple[Review, Version] | None:
        item = await self._store.get(keys.REVIEWS, review_id) if review_id else None
        return (msgspec.msgpack.decode(item.value, type=Review), item.version) if item is not None else None


def _encoded(review: Review) -> bytes:
    return msgspec.msgpack.encode(review)


def _open_key(review: Review) -> str:
    return f"{review.places.agent} {review.id}"


def _more(review: Review) -> Review:
    return msgspec.structs.replace(review, repeats=review.repeats + 1)
