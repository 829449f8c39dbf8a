"""One message under the rules that apply to it: what was found, and nothing done about it yet.

Pure and free of the event loop, so that a long message can be looked at on another thread.
"""

from collections.abc import Callable, MutableMapping, Sequence
from typing import Final, NamedTuple

import msgspec

from openmcp.inspection import tails
from openmcp.inspection.hits import Hit, Plan, enough, strictest
from openmcp.inspection.looking import BUDGET
from openmcp.inspection.spreading import spread
from openmcp.inspection.views import Exceeded
from openmcp.mcp.content import Text, texts
from openmcp.mcp.message import Message
from openmcp.model.content import ContentRule

SKIPPED: Final = frozenset({("result", "requestState"), ("params", "requestState")})
"""What only the server itself reads: it leaves the gateway sealed, and comes back to where it came from."""

Concerns = Callable[[Hit], bool]


class Question(NamedTuple):
    """What is to be looked at."""

    message: Message
    rules: Sequence[ContentRule]
    plan: Plan
    concerns: Concerns
    """Whether a rule is about the part of the message where it hit."""

    more: tuple[Text, ...] = ()
    """Texts that go with the message and stand outside of it."""

    said: MutableMapping[str, str] | None = None
    """What a stream said before; `None` where nothing can be continued."""


def raw_of(message: Message, more: Sequence[Text] = ()) -> bytes:
    """Return the message, and what goes with it, as one text of JSON."""
    raw = msgspec.json.encode(message.body)
    return b"\n".join([raw, msgspec.json.encode([text.value for text in more])]) if more else raw


def examine(question: Question, raw: bytes) -> list[Hit]:
    """Return every hit that counts. `raw`: see `raw_of`. Raises: Unavailable."""
    message, rules, plan = question.message, question.rules, question.plan
    try:
        candidates = plan.scanner.sift(raw)
        is_idle = not candidates.plain and not candidates.hidden
        if is_idle and question.said is None:
            return []
        read = [*texts_of(message), *question.more]
        hits = [] if is_idle else plan.hits(read, candidates, rules)
        if question.said is not None:
            hits += tails.across(plan, rules, message, read, question.said)
        hits = enough((hit for hit in hits if question.concerns(hit)), message)
        return hits + spread(hits, read) if message.result is not None else hits
    except Exceeded:
        # What was not looked at may hold anything.
        return [Hit(strictest(rules), Text((), ""), BUDGET, None)]


def texts_of(message: Message) -> list[Text]:
    """Return every text of a message that the other side reads."""
    return [text for text in texts(message) if text.path[:2] not in SKIPPED]
