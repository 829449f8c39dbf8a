"""What approvals are configured with, in the units that `approvals/` uses. Part of the `Snapshot`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """People who may approve."""

    name: str
    members: frozenset[str] = frozenset()
    """E-mail addresses in lower case."""

    oidc_groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSpec:
    """Who may approve, how many, by when."""

    name: str
    any_of: tuple[tuple[str, int], ...]
    """Names of groups, and how many of each."""

    deny_at: int
    allows_self: bool
    min_assurance: str
    deadline_s: float
    hold_s: float
    hold_with_progress_s: float
    is_reason_required: bool
    escalation: tuple[tuple[float, tuple[str, ...]], ...]
    """Seconds after which these channels are told."""

    channels: tuple[str, ...]
    open_per_agent: int
    cooldown_s: float


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """What one kind of channel is told; each kind has its own fields."""


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A way to reach people."""

    name: str
    kind: str
    """Name of the implementation in `plugins`, and the key in the resource's `spec`: `slack`, `email`, `webhook`."""

    settings: ChannelSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSettings(ChannelSettings):
    """A Slack app: by socket mode with an app token, else by HTTP with a signing secret."""

    bot_token: str = field(repr=False)
    signing_secret: str = field(default="", repr=False)
    app_token: str = field(default="", repr=False)
    channel: str = ""
    users: Mapping[str, str] = field(default_factory=dict[str, str])
    """Slack user id → e-mail in lower case."""

    shows_arguments: bool = False
    api_url: str = "https://slack.com/api/"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailSettings(ChannelSettings):
    """Mail by SMTP."""

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    """Addresses in lower case."""

    start_tls: str = "required"
    """`required`, `implicit` or `none`."""

    username: str = ""
    password: str = field(default="", repr=False)
    decide: str = "login"
    """`login` (the mail holds a link) or `code` (and a secret that is good for a vote)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings(ChannelSettings):
    """Signed HTTP calls to a system of one's own, and votes back."""

    url: str
    secret: bytes = field(repr=False)
    assurance: str = "login"
