"""The compiled form of `Policy` resources: what a rule matches, without any of their YAML.

Made by `compile`, read by the engine, listing and explanation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from openmcp.mcp.methods import Subject, SubjectKind
from openmcp.model.agent import Agent, Trust
from openmcp.model.content import ContentRule, Phase
from openmcp.model.decision import ApprovalNeeded, Effect, RuleRef
from openmcp.model.server import Server
from openmcp.policy.conditions import NO_CONDITIONS, Conditions

Matcher = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class AgentSelector:
    """Which agents a policy speaks of: all keys that are given must hold, within a list any."""

    names: Matcher | None = None
    ids: Matcher | None = None
    groups: frozenset[str] | None = None
    labels: Mapping[str, str] | None = None
    sources: frozenset[str] | None = None
    min_trust: Trust = Trust.ANONYMOUS

    def selects(self, agent: Agent) -> bool:
        """Whether `agent` is meant."""
        return not self.missing(agent)

    def missing(self, agent: Agent) -> str:
        """Return the first key that does not hold of `agent`; empty if all do."""
        principal = agent.principal
        if principal.trust < self.min_trust:
            return "minTrust"
        if self.names is not None and not self.names(agent.name):
            return "names"
        if self.ids is not None and not self.ids(principal.id):
            return "ids"
        if self.groups is not None and self.groups.isdisjoint(agent.groups):
            return "groups"
        if self.labels is not None and not self.labels.items() <= agent.labels.items():
            return "labels"
        return "sources" if self.sources is not None and principal.source not in self.sources else ""


@dataclass(frozen=True, slots=True)
class ServerSelector:
    """Which servers a policy is attached to: names, or labels that all must be there."""

    names: frozenset[str] | None = None
    labels: Mapping[str, str] | None = None

    @property
    def is_everywhere(self) -> bool:
        """Whether every server is meant."""
        return self.names is None and self.labels is None

    def selects(self, server: Server) -> bool:
        """Whether `server` is meant."""
        if self.names is not None:
            return server.name in self.names
        return self.labels is None or self.labels.items() <= server.labels.items()


@dataclass(frozen=True, slots=True)
class Match:
    """What a rule speaks of."""

    subjects: Mapping[SubjectKind, Matcher] = field(default_factory=dict[SubjectKind, Matcher])
    """If not empty, only subjects of these kinds match, each by its own list."""

    methods: Matcher | None = None

    @property
    def names_methods_only(self) -> bool:
        """Whether the rule is about methods as such: only then may it speak of the protocol's own."""
        return self.methods is not None and not self.subjects

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self.methods is None and not self.subjects

    def covers(self, method: str, subject: Subject | None) -> bool:
        """Whether a message of `method` about `subject` is meant."""
        if self.methods is not None and not self.methods(method):
            return False
        return self.names_subject(subject)

    def names_subject(self, subject: Subject | None) -> bool:
        """Whether `subject` is meant, whatever the method."""
        if not self.subjects:
            return True
        matcher = self.subjects.get(subject.kind) if subject is not None else None
        return matcher is not None and subject is not None and matcher(subject.name)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, attached."""

    ref: RuleRef
    effect: Effect | None
    """`None`: the rule is about content."""

    match: Match
    servers: ServerSelector
    agents: AgentSelector | None
    """`None` = every agent (the server level)."""

    reason: str = ""
    is_shadow: bool = False
    conditions: Conditions = NO_CONDITIONS
    approval: ApprovalNeeded | None = None
    """What a human has to say yes to; where the effect is `require-approval`."""

    content: ContentRule | None = None
    phase: Phase = Phase.CALL

    @property
    def widens(self) -> bool:
        """Whether it gives access: then what cannot be evaluated is no match; in any other rule it is one."""
        return self.effect is Effect.ALLOW

    @property
    def level(self) -> str:
        """Where the rule is visible: `all`, `server` or `agent`. It never changes precedence."""
        if self.agents is not None:
            return "agent"
        return "all" if self.servers.is_everywhere else "server"

    def attaches(self, agent: Agent, server: Server) -> bool:
        """Whether the rule can speak of this pair at all."""
        return self.servers.selects(server) and (self.agents is None or self.agents.selects(agent))
