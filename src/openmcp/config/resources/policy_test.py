"""`PolicyTest`: cases for `openmcp policy test`. A gateway reads past it."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, WithJsonSchema, model_validator

from openmcp.config.resources.base import Document, Fields, Items, Label, Name, SomeItems, Text
from openmcp.config.values import Duration


def moment_s(text: str) -> float:
    """Return Unix seconds of `2026-11-23T10:00:00Z`.

    Raises: ValueError for anything else, and for a time without its zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f'`{text[:80]}` is not a moment: write date, time and zone, such as "2026-11-23T10:00:00Z"')
    return moment.timestamp()


def _check_moment(text: str) -> str:
    moment_s(text)
    return text


Moment = Annotated[str, AfterValidator(_check_moment)]
Arguments = dict[str, Annotated[JsonValue, WithJsonSchema({})]]
"""Whatever JSON holds, by name."""

Decision = Literal["allow", "deny", "require-approval", "blocked", "redacted"]


class GivenAgent(Fields):
    """Who asks. Where an `Agent` of this name is among the files, what is left out here is taken from it."""

    name: Label
    """Name of the agent."""

    id: Label | None = None
    """The principal's id. Default: that of the `Agent`'s first identity, else the name."""

    groups: Items[Label] | None = None
    """Groups of the agent. Default: those of the `Agent`."""

    labels: dict[Label, Text] | None = None
    """Labels of the agent. Default: those of the `Agent`."""

    attributes: Arguments = Field(default_factory=dict[str, JsonValue])
    """What the credential says of its holder (`agent.attributes`)."""

    source: Name | None = None
    """The `IdentitySource` that verified it. Default: that of the `Agent`'s first identity."""

    trust: Literal["anonymous", "header", "sharedSecret", "token", "certificate"] | None = None
    """How strongly it was verified. Default: as the `Agent`'s first identity is, else `anonymous`."""


class GivenRequest(Fields):
    """The HTTP request around the call."""

    ip: Text = ""
    """Address of the peer (`request.ip`)."""

    headers: dict[Label, Text] = Field(default_factory=dict[str, str])
    """Headers that rules may read (`request.headers`)."""


class GivenSession(Fields):
    """The legacy session of the call."""

    id: Label = "session"
    """What it is called (`session.id`)."""

    age: Duration | None = None
    """How long it has been there. Default: it has just begun."""

    calls: Annotated[int, Field(ge=0)] = 0
    """Calls before this one."""


class GivenTool(Fields):
    """The definition of what is used."""

    digest: Text = ""
    """Its digest (`tool.digest`)."""

    pinned: bool = False
    """Whether it was accepted (`tool.pinned`)."""

    declared: Arguments = Field(default_factory=dict[str, JsonValue])
    """The server's own annotations (`tool.declared`)."""


class Given(Fields):
    """The scene: who asks, where, and when."""

    agent: GivenAgent | None = None
    """Who asks; has to be given for all cases, or in each."""

    server: Name | None = None
    """Name of the `MCPServer` that is asked; has to be given for all cases, or in each."""

    now: Moment | None = None
    """Date and time, with zone. Default: the moment of the test."""

    version: Text = ""
    """Revision of the protocol (`mcp.version`). Default: the newest."""

    request: GivenRequest = GivenRequest()
    """The HTTP request."""

    session: GivenSession | None = None
    """The session. Default: there is none."""

    tool: GivenTool = GivenTool()
    """The definition of what is used."""


class Call(Fields):
    """What is asked: one of `tool`, `prompt` and `resource`, or a `method` with its `params`."""

    tool: Label | None = None
    """Name of a tool that is called."""

    prompt: Label | None = None
    """Name of a prompt that is fetched."""

    resource: Label | None = None
    """URI of a resource that is read."""

    args: Arguments = Field(default_factory=dict[str, JsonValue])
    """Arguments of the tool or prompt."""

    method: Label | None = None
    """Another MCP method: `resources/subscribe` with a resource, `sampling/createMessage`, …"""

    params: Arguments = Field(default_factory=dict[str, JsonValue])
    """Parameters of a method that names neither tool, prompt nor resource."""

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        named = [name for name in ("tool", "prompt", "resource") if getattr(self, name) is not None]
        if len(named) > 1 or not (named or self.method):
            raise ValueError("a call is one thing: give `tool`, `prompt`, `resource` or `method`")
        if self.args and not {"tool", "prompt"} & set(named):
            raise ValueError("only tools and prompts take `args`; write `params` for other methods")
        if self.params and named:
            raise ValueError("`params` are for methods that name nothing; tools and prompts take `args`")
        return self


class GivenGrant(Fields):
    """The yes of a human that is there when the call comes."""

    rule: Label
    """The rule that asked: its id, or `policy/id`."""

    tool: Label | None = None
    """The tool it was given for; where its scope names one, as `prompt` and `resource`."""

    prompt: Label | None = None
    """The prompt it was given for."""

    resource: Label | None = None
    """The resource it was given for."""

    args: Arguments = Field(default_factory=dict[str, JsonValue])
    """The arguments it was given for; where its scope says `args` or `call`."""

    approved_at: Moment
    """When it was given. It ends after the `ttl` of its rule."""

    uses: Annotated[int, Field(ge=0)] = 0
    """How often it was used already."""


class Expected(Fields):
    """What has to come of it. What is left out is not looked at."""

    decision: Decision
    """`allow`, `deny`, `require-approval`: what the rules and grants say; `blocked`, `redacted`: what content rules
    did to the call or to its response."""

    rule: Label | None = None
    """The deciding rule: its id, or `policy/id`."""

    flow: Name | None = None
    """The `ApprovalFlow` that would be asked."""

    path: Text | None = None
    """Where a content rule found something: `$.content[0].text`."""

    detector: Label | None = None
    """What found it."""

    reason: Text | None = None
    """What the agent is told."""


class Case(Fields):
    """One call, and what has to come of it."""

    name: Label
    """What the case shows, as a sentence."""

    given: Given = Given()
    """What is different from the test's `given`, field by field."""

    call: Call
    """What is asked."""

    grants: Items[GivenGrant] = ()
    """What humans have approved before."""

    response: Arguments | None = None
    """The result that the server gives, if the call comes to it."""

    expect: Expected
    """What has to come of it."""


class PolicyTestSettings(Fields):
    """The scene, and the cases."""

    given: Given = Given()
    """The scene of all cases."""

    cases: SomeItems[Case]
    """The cases; each stands for itself."""

    @model_validator(mode="after")
    def _every_scene_is_whole(self) -> Self:
        for case in self.cases:
            for name in ("agent", "server"):
                if getattr(self.given, name) is None and getattr(case.given, name) is None:
                    raise ValueError(f"case `{case.name[:80]}` has no {name}: give one in `given`")
        return self


class PolicyTestDocument(Document):
    """Cases for `openmcp policy test`: what the policies have to say to which call. A gateway reads past it."""

    kind: Literal["PolicyTest"]
    """The resource's kind."""

    spec: PolicyTestSettings
    """The settings."""
