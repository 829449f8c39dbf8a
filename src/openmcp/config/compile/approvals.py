"""What approvals need out of `ApproverGroup`, `ApprovalFlow` and `ReviewChannel` resources."""

import base64
import binascii

from openmcp.config import values
from openmcp.config.approving import (
    ChannelSettings,
    ChannelSpec,
    EmailSettings,
    FlowSpec,
    GroupSpec,
    SlackSettings,
    WebhookSettings,
)
from openmcp.config.documents import Placed
from openmcp.config.resources import ApprovalFlowDocument, ApproverGroupDocument, ReviewChannelDocument
from openmcp.config.resources.approvals import Mail, Slack, Webhook
from openmcp.config.resources.base import SecretRef
from openmcp.config.secrets import Secrets, without_newline

_LEAST_SECRET_BYTES = 24
_WEBHOOK_PREFIX = b"whsec_"


def compile_group(document: ApproverGroupDocument) -> GroupSpec:
    """Return the people of a group."""
    spec = document.spec
    return GroupSpec(document.metadata.name, frozenset(spec.members), frozenset(spec.oidc_groups))


def compile_flow(document: ApprovalFlowDocument) -> FlowSpec:
    """Return an approval flow."""
    spec = document.spec
    return FlowSpec(
        name=document.metadata.name,
        any_of=tuple((quorum.group, quorum.approvals) for quorum in spec.approvers.any_of),
        deny_at=spec.deny_at,
        allows_self=spec.self_approval,
        min_assurance=spec.min_assurance,
        deadline_s=values.duration_s(spec.deadline),
        hold_s=values.duration_s(spec.hold),
        hold_with_progress_s=values.duration_s(spec.hold_with_progress),
        is_reason_required=spec.agent_reason == "required",
        escalation=tuple((values.duration_s(step.after), step.channels) for step in spec.escalate),
        channels=spec.channels,
        open_per_agent=spec.limits.open_per_agent,
        cooldown_s=values.duration_s(spec.limits.cooldown_after_deny),
    )


def compile_channel(placed: Placed[ReviewChannelDocument], secrets: Secrets) -> ChannelSpec:
    """Return a channel with its credentials; those that cannot be read are reported at their place."""
    spec = placed.document.spec
    settings: ChannelSettings
    if spec.slack is not None:
        settings = _slack(placed, spec.slack, secrets)
    elif spec.email is not None:
        settings = _email(placed, spec.email, secrets)
    else:
        assert spec.webhook is not None  # exactly one is given
        settings = _webhook(placed, spec.webhook, secrets)
    return ChannelSpec(placed.name, spec.kind, settings)


def _slack(placed: Placed[ReviewChannelDocument], slack: Slack, secrets: Secrets) -> SlackSettings:
    return SlackSettings(
        bot_token=_text(placed, slack.bot_token, secrets, "slack", "botToken"),
        signing_secret=_text(placed, slack.signing_secret, secrets, "slack", "signingSecret"),
        app_token=_text(placed, slack.app_token, secrets, "slack", "appToken"),
        channel=slack.channel,
        users=slack.users,
        shows_arguments=slack.show_arguments,
        api_url=slack.api_url if slack.api_url.endswith("/") else f"{slack.api_url}/",
    )


def _email(placed: Placed[ReviewChannelDocument], mail: Mail, secrets: Secrets) -> EmailSettings:
    return EmailSettings(
        host=mail.smtp.host,
        port=mail.smtp.port,
        sender=mail.sender,
        to=mail.to,
        start_tls=mail.smtp.start_tls,
        username=mail.smtp.username or "",
        password=_text(placed, mail.smtp.password, secrets, "email", "smtp", "password"),
        decide=mail.decide,
    )


def _webhook(placed: Placed[ReviewChannelDocument], webhook: Webhook, secrets: Secrets) -> WebhookSettings:
    loc = ("spec", "webhook", "secret")
    secret = without_newline(secrets.read(placed, webhook.secret, *loc))
    if secret.startswith(_WEBHOOK_PREFIX):
        try:
            secret = base64.b64decode(secret.removeprefix(_WEBHOOK_PREFIX), validate=True)
        except binascii.Error:
            secrets.report(placed, "what follows `whsec_` is not base64", *loc)
    if len(secret) < _LEAST_SECRET_BYTES:
        secrets.report(placed, f"the secret is too short: it has to be at least {_LEAST_SECRET_BYTES} bytes long", *loc)
    return WebhookSettings(url=webhook.url, secret=secret, assurance=webhook.assurance)


def _text(placed: Placed[ReviewChannelDocument], ref: SecretRef | None, secrets: Secrets, *names: str) -> str:
    if ref is None:
        return ""
    value = without_newline(secrets.read(placed, ref, "spec", *names))
    if not value.isascii():
        secrets.report(placed, "the secret holds characters that are not ASCII", "spec", *names)
        return ""
    return value.decode()
