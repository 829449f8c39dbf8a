"""`Policy`: rules, attached to all servers, some servers, or (agent, server) pairs."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from openmcp.config.resources.base import Document, Fields, Items, Label, MatchLabels, Name, SomeItems, Text
from openmcp.config.values import Glob

Mode = Literal["enforce", "shadow"]
Globs = Annotated[Items[Glob], Field(min_length=1)]
_RULE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def _check_rule_id(text: str) -> str:
    if not _RULE_ID.fullmatch(text):
        raise ValueError(f"`{text[:80]}` cannot be a rule id: use up to 128 letters, digits, `.`, `_` and `-`")
    return text


RuleId = Annotated[str, AfterValidator(_check_rule_id)]


class AgentSelector(Fields):
    """Which agents are meant: all keys that are given must hold, within a list any."""

    names: Globs | None = None
    """Names of agents; globs."""

    ids: Globs | None = None
    """Principal ids (`key:keys:support-bot`); globs."""

    groups: Annotated[Items[Label], Field(min_length=1)] | None = None
    """Groups of the agent."""

    labels: Annotated[dict[Label, Text], Field(min_length=1)] | None = None
    """Labels of the agent; all have to be there."""

    sources: Annotated[Items[Name], Field(min_length=1)] | None = None
    """Names of the `IdentitySource`s that verified the caller."""

    min_trust: Literal["anonymous", "header", "sharedSecret", "token", "certificate"] | None = None
    """The weakest trust that is enough, weakest first."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("an empty selector says nothing: leave `agents` out to mean every agent")
        return self


class Match(Fields):
    """What the rule speaks of. If `tools`, `prompts` or `resources` is given, the other kinds do not match."""

    tools: Globs | None = None
    """Tool names; globs: `*` stops at `/`, `**` does not."""

    prompts: Globs | None = None
    """Prompt names; globs."""

    resources: Globs | None = None
    """Resource URIs; globs."""

    methods: Globs | None = None
    """MCP methods (`tools/call`); globs. Default: any."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("an empty match says nothing: leave `match` out to mean everything")
        return self


class Rule(Fields):
    """One rule. Order does not matter: deny beats allow."""

    id: RuleId
    """Name of the rule, unique in the policy; stands in records, metrics and explanations."""

    description: str = ""
    """What the rule is for; never shown to agents."""

    match: Match | None = None
    """What the rule speaks of. Default: everything."""

    effect: Literal["allow", "deny"]
    """What the rule does."""

    reason: Text = ""
    """Shown to an agent whose call this rule denies. Without it the tool looks as if it did not exist."""

    mode: Mode | None = None
    """`shadow`: recorded as what it would have done, without effect. Default: the policy's."""


def _servers_form(value: object) -> str:
    return "@labels" if isinstance(value, dict | MatchLabels) else "@names"


Servers = Annotated[
    Annotated[Annotated[Items[Name], Field(min_length=1)], Tag("@names")] | Annotated[MatchLabels, Tag("@labels")],
    Discriminator(_servers_form),
]


class PolicySettings(Fields):
    """Where the rules apply, and the rules."""

    servers: Servers | None = None
    """Names of servers, or `{matchLabels: …}`. Default: every server."""

    agents: AgentSelector | None = None
    """Which agents are meant. Default: every agent."""

    mode: Mode = "enforce"
    """`enforce`, or `shadow`: every rule is evaluated and recorded, and changes nothing."""

    rules: SomeItems[Rule]
    """The rules."""


class PolicyDocument(Document):
    """Rules, attached to all servers, some servers, or (agent, server) pairs."""

    kind: Literal["Policy"]
    """The resource's kind."""

    spec: PolicySettings
    """The settings."""
