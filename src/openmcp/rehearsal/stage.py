"""The stages that decide, made from a snapshot as the runtime makes them, and who and what they are asked about.

Used by every command of `openmcp policy`.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from openmcp.config.identities import AgentSpec
from openmcp.config.snapshot import Snapshot
from openmcp.mcp import methods, revisions
from openmcp.mcp.message import Json
from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.facts import (
    AgentFacts,
    DecisionInput,
    McpFacts,
    RequestFacts,
    ServerFacts,
    SessionFacts,
    ToolFacts,
)
from openmcp.policy.compile import compile_policies
from openmcp.policy.engine import PolicyEngine

_TRUST: Final = {
    "mtls": "certificate",
    "spiffe": "certificate",
    "jwt": "token",
    "kubernetes": "token",
    "apiKey": "sharedSecret",
    "basic": "sharedSecret",
    "signature": "sharedSecret",
    "mesh": "header",
}
"""What a source of each kind vouches for, unless its operator states something else."""

_USES: Final = {
    SubjectKind.TOOL: methods.TOOLS_CALL,
    SubjectKind.PROMPT: methods.PROMPTS_GET,
    SubjectKind.RESOURCE: methods.RESOURCES_READ,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What an agent asks."""

    method: str
    subject: Subject | None = None
    args: Json = field(default_factory=dict[str, Json])

    @classmethod
    def of(cls, subject: Subject, args: Json = None) -> "Asked":
        """Return the use of a subject: a call, a fetch, a read."""
        return cls(_USES[subject.kind], subject, {} if args is None else args)


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, where, and in what circumstances."""

    agent: AgentFacts
    server: ServerFacts
    now: float
    """Unix seconds."""

    version: str = revisions.LATEST.version
    tool: ToolFacts = ToolFacts()
    request: RequestFacts = RequestFacts()
    session: SessionFacts = SessionFacts()

    def input(self, asked: Asked) -> DecisionInput:
        """Return the question to the policies."""
        tool = self.tool
        if asked.subject is not None and not tool.name:
            tool = ToolFacts(asked.subject.name, tool.digest, tool.pinned, tool.declared)
        return DecisionInput(
            agent=self.agent,
            server=self.server,
            mcp=McpFacts.of(asked.method, asked.subject, self.version),
            tool=tool,
            args=asked.args,
            request=self.request,
            session=self.session,
            now=self.now,
        )


class Stage:
    """What decides under one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.engine = PolicyEngine(compile_policies(snapshot.policies), revision=snapshot.revision)
        self._agents = {agent.name: agent for agent in snapshot.agents}
        self._servers = {server.name: ServerFacts.of(server) for server in snapshot.servers}
        self._methods = {source.name: source.method for source in snapshot.sources}

    def server(self, name: str) -> ServerFacts:
        """Return a server as configured; one that is configured elsewhere has no labels, and the gateway's default."""
        known = self._servers.get(name)
        return known or ServerFacts(name, is_default_allow=self.snapshot.gateway.is_default_allow)

    def knows_server(self, name: str) -> bool:
        """Whether the server is configured here."""
        return name in self._servers

    def agent(self, name: str) -> AgentFacts:
        """Return an agent as configured, verified by its first identity; another one is just its name."""
        spec = self._agents.get(name)
        if spec is None:
            return AgentFacts(id=name, name=name)
        principal, source, trust = self._proof(spec)
        return AgentFacts(
            id=principal,
            name=name,
            groups=tuple(sorted(spec.groups)),
            labels=spec.labels,
            source=source,
            trust=trust,
        )

    def knows_agent(self, name: str) -> bool:
        """Whether the agent is configured here."""
        return name in self._agents

    def _proof(self, spec: AgentSpec) -> tuple[str, str, str]:
        """Return principal, source and trust of an agent's first identity."""
        if not spec.identities:
            return spec.name, "", "anonymous"
        first = spec.identities[0]
        method = self._methods.get(first.source) or _method_of(first.principal_id)
        return first.principal_id, first.source, _TRUST.get(method, "anonymous")


def _method_of(principal_id: str) -> str:
    """Return the kind of source that makes ids of this form, where its name is not configured."""
    forms = {"key": "apiKey", "x509": "mtls", "spiffe": "spiffe", "jwt": "jwt", "k8s": "kubernetes"}
    return {**forms, "basic": "basic", "sig": "signature", "mesh": "mesh"}.get(principal_id.partition(":")[0], "")
