"""What may be written of a message: the `Redactor` that the runtime hands in, and taking out what is named by its path.

Runs on the event loop before anything is queued, so that what must not be kept never
leaves the exchange. Knows no detector: that is the inspection stage's.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from openmcp.audit.record import FindingPart, RedactionPart
from openmcp.mcp.message import Json, JsonObject
from openmcp.model.content import Finding

_MOST: Final = 256
"""Redactions named in one line; of more, the rest is told as one."""


class Redacted(Protocol):
    """One place where something was taken out (`model.content.Redaction`)."""

    @property
    def path(self) -> str: ...

    @property
    def detector(self) -> str: ...

    @property
    def length(self) -> int: ...


class Redactor(Protocol):
    """Takes secrets out of a JSON value (`inspection.redaction.LogRedactor`)."""

    def redact(self, value: Json) -> tuple[Json, Sequence[Redacted]]:
        """Return the value without secrets, the same object if there was none, and what was taken out."""
        ...


class Both:
    """Takes out what either of two takes out."""

    def __init__(self, first: Redactor, second: Redactor) -> None:
        self._first = first
        self._second = second

    def redact(self, value: Json) -> tuple[Json, Sequence[Redacted]]:
        """Return the value without secrets."""
        kept, taken = self._first.redact(value)
        kept, more = self._second.redact(kept)
        return kept, (*taken, *more)


def both(always: Redactor | None, also: Redactor | None) -> Redactor | None:
    """Return what takes out what either of the two does; without the first, nothing may be written."""
    return Both(always, also) if always is not None and also is not None else always


def finding_parts(findings: Sequence[Finding]) -> tuple[FindingPart, ...]:
    """Return what content rules found, as lines have it."""
    return tuple(
        FindingPart(
            policy=finding.rule.policy,
            rule=finding.rule.rule,
            detector=finding.detector,
            action=finding.action.value,
            path=finding.path[:1024],
            length=finding.length,
            is_shadow=finding.rule.is_shadow,
        )
        for finding in findings[:_MOST]
    )


def redaction_parts(taken: Sequence[Redacted]) -> tuple[RedactionPart, ...]:
    """Return what was taken out, as lines have it."""
    parts = [RedactionPart(path=item.path[:1024], detector=item.detector, length=item.length) for item in taken[:_MOST]]
    if len(taken) > _MOST:
        parts.append(RedactionPart(path="$", detector=f"{len(taken) - _MOST} more", length=0))
    return tuple(parts)


def redact_body(body: JsonObject, redactor: Redactor) -> tuple[JsonObject | None, tuple[RedactionPart, ...]]:
    """Return a message without secrets, and what was taken out; `None` for one of which nothing may be written."""
    kept, taken = redactor.redact(body)
    if not taken:
        return body, ()
    # What is no message any more could not be looked at: nothing of it may be written.
    return kept if isinstance(kept, dict) else None, redaction_parts(taken)


def redact_value(path: str, value: Json, redactor: Redactor) -> tuple[Json, tuple[RedactionPart, ...]]:
    """Return one value of a message without secrets; the name of the key at the end of its path counts too."""
    key = path.rpartition(".")[2] if not path.endswith("]") else ""
    kept, taken = redactor.redact({key: value} if key else [value])
    if not taken:
        return value, ()
    # A redactor may take the whole, or the key with it: then nothing is left of the value.
    inner = kept.get(key) if isinstance(kept, dict) else kept[0] if isinstance(kept, list) else None
    prefix = len(f"$.{key}") if key else len("$[0]")
    parts = redaction_parts(taken)
    return inner, tuple(RedactionPart(path + part.path[prefix:], part.detector, part.length) for part in parts)


def without(body: JsonObject, places: Iterable[tuple[str, str]]) -> JsonObject:
    """Return a message whose values at these paths are gone; each place is a JSONPath and what stands there instead.

    A path that leads nowhere changes nothing.
    """
    changed: Json = body
    for path, instead in places:
        changed = _put(changed, steps(path), instead)
    return changed if isinstance(changed, dict) else body


def steps(path: str) -> tuple[str | int, ...]:
    """Return the keys and indices of a JSONPath: `$.a[0]["b c"]` → `("a", 0, "b c")`; empty for what is none."""
    found: list[str | int] = []
    rest = path[1:] if path.startswith("$") else ""
    while rest:
        step, rest = _step(rest)
        if step is None:
            return ()
        found.append(step)
    return tuple(found)


def _step(rest: str) -> tuple[str | int | None, str]:
    if rest.startswith("."):
        end = min((at for at in (rest.find(".", 1), rest.find("[", 1)) if at > 0), default=len(rest))
        return rest[1:end], rest[end:]
    if rest.startswith(('["', "['")):
        end = rest.find(f"{rest[1]}]", 2)
        return (rest[2:end].replace(f"\\{rest[1]}", rest[1]), rest[end + 2 :]) if end > 0 else (None, "")
    index, closing, after = rest[1:].partition("]")
    return (int(index), after) if rest.startswith("[") and closing and index.isdecimal() else (None, "")


def _put(value: Json, path: Sequence[str | int], instead: Json) -> Json:
    if not path:
        return instead
    step, rest = path[0], path[1:]
    if isinstance(value, dict) and isinstance(step, str) and step in value:
        return {**value, step: _put(value[step], rest, instead)}
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return [*value[:step], _put(value[step], rest, instead), *value[step + 1 :]]
    return value
