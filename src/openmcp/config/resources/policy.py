"""`Policy`: rules, attached to all servers, some servers, or (agent, server) pairs."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from openmcp.config.resources.base import Document, Fields, Items, Label, MatchLabels, Name, SomeItems, Text
from openmcp.config.values import Duration, Glob, Keyword, PathText, RegexText, SearchText

Mode = Literal["enforce", "shadow"]
Globs = Annotated[Items[Glob], Field(min_length=1)]
Scalar = str | int | float | bool
Condition = Annotated[str, Field(min_length=1)]
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


class Regex(Fields):
    """A name that some part of matches; write `^` and `$` to mean the whole."""

    regex: RegexText
    """RE2 syntax."""


def _pattern_form(value: object) -> str:
    return "@regex" if isinstance(value, dict | Regex) else "@glob"


Pattern = Annotated[Annotated[Glob, Tag("@glob")] | Annotated[Regex, Tag("@regex")], Discriminator(_pattern_form)]
Patterns = Annotated[Items[Pattern], Field(min_length=1)]


class ArgumentMatch(Fields):
    """A test of arguments. Exactly one of `in` and `regex`.

    In a rule that allows, every value at the path has to pass, and there has to be one; in any other rule one that
    passes is enough. A value of a kind that the test does not know (a list, a text among numbers) cannot be judged:
    an allowing rule does not match then, any other does.
    """

    path: PathText
    """Where: `$.env`, `$.items[*].id`, `$['odd name']`."""

    in_: Annotated[Annotated[Items[Scalar], Field(min_length=1)] | None, Field(alias="in")] = None
    """The values that pass."""

    regex: RegexText | None = None
    """RE2; some part of the text has to match, write `^` and `$` to mean the whole."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.in_ is None) == (self.regex is None):
            raise ValueError("a test is one thing: give either `in` or `regex`")
        return self


class Match(Fields):
    """What the rule speaks of. If `tools`, `prompts` or `resources` is given, the other kinds do not match."""

    tools: Patterns | None = None
    """Tool names; globs (`*` stops at `/`, `**` does not) or `{regex: …}`."""

    prompts: Patterns | None = None
    """Prompt names; globs or `{regex: …}`."""

    resources: Patterns | None = None
    """Resource URIs; globs or `{regex: …}`."""

    methods: Patterns | None = None
    """MCP methods (`tools/call`); globs or `{regex: …}`. Default: any."""

    arguments: Annotated[Items[ArgumentMatch], Field(min_length=1)] | None = None
    """Tests of the arguments, all of which must pass."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("an empty match says nothing: leave `match` out to mean everything")
        return self


class Approval(Fields):
    """Who has to say yes, and what the yes is good for. Not available in this version."""

    flow: Name
    """Name of the `ApprovalFlow`."""

    ttl: Duration = "15m"
    """How long a yes holds."""

    scope: Literal["call", "session", "agent", "agent+tool", "agent+tool+args", "agent+rule"] = "agent+tool"
    """What a yes covers: this call once, the rest of the session, all gated calls of the agent on the server, this tool
    (prompt, resource), this tool with the arguments that the human saw, or all that the rule gates."""

    max_uses: Annotated[int, Field(ge=1)] | None = None
    """How often a yes may be used. Default: as often as its life allows."""


class Words(Fields):
    """Words and phrases to look for."""

    keywords: Annotated[Items[Keyword], Field(min_length=1, max_length=1024)]
    """Words and phrases, whatever their case, found whole."""


class Search(Fields):
    """A pattern to look for."""

    regex: SearchText
    """RE2, found anywhere in a text; its first group, where it has one, is what counts."""


def _detect_form(value: object) -> str:
    if isinstance(value, Words) or (isinstance(value, dict) and "keywords" in value):
        return "@keywords"
    return "@regex" if isinstance(value, dict | Search) else "@name"


Detect = Annotated[
    Annotated[Name, Tag("@name")] | Annotated[Search, Tag("@regex")] | Annotated[Words, Tag("@keywords")],
    Discriminator(_detect_form),
]


class Content(Fields):
    """What is looked for in messages, where, and what is done about it."""

    detect: SomeItems[Detect]
    """Names of built-in detectors or of `Detector`s; `{regex: …}` and `{keywords: […]}` for what has no name."""

    in_: Annotated[Items[PathText] | None, Field(alias="in")] = None
    """JSONPaths below the parameters or the result (`$.content[*].text`), with all that is under them. Default: every
    text, every key and every number of the message."""

    min_count: Annotated[int, Field(ge=1)] = 1
    """Fewer findings in one message do nothing."""

    action: Literal["block", "redact", "mask", "log"]
    """`block`: nothing of the message passes. `redact`: `[REDACTED:<detector>]` stands instead. `mask`: the last four
    characters stay. `log`: it is recorded. Of several findings in one place the strictest action counts."""


class Rule(Fields):
    """One rule. Order does not matter: deny beats allow."""

    id: RuleId
    """Name of the rule, unique in the policy; stands in records, metrics and explanations."""

    description: str = ""
    """What the rule is for; never shown to agents."""

    match: Match | None = None
    """What the rule speaks of. Default: everything."""

    when: Annotated[Items[Condition], Field(min_length=1)] | None = None
    """Conditions in CEL, all of which must be true."""

    unless: Annotated[Items[Condition], Field(min_length=1)] | None = None
    """Conditions in CEL, none of which may be true."""

    phase: Literal["call", "response", "list"] = "call"
    """Which messages it is about. `call`: what agents send, and what servers ask of agents; `response`: everything
    towards the agent; `list`: definitions in lists only. The last two are for `content`."""

    effect: Literal["allow", "deny", "require-approval"] | None = None
    """What the rule does: `allow`, `deny`; `require-approval` is not available in this version."""

    content: Content | None = None
    """What must not pass. A rule has either `effect` or `content`."""

    approval: Approval | None = None
    """Whose yes is needed; with `effect: require-approval` only."""

    reason: Text = ""
    """Shown to an agent whose call this rule denies. Without it the tool looks as if it did not exist."""

    mode: Mode | None = None
    """`shadow`: recorded as what it would have done, without effect. Default: the policy's."""

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if (self.effect is None) == (self.content is None):
            raise ValueError("a rule does one thing: give either `effect` or `content`")
        if self.phase != "call" and self.content is None:
            raise ValueError(f"`phase: {self.phase}` is for rules with `content`; access is decided on calls")
        return self

    @model_validator(mode="after")
    def _approval_fits(self) -> Self:
        if (self.approval is not None) != (self.effect == "require-approval"):
            raise ValueError("`effect: require-approval` and `approval` belong together")
        return self


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
