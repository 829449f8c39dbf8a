"""What hits do to a message: the text that goes out instead, or the reason why nothing may.

Pure: hits in, changes out. Whose fault a message then is, and what its sender is told,
is for `requests` and `responses`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from openmcp.inspection import marks
from openmcp.inspection.hits import STRICTNESS, Hit
from openmcp.inspection.marks import Cut
from openmcp.mcp.content import Path, json_path
from openmcp.mcp.message import Json
from openmcp.model.content import Action, Finding

MAX_FINDINGS: Final = 256
"""Told of one message; what is beyond is counted in numbers only."""

_PROTOCOL: Final = frozenset(
    {
        *("uri", "uriTemplate", "src", "url", "type", "mimeType", "role", "action", "mode", "resultType", "method"),
        *(
            "requestId",
            "progressToken",
            "protocolVersion",
            "taskId",
            "taskIds",
            "elicitationId",
            "nextCursor",
            "cursor",
        ),
        *("requestState", "ref", "level", "status", "id", "jsonrpc"),
    }
)
"""Members whose values others rely on: a part of one cannot be taken out, so that the whole message stays back."""

_SUBJECTS: Final = frozenset({("params", "name"), ("params", "uri"), ("params", "notifications")})
"""What policy decides on."""


class Changes(NamedTuple):
    """What becomes of a message."""

    blocked: Hit | None
    """Why nothing of it may go on; `None` = it may."""

    values: Mapping[Path, Json]
    """What stands where something was taken out."""


def changes(hits: Iterable[Hit]) -> Changes:
    """Return what has to be done; the strictest action wins, for each text."""
    by_text: dict[Path, list[Hit]] = defaultdict(list)
    blocked: Hit | None = None
    for hit in hits:
        if not hit.changes:
            continue
        if effective(hit) is Action.BLOCK:
            blocked = blocked or hit
        else:
            by_text[hit.text.path].append(hit)
    if blocked is not None:
        return Changes(blocked, {})
    return Changes(None, {path: _instead(found) for path, found in by_text.items()})


def effective(hit: Hit) -> Action:
    """Return what the hit does: where nothing can be taken out, the whole message stays back."""
    action = hit.rule.action
    is_cut = action in (Action.REDACT, Action.MASK)
    if is_cut and (hit.text.is_key or _is_relied_on(hit.text.path)):
        return Action.BLOCK
    return Action.REDACT if action is Action.MASK and hit.span is None else action


def findings(hits: Sequence[Hit]) -> tuple[Finding, ...]:
    """Return what may be told of the hits, strictest first: places, never values."""
    secret_keys = {hit.text.path for hit in hits if hit.text.is_key}
    ordered = sorted(hits, key=lambda hit: (hit.rule.is_shadow, STRICTNESS[hit.rule.action]))
    return tuple(_finding(hit, secret_keys) for hit in ordered[:MAX_FINDINGS])


def _finding(hit: Hit, secret_keys: set[Path]) -> Finding:
    # A key that was found must not stand in the path that tells of it, or of what is below it.
    path = tuple("*" if hit.text.path[: at + 1] in secret_keys else step for at, step in enumerate(hit.text.path))
    return Finding(hit.rule, hit.detector, json_path(path), _length(hit), effective(hit))


def _length(hit: Hit) -> int:
    if hit.span is None:
        return len(hit.text.value)
    start, end = hit.span
    return len(hit.text.value.encode("utf-8", "replace")[start:end].decode("utf-8", "replace"))


def _instead(hits: Sequence[Hit]) -> str:
    text = hits[0].text
    cuts = [Cut(hit.span, hit.detector, hit.rule.action is Action.MASK) for hit in hits if hit.span is not None]
    if text.is_number and cuts:
        # Half a number is none; what stands there instead is a text.
        whole = (0, len(text.value))
        cuts = [Cut(whole, cut.detector, cut.is_masked) for cut in cuts]
    hidden = next((hit for hit in hits if hit.span is None), None)
    return marks.redacted(hidden.detector) if hidden is not None else marks.without(text.value, cuts)


def _is_relied_on(path: Path) -> bool:
    # Nothing can stand for a whole message.
    if len(path) < 2 or path[:2] in _SUBJECTS:
        return True
    last = next((step for step in reversed(path) if isinstance(step, str)), "")
    if last not in _PROTOCOL:
        return False
    # Below arguments and the like, names are the tool's own.
    holder = path[1] if len(path) > 1 else ""
    return holder not in ("arguments", "structuredContent", "_meta", "data") or len(path) == 2
