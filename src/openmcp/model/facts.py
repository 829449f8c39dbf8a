"""All that a decision may look at: the `DecisionInput`. Nothing else has a part in a decision.

Made by `policy/` for a message that rules with conditions speak of, kept with the record so
that the same question can be put again, to the same policies or to others. Frozen, and JSON
all through (`msgspec`): what is read back is equal to what was written.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent, Principal, Trust
from openmcp.model.server import Authentication, Server

# The decoder takes no recursive types: what is nested at will is declared as anything, and holds JSON values.
Attributes: TypeAlias = Mapping[str, Any]
Value: TypeAlias = Any


class AgentFacts(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`agent` of the expressions."""

    id: str
    """Of the principal."""

    name: str
    groups: tuple[str, ...] = ()
    """Sorted."""

    labels: Mapping[str, str] = {}
    attributes: Attributes = {}
    """What the credential said of its holder."""

    source: str = ""
    trust: str = "anonymous"
    """As configuration writes it: `sharedSecret`, `certificate`, …"""

    @classmethod
    def of(cls, agent: Agent) -> "AgentFacts":
        """Return what rules may know of an agent."""
        principal = agent.principal
        return cls(
            id=principal.id,
            name=agent.name,
            groups=tuple(sorted(agent.groups)),
            labels=agent.labels,
            attributes=principal.attributes,
            source=principal.source,
            trust=principal.trust.label,
        )

    def agent(self) -> Agent:
        """Return an agent of whom rules would know just this. Raises: KeyError for a trust that there is not."""
        trust = Trust.of(self.trust)
        principal = Principal(self.id, self.source, "recorded", trust, attributes=self.attributes)
        return Agent(self.name, principal, groups=frozenset(self.groups), labels=self.labels)


class ServerFacts(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`server` of the expressions, and what happens on it where no rule matches."""

    name: str
    labels: Mapping[str, str] = {}
    is_default_allow: bool = False

    @classmethod
    def of(cls, server: Server) -> "ServerFacts":
        """Return what rules may know of a server."""
        return cls(server.name, server.labels, server.is_default_allow)

    def server(self) -> Server:
        """Return a server of which rules would know just this; it leads nowhere."""
        return Server(
            self.name,
            f"/{self.name}",
            (),
            Authentication(()),
            labels=self.labels,
            is_default_allow=self.is_default_allow,
        )


class McpFacts(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`mcp` of the expressions: what is asked."""

    method: str
    kind: str = ""
    """`tool`, `prompt`, `resource`; empty where the method names none."""

    name: str = ""
    """Of the tool or prompt."""

    uri: str = ""
    """Of the resource."""

    version: str = ""
    """Revision of the protocol."""

    @classmethod
    def of(cls, method: str, subject: Subject | None, version: str = "") -> "McpFacts":
        """Return what is asked by a method about a subject."""
        if subject is None:
            return cls(method, version=version)
        is_resource = subject.kind is SubjectKind.RESOURCE
        name, uri = ("", subject.name) if is_resource else (subject.name, "")
        return cls(method, subject.kind.value, name, uri, version)

    @property
    def subject(self) -> Subject | None:
        """The tool, prompt or resource."""
        return Subject(SubjectKind(self.kind), self.uri or self.name) if self.kind else None


class ToolFacts(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`tool` of the expressions: the definition of what is used, as far as the catalogue knows it."""

    name: str = ""
    digest: str = ""
    """Hex SHA-256 of the definition; empty = not known."""

    pinned: bool = False
    """Whether the definition is one that was accepted."""

    declared: Attributes = {}
    """The server's own `annotations`: hints that nobody vouches for."""


class RequestFacts(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`request` of the expressions."""

    ip: str = ""
    """Address of the peer; empty for a Unix socket."""

    headers: Mapping[str, str] = {}
    """Those that `policy.headers` names and that were sent; names in lower case."""


class SessionFacts(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`session` of the expressions; all empty where there is none."""

    id: str = ""
    """Keyed digest, as records have it; never the id itself."""

    age_s: float = 0.0
    calls: int = 0
    """Calls that were forwarded in this session before this one."""


class DecisionInput(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, rename="camel"):
    """One question to the policies."""

    agent: AgentFacts
    server: ServerFacts
    mcp: McpFacts
    tool: ToolFacts = ToolFacts()
    args: Value = {}
    """Arguments of a tool or prompt; for other methods that name no subject their parameters without `_meta`."""

    request: RequestFacts = RequestFacts()
    session: SessionFacts = SessionFacts()
    now: float = 0.0
    """Unix seconds."""
