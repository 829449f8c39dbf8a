"""Content rules on written messages: what they would do to a call, or to its response.

The inspection stage itself looks at the message that an exchange would carry. Its proof of
permission leads nowhere: the server in it has no replica.
"""

from collections.abc import Sequence
from typing import NamedTuple

from openmcp.errors import Dropped, Refused
from openmcp.gateway import own
from openmcp.inspection.inspector import Inspector
from openmcp.inspection.redaction import SightRedactor
from openmcp.mcp import message as messages
from openmcp.mcp import revisions
from openmcp.mcp.message import Json, JsonObject
from openmcp.mcp.methods import SubjectKind
from openmcp.model.arrival import Arrival
from openmcp.model.content import Action, ContentRule, Finding
from openmcp.model.facts import DecisionInput
from openmcp.model.origin import Origin
from openmcp.policy.asking import arguments

_ID = 1
_CHANGING = frozenset({Action.BLOCK, Action.REDACT, Action.MASK})


class Touched(NamedTuple):
    """What a content rule did, at the first place where it did it."""

    rule: ContentRule
    detector: str
    path: str
    """JSONPath in the parameters or the result: `$.content[0].text`."""

    is_blocked: bool


async def in_request(given: DecisionInput, rules: Sequence[ContentRule]) -> tuple[Json, Touched | None]:
    """Return the arguments as they would be sent, and what was done to them; `None` = nothing."""
    arrival, findings = _arrival(given), _Findings()
    try:
        inspected = await Inspector().request(arrival, rules, found=findings.take)
    except Refused:
        return given.args, findings.touched(is_blocked=True)
    if inspected is arrival or inspected.message is None:
        return given.args, None
    return arguments(given.mcp.method, inspected.message.params), findings.touched(is_blocked=False)


async def in_response(given: DecisionInput, rules: Sequence[ContentRule], result: JsonObject) -> Touched | None:
    """Return what would be done to the result of a call; `None` = nothing."""
    message, findings = messages.result(_ID, result), _Findings()
    permitted = own(given.server.server(), _arrival(given))
    inspector = Inspector(lambda _message, _permitted: rules)
    try:
        inspected = await inspector.response(message, permitted, found=findings.take)
    except (Refused, Dropped):
        return findings.touched(is_blocked=True)
    return None if inspected is message else findings.touched(is_blocked=inspected.kind is not message.kind)


class _Findings:
    """What the inspector tells."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []

    def take(self, findings: Sequence[Finding], _: SightRedactor) -> None:
        self._findings += findings

    def touched(self, *, is_blocked: bool) -> Touched | None:
        """Return the first finding that did something: they come strictest first."""
        acting = (one for one in self._findings if one.action in _CHANGING and not one.rule.is_shadow)
        first = next(acting, None)
        return Touched(first.rule, first.detector, _below(first.path), is_blocked) if first is not None else None


def _below(path: str) -> str:
    """Return a path in a message as one in what a test writes: the result, or the parameters."""
    for carrier in ("$.result", "$.params", "$.error"):
        if path.startswith(carrier):
            return f"${path.removeprefix(carrier)}"
    return path


def _arrival(given: DecisionInput) -> Arrival:
    """Return what an agent would send to ask this."""
    asked, subject = given.mcp, given.mcp.subject
    args: Json = given.args
    params: JsonObject = args if isinstance(args, dict) else {}
    if subject is not None:
        field = "uri" if subject.kind is SubjectKind.RESOURCE else "name"
        named: JsonObject = {field: subject.name}
        params = named if subject.kind is SubjectKind.RESOURCE else {**named, "arguments": args}
    return Arrival(
        http_method="POST",
        revision=revisions.of(asked.version),
        message=messages.request(_ID, asked.method, params),
        method=asked.method,
        subjects=(subject,) if subject is not None else (),
        origin=Origin(_ID, asked.method, subject.name if subject is not None else ""),
    )
