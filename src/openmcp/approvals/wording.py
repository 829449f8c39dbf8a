"""The sentences and the data with which an agent is told where its review stands. Never a rule's source."""

from datetime import UTC, datetime

from openmcp.approvals.review import Review, Status
from openmcp.errors import ApprovalPending, ApprovalRefused


def pending(review: Review, now: float) -> ApprovalPending:
    """Return what the agent is told while nobody has answered."""
    until = datetime.fromtimestamp(review.expires_at, UTC)
    day = "" if review.expires_at - now < 86400 / 2 else f"{until:%Y-%m-%d} "
    text = (
        f"This call needs human approval. Review {review.code} was sent to {review.needed.flow} and is open until "
        f"{day}{until:%H:%M} UTC. Repeat the same call to continue."
    )
    return ApprovalPending(text, detail=f"review {review.id} is open", data={"review": told(review)})


def refused(review: Review) -> ApprovalRefused:
    """Return what the agent is told when the answer is no."""
    match review.status:
        case Status.DENIED:
            text = f"This call needs human approval, and it was denied: {review.closed_because} Do not retry."
        case Status.EXPIRED:
            text = "This call needs human approval, and nobody answered in time. Do not retry."
        case _:
            text = f"This call needs human approval, and its review was {review.status.value}. Do not retry."
    return ApprovalRefused(text, detail=f"review {review.id} is {review.status.value}", data={"review": told(review)})


def told(review: Review) -> dict[str, object]:
    """Return what the agent may know of a review."""
    return {
        "id": review.id,
        "code": review.code,
        "status": review.status.value,
        "expiresAt": datetime.fromtimestamp(review.expires_at, UTC).isoformat(timespec="seconds"),
    }
