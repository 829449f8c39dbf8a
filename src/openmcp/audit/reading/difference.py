"""What differs between two flows: calls in their order, and of calls that are the same, what came of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher, unified_diff
from typing import Final, Literal

import msgspec

from openmcp.audit.reading.calls import Call
from openmcp.audit.reading.timeline import pretty
from openmcp.mcp.message import Json
from openmcp.telemetry.harmless import text

_VOLATILE: Final = frozenset({"id", "progressToken", "requestState", "traceparent", "tracestate", "ttlMs"})
"""Members that are different in every run."""

_LINES: Final = 200
_CONTEXT: Final = 2


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the flows are not the same."""

    what: Literal["only in first", "only in second", "changed"]
    call: str
    """Method and name."""

    first: str = ""
    """The exchange in the first flow."""

    second: str = ""
    changes: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """`decision` and `outcome`, before and after."""

    lines: tuple[str, ...] = ()
    """A unified difference of what was asked and answered."""


def differences(first: Iterable[Call], second: Iterable[Call]) -> Iterator[Difference]:
    """Yield what differs; nothing if the flows are the same."""
    ours, theirs = list(first), list(second)
    matcher = SequenceMatcher(None, [_key(call) for call in ours], [_key(call) for call in theirs], autojunk=False)
    for op, a, b, c, d in matcher.get_opcodes():
        if op == "equal":
            for one, other in zip(ours[a:b], theirs[c:d], strict=True):
                yield from _between(one, other)
            continue
        for call in ours[a:b]:
            yield Difference("only in first", _name(call), first=call.exchange)
        for call in theirs[c:d]:
            yield Difference("only in second", _name(call), second=call.exchange)


def _key(call: Call) -> tuple[str, str, str, str]:
    return (call.server, call.http_method, call.method, call.name)


def _name(call: Call) -> str:
    return text(" ".join(part for part in (call.method or call.http_method, call.name) if part))


def _between(one: Call, other: Call) -> Iterator[Difference]:
    changes = {
        name: (before, after)
        for name, before, after in (
            ("decision", one.decision, other.decision),
            ("outcome", _outcome(one), _outcome(other)),
        )
        if before != after
    }
    lines = [*_lines("asked", one.asked, other.asked), *_answers(one, other)]
    if changes or lines:
        shown = tuple(lines[:_LINES])
        yield Difference("changed", _name(one), one.exchange, other.exchange, changes, shown)


def _outcome(call: Call) -> str:
    outcome = call.outcome
    if outcome is None:
        return "no end"
    parts = [outcome.kind, f"HTTP {outcome.http}"]
    parts += [f"JSON-RPC {outcome.jsonrpc}"] if outcome.jsonrpc is not None else []
    parts += ["isError"] if outcome.is_error else []
    return text(", ".join(parts))


def _answers(one: Call, other: Call) -> list[str]:
    found: list[str] = []
    for number in range(max(len(one.said), len(other.said))):
        before = one.said[number].body if number < len(one.said) else b""
        after = other.said[number].body if number < len(other.said) else b""
        found += _lines(f"answer {number + 1}" if number else "answer", before, after)
    return found


def _lines(what: str, before: bytes, after: bytes) -> Sequence[str]:
    return list(
        unified_diff(_shown(before), _shown(after), f"first: {what}", f"second: {what}", lineterm="", n=_CONTEXT)
    )


def _shown(body: bytes) -> list[str]:
    if not body:
        return []
    return pretty(msgspec.json.encode(_steady(_decode(body)), order="deterministic"))


_decode: Final[Callable[[bytes], Json]] = msgspec.json.decode


def _steady(value: Json) -> Json:
    """Leave out what is different in every run."""
    match value:
        case dict():
            return {key: _steady(item) for key, item in value.items() if key not in _VOLATILE}
        case list():
            return [_steady(item) for item in value]
        case _:
            return value
