"""Makes a review out of a call: who asks, what, why, and what an approver may see of it.

The arguments are redacted as in the audit log; what was taken out can be revealed in the
console, where the whole is kept beside the review.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from openmcp.approvals.flow import Flow
from openmcp.approvals.review import Asked, Asker, Facts, Needed, Places, Review
from openmcp.approvals.reviews import new_code
from openmcp.approvals.scope import Question
from openmcp.errors import ApprovalRefused
from openmcp.mcp.digests import bound_params
from openmcp.mcp.message import Json, canonical
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.content import Redaction
from openmcp.model.decision import ApprovalNeeded

REASON_META = "openmcp.dev/reason"
"""Where an agent says why it asks."""

SHOWN_CHARS = 32 << 10
"""Longer arguments are cut in the review; the whole is kept beside it."""

_REASON_CHARS = 1000


class Redactor(Protocol):
    """What takes secrets out of a value, as for the audit log."""

    def redact(self, value: Json) -> tuple[Json, tuple[Redaction, ...]]:
        """Return what may be shown, and what was taken out."""
        ...


class Drafted(NamedTuple):
    """A review that nobody has seen, and the arguments as they would be sent."""

    review: Review
    arguments: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Makes reviews."""

    redactor: Redactor
    clock: Callable[[], float]
    environment: str = ""

    async def review(
        self,
        asked: Question,
        needed: ApprovalNeeded,
        flow: Flow,
        *,
        agent: Agent,
        arrival: Arrival,
        definition: str,
        earlier: Review | None,
    ) -> Drafted:
        """Return a review of the call.

        Raises: ApprovalRefused if the flow wants to know the agent's reason, and it gave none.
        """
        reason = _reason(arrival)
        if flow.is_reason_required and not reason:
            raise ApprovalRefused(
                f'This call needs human approval: say why it is needed in _meta["{REASON_META}"], and repeat it.',
                detail="the agent gave no reason, and the approval flow requires one",
            )
        assert arrival.message is not None  # only requests are asked about
        sent: Json = bound_params(arrival.message)
        shown, redactions = self.redactor.redact(sent)
        shown_text = msgspec.json.encode(shown).decode()
        now = self.clock()
        review = Review(
            id=_new_id(now),
            code=new_code(),
            created_at=now,
            expires_at=now + flow.deadline_s,
            environment=self.environment,
            asker=_asker(agent),
            asked=Asked(
                server=asked.server,
                method=asked.method,
                kind=asked.kind,
                subject=asked.subject,
                arguments=asked.arguments,
                shown=shown_text[:SHOWN_CHARS],
                shown_bytes=len(shown_text.encode()),
                redactions=tuple(f"{taken.path} {taken.detector} {taken.length}" for taken in redactions),
                definition=definition,
            ),
            needed=_needed(needed, asked.scope_key),
            places=Places(
                question=asked.key,
                agent=asked.agent_key,
                grant=asked.grant_key(needed.scope),
                grant_once=asked.grant_key("call"),
            ),
            agent_reason=reason,
            session=asked.session,
            facts=_facts(earlier, definition),
        )
        return Drafted(review, canonical(sent))


def _asker(agent: Agent) -> Asker:
    principal = agent.principal
    email = principal.attributes.get("email")
    return Asker(
        name=agent.name,
        binding=principal.binding,
        principal=principal.id,
        source=principal.source,
        method=principal.method,
        trust=principal.trust.label,
        owner=agent.owner.strip().casefold(),
        on_behalf_of=principal.on_behalf_of or "",
        email=email.strip().casefold() if isinstance(email, str) else "",
        is_configured=agent.is_configured,
    )


def _needed(needed: ApprovalNeeded, scope_key: str) -> Needed:
    return Needed(
        policy=needed.rule.policy,
        rule=needed.rule.rule,
        digest=needed.digest,
        flow=needed.flow,
        ttl_s=needed.ttl_s,
        scope=needed.scope,
        scope_key=scope_key,
        max_uses=needed.max_uses,
        reason=needed.reason,
    )


def _facts(earlier: Review | None, definition: str) -> Facts:
    if earlier is None:
        return Facts(is_first_use=True)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(earlier.closed_at))
    by = ", ".join(vote.voter.email for vote in earlier.votes)
    line = f"{when} {earlier.status.value}" + (f" by {by}" if by else "")
    return Facts(has_changed=earlier.asked.definition != definition, earlier=(line, *earlier.facts.earlier)[:5])


def _reason(arrival: Arrival) -> str:
    given = arrival.message.meta.get(REASON_META) if arrival.message is not None else None
    return given.strip()[:_REASON_CHARS] if isinstance(given, str) else ""


def _new_id(now: float) -> str:
    """Return a UUIDv7 (RFC 9562 §5.7): it sorts by time, and nobody can guess it."""
    number = (int(now * 1000) << 80) | (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
