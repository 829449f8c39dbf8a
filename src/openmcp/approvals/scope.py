"""What a yes covers: the question that is asked of humans, and the keys under which its answer is found.

Keys are keyed digests: whoever reads the store learns neither arguments nor sessions.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable

import msgspec

from openmcp.mcp.digests import params_digest
from openmcp.model.agent import Agent
from openmcp.model.arrival import Arrival
from openmcp.model.decision import ApprovalNeeded
from openmcp.model.server import Server

Hashing = Callable[[str, bytes], bytes]
"""`Keyring.digest`: purpose and data to 16 bytes."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One call of one agent under one rule, as far as approval looks at it."""

    binding: str
    server: str
    method: str
    kind: str
    subject: str
    arguments: str
    session: str
    needed: ApprovalNeeded
    hashing: Hashing

    @property
    def scope_key(self) -> str:
        """What the rule's scope binds, beside agent, server and rule."""
        return self._bound(self.needed.scope)

    @property
    def key(self) -> str:
        """Under which the newest review of this question is found."""
        return self._digest("question", str(self.needed.rule), self.needed.scope, self.scope_key)

    @property
    def agent_key(self) -> str:
        """Under which open reviews of the agent are counted."""
        return text(self.hashing("review-agent", self.binding.encode()))

    def grant_key(self, scope: str) -> str:
        """Under which a grant of this scope that covers the call is found."""
        # A yes to all gated calls of the agent covers what other rules gate, too.
        rule = "" if scope == "agent" else str(self.needed.rule)
        return self._digest("grant", rule, scope, self._bound(scope))

    def grant_keys(self) -> tuple[str, ...]:
        """Return the keys of all grants that may cover the call, the rule's own scope first."""
        scopes = dict.fromkeys((self.needed.scope, "call", "agent"))
        return tuple(self.grant_key(scope) for scope in scopes)

    def _bound(self, scope: str) -> str:
        what = f"{self.method}\0{self.kind}\0{self.subject}"
        match scope:
            case "call" | "agent+tool+args":
                return f"{what}\0{self.arguments}"
            case "agent+tool":
                return what
            case "session":
                return self.session
            case _:
                return ""

    def _digest(self, purpose: str, rule: str, scope: str, bound: str) -> str:
        parts = "\0\0".join((self.binding, self.server, rule, scope, bound))
        return text(self.hashing(purpose, parts.encode()))


def question(agent: Agent, server: Server, *, arrival: Arrival, needed: ApprovalNeeded, hashing: Hashing) -> Question:
    """Return what has to be asked of humans for a call under one rule."""
    subject = arrival.subjects[0] if arrival.subjects else None
    digest = params_digest(arrival.message) if arrival.message is not None else b""
    session = f"{arrival.session.replica}\0{arrival.session.id}" if arrival.session is not None else ""
    return Question(
        binding=agent.principal.binding,
        server=server.name,
        method=arrival.method,
        kind=subject.kind.value if subject is not None else "",
        subject=subject.name if subject is not None else "",
        arguments=text(hashing("arguments", digest)),
        session=text(hashing("review-session", session.encode())) if session else "",
        needed=needed,
        hashing=hashing,
    )


def text(digest: bytes) -> str:
    """Return a digest as text for keys and records."""
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
