"""`ApproverGroup`, `ApprovalFlow`, `ReviewChannel`: who is asked, how many have to agree, and how they are reached."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from openmcp.config.resources.base import Document, Fields, Items, Name, SecretRef, Text, only_field
from openmcp.config.values import Duration, WebUrl

_EMAIL = re.compile(r"[^@\s<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,253}")
_SLACK_USER = re.compile(r"[UW][A-Z0-9]{4,20}")


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise ValueError(f"`{text[:80]}` is not an e-mail address: write it like carol@example.com")
    return text.lower()


def _slack_user(text: str) -> str:
    if not _SLACK_USER.fullmatch(text):
        raise ValueError(f"`{text[:40]}` is not the id of a Slack user: it looks like U012AB3CD")
    return text


SlackUser = Annotated[str, AfterValidator(_slack_user)]
Email = Annotated[str, AfterValidator(_email)]
Count = Annotated[int, Field(ge=1)]


class ApproverGroupSettings(Fields):
    """The people. Somebody is a member by either list."""

    members: Items[Email] = ()
    """E-mail addresses, as the login or the channel verifies them. Upper and lower case are the same."""

    oidc_groups: Items[Text] = ()
    """Groups in the claims of the console's login."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.members and not self.oidc_groups:
            raise ValueError("nobody is in this group: give `members` or `oidcGroups`")
        return self


class ApproverGroupDocument(Document):
    """People who may approve."""

    kind: Literal["ApproverGroup"]
    """The resource's kind."""

    spec: ApproverGroupSettings
    """The people."""


class Quorum(Fields):
    """So many people of one group."""

    group: Name
    """Name of the `ApproverGroup`."""

    approvals: Count = 1
    """How many of them have to approve."""


class Approvers(Fields):
    """Whose approval is enough."""

    any_of: Annotated[Items[Quorum], Field(min_length=1)]
    """Each group with its own count; one that is full approves."""


class EscalationStep(Fields):
    """Whom to tell when nobody has answered."""

    after: Duration
    """Time since the review was opened."""

    channels: Annotated[Items[Name], Field(min_length=1)]
    """Names of `ReviewChannel`s."""


class FlowLimits(Fields):
    """So that nobody is worn down by questions."""

    open_per_agent: Count = 10
    """Open reviews of one agent; what comes beyond is refused."""

    cooldown_after_deny: Duration = "10m"
    """For how long a denial answers the same question again, before people are asked anew."""


class ApprovalFlowSettings(Fields):
    """Who may approve, how, and by when."""

    approvers: Approvers
    """Whose approval is enough."""

    deny_at: Count = 1
    """So many denials refuse; one, because a doubt weighs more than a yes."""

    self_approval: bool = False
    """Whether the agent's owner, or the user it acts for, may approve."""

    min_assurance: Literal["code", "chat", "login"] = "chat"
    """The weakest way to vote that counts: a secret from a mail, a chat account, a login in the console."""

    deadline: Duration = "30m"
    """A review that nobody answers for so long expires, which refuses."""

    hold: Duration = "25s"
    """How long the agent's call waits before it is told to ask again. Many clients give up after 60 s."""

    hold_with_progress: Duration = "25s"
    """The same for an agent that takes progress notifications; up to 240 s. Many clients' timers do not heed them."""

    agent_reason: Literal["optional", "required"] = "optional"
    """Whether the agent has to say why, in `_meta["openmcp.dev/reason"]`."""

    escalate: Items[EscalationStep] = ()
    """Whom to tell, and when, if nobody has answered."""

    channels: Items[Name] = ()
    """Names of `ReviewChannel`s that are told at once. The console and the command line always are."""

    limits: FlowLimits = FlowLimits()
    """Against floods."""


class ApprovalFlowDocument(Document):
    """Who may approve, how many, through which channels, by when."""

    kind: Literal["ApprovalFlow"]
    """The resource's kind."""

    spec: ApprovalFlowSettings
    """The settings."""


class Slack(Fields):
    """A Slack app of yours. By socket mode with `appToken`, else by HTTP at `<console>/channels/<name>`."""

    bot_token: SecretRef
    """Token of the bot user (`xoxb-…`), with the scope `chat:write`."""

    signing_secret: SecretRef | None = None
    """The app's signing secret, with which clicks are verified that come by HTTP."""

    app_token: SecretRef | None = None
    """App-level token (`xapp-…`) with the scope `connections:write`: clicks come by socket mode."""

    channel: Text
    """Where reviews are posted: `#support-approvals`, or a channel id."""

    users: Annotated[dict[SlackUser, Email], Field(default_factory=dict)]
    """Which Slack user is which approver. Nobody else's click is a vote."""

    show_arguments: bool = False
    """Whether the arguments stand in the message, redacted as in the audit log."""

    api_url: WebUrl = "https://slack.com/api/"
    """Base URL of Slack's Web API, for proxies."""

    @model_validator(mode="after")
    def _one_way_back(self) -> Self:
        if (self.signing_secret is None) == (self.app_token is None):
            raise ValueError(
                "clicks come back in one way: give either `signingSecret` (HTTP) or `appToken` (socket mode)"
            )
        return self


class Smtp(Fields):
    """The mail server."""

    host: Text
    """Host name."""

    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """Port."""

    start_tls: Literal["required", "implicit", "none"] = "required"
    """`required`: STARTTLS or nothing is sent; `implicit`: TLS from the start; `none`: only towards this machine."""

    username: Text | None = None
    """Account to log in with."""

    password: SecretRef | None = None
    """Its password."""

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("a login needs both: give `username` and `password`, or neither")
        return self


class Mail(Fields):
    """E-mail."""

    smtp: Smtp
    """The mail server."""

    sender: Annotated[Email, Field(alias="from")]
    """Address that mails come from."""

    to: Annotated[Items[Email], Field(min_length=1)]
    """Addresses that are told."""

    decide: Literal["login", "code"] = "login"
    """`login`: the mail links to the console. `code`: it also holds a secret; typed in there, it is good for a vote."""


class Webhook(Fields):
    """A system of your own: it is told by signed calls (Standard Webhooks), and votes by them."""

    url: WebUrl
    """Where events are posted."""

    secret: SecretRef
    """The secret both sides sign with; `whsec_…` in base64, or any text of 24 bytes or more."""

    assurance: Literal["code", "chat", "login"] = "login"
    """How sure that system is of who votes."""


class ReviewChannelSettings(Fields):
    """Exactly one kind of channel."""

    slack: Slack | None = None
    """Slack."""

    email: Mail | None = None
    """E-mail."""

    webhook: Webhook | None = None
    """Signed HTTP calls."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        only_field(self)
        return self

    @property
    def kind(self) -> str:
        """`slack`, `email` or `webhook`."""
        return only_field(self)[0]


class ReviewChannelDocument(Document):
    """A way to reach the people who may approve."""

    kind: Literal["ReviewChannel"]
    """The resource's kind."""

    spec: ReviewChannelSettings
    """The channel."""
