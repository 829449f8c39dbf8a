"""What was said last in each field of a stream, so that what is spelt over several events is seen.

One message is one event. A notification adds to what its field said before: the bounded
end of that, and the new piece, are looked at together. Only what the agent was shown
counts as said.
"""

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Final

import msgspec

from openmcp.inspection.hits import Hit, Plan
from openmcp.mcp.content import Text, json_path
from openmcp.mcp.message import Message
from openmcp.model.content import ContentRule

TAIL_CHARS: Final = 256
"""Of what was said before in a field; longer patterns are not seen across events."""

_FIELDS: Final = 64
"""Fields that a stream may have; all others are one."""

_OTHERS: Final = "*"


def across(
    plan: Plan, rules: Sequence[ContentRule], message: Message, texts: Sequence[Text], said: MutableMapping[str, str]
) -> list[Hit]:
    """Return what begins in an earlier event and ends in this one. Raises: Exceeded; Unavailable."""
    pieces = list(_continued(message, texts, said))
    if not pieces:
        return []
    joined = [text._replace(value=before + text.value) for text, before in pieces]
    candidates = plan.scanner.sift(msgspec.json.encode([text.value for text in joined]))
    if not candidates.plain and not candidates.hidden:
        return []
    begins = {text.path: len(before.encode("utf-8", "replace")) for text, before in pieces}
    old = [text._replace(value=before) for text, before in pieces]
    known = {(id(hit.rule), hit.text.path, hit.detector) for hit in plan.hits(old, candidates, rules)}
    return [
        hit._replace(span=None)
        for hit in plan.hits(joined, candidates, rules)
        if (
            hit.span[0] < begins[hit.text.path] < hit.span[1]
            if hit.span is not None
            else (id(hit.rule), hit.text.path, hit.detector) not in known
        )
    ]


def remember(message: Message, texts: Sequence[Text], said: MutableMapping[str, str]) -> None:
    """Take note of what the agent is shown."""
    for text in texts:
        if not text.is_key:
            field = _field(message, text, said)
            said[field] = (said.get(field, "") + text.value)[-TAIL_CHARS:]


def _continued(message: Message, texts: Sequence[Text], said: MutableMapping[str, str]) -> Iterator[tuple[Text, str]]:
    """Yield each text that continues another one, with what was said before."""
    for text in texts:
        before = said.get(_field(message, text, said), "")
        if before and not text.is_key:
            yield text, before


def _field(message: Message, text: Text, said: MutableMapping[str, str]) -> str:
    """Return the name of the field that a text continues."""
    field = f"{message.method} {json_path(text.path)}"
    return field if field in said or len(said) < _FIELDS else _OTHERS
