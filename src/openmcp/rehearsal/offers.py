"""Rules held against what servers really list: names, patterns and arguments that are not there.

Called by `openmcp validate --probe`. Warnings, never faults: what a server lacks today it
may have tomorrow, and a rule that denies it in advance is no mistake.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from openmcp.config.documents import Placed
from openmcp.config.resources import PolicyDocument
from openmcp.config.snapshot import Pattern, PolicySpec, Regex, RuleSpec, ServerSelectorSpec, Snapshot
from openmcp.config.wording import or_rather
from openmcp.errors import Fault
from openmcp.language.globs import compile_names
from openmcp.mcp.message import Json
from openmcp.mcp.methods import SubjectKind
from openmcp.model.catalogue import Catalogue
from openmcp.model.server import Server
from openmcp.routing import templates

_FIELDS: Final = {"tools": SubjectKind.TOOL, "prompts": SubjectKind.PROMPT, "resources": SubjectKind.RESOURCE}
_ARGUMENT_OF_PATH: Final = re.compile(r"\$\.([A-Za-z_]\w*)|\$\[['\"]([^'\"]+)['\"]\]")
_ARGUMENT_OF_CEL: Final = re.compile(r"\bargs\.\??([A-Za-z_]\w*)|\bargs\[\??['\"]([^'\"]+)['\"]\]")


@dataclass(slots=True)
class Offered:
    """What one server lists."""

    names: dict[SubjectKind, set[str]] = field(default_factory=lambda: {kind: set[str]() for kind in SubjectKind})
    templates: tuple[str, ...] = ()
    whole: frozenset[SubjectKind] = frozenset()
    """Kinds whose lists were read to the end: only of these an absence means something."""

    arguments: dict[str, frozenset[str] | None] = field(default_factory=dict[str, frozenset[str] | None])
    """Tool or prompt → its arguments; `None` = it takes any."""

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Offered":
        """Return what a reading holds."""
        found = cls(templates=catalogue.templates, whole=catalogue.complete)
        for offer in catalogue.offers:
            kind, name = offer.key
            if kind == "template":
                continue
            found.names[SubjectKind(kind)].add(name)
            if kind != "resource":
                found.arguments[name] = _arguments(msgspec.json.decode(offer.text))
        return found

    def has(self, kind: SubjectKind, pattern: Pattern) -> bool:
        """Whether anything that is listed, or may be, matches."""
        matches = _matcher([pattern])
        if any(map(matches, self.names[kind])):
            return True
        if kind is not SubjectKind.RESOURCE:
            return False
        literal = isinstance(pattern, str) and "*" not in pattern
        # What comes from a template is in no list: a pattern may mean it.
        return any(not literal or templates.fits(one, str(pattern)) for one in self.templates)


def warnings(
    policies: Sequence[Placed[PolicyDocument]], snapshot: Snapshot, listings: Mapping[str, Catalogue | None]
) -> list[Fault]:
    """Return what rules name and no server has that they are attached to; servers without an answer are left out."""
    offered = {name: Offered.of(catalogue) for name, catalogue in listings.items() if catalogue is not None}
    return [
        fault
        for placed, policy in zip(policies, snapshot.policies, strict=True)
        for fault in _of_policy(placed, policy, _attached(policy.servers, snapshot.servers, offered))
    ]


def _attached(selector: ServerSelectorSpec, servers: Iterable[Server], offered: Mapping[str, Offered]) -> list[Offered]:
    found: list[Offered] = []
    for server in servers:
        is_named = selector.names is None or server.name in selector.names
        if is_named and (selector.labels or {}).items() <= server.labels.items():
            if server.name not in offered:
                # One that cannot be asked may have all that the others lack.
                return []
            found.append(offered[server.name])
    return found


def _of_policy(placed: Placed[PolicyDocument], policy: PolicySpec, servers: Sequence[Offered]) -> Iterator[Fault]:
    if not servers:
        return
    for index, rule in enumerate(policy.rules):
        for field_name, kind in _FIELDS.items():
            for place, pattern in enumerate(getattr(rule.match, field_name) or ()):
                if all(kind in server.whole and not server.has(kind, pattern) for server in servers):
                    text = _absent(kind, pattern, servers)
                    yield placed.fault(text, "spec", "rules", index, "match", field_name, place)
        yield from _of_arguments(placed, rule, index, servers)


def _absent(kind: SubjectKind, pattern: Pattern, servers: Sequence[Offered]) -> str:
    if not isinstance(pattern, str):
        return f"no {kind} that the server lists matches this"
    names = sorted({name for server in servers for name in server.names[kind]})
    if "*" in pattern:
        return f"no {kind} that the server lists matches `{pattern}`"
    return f"the server lists no {kind} `{pattern}`{or_rather(pattern, names)}"


def _of_arguments(
    placed: Placed[PolicyDocument], rule: RuleSpec, index: int, servers: Sequence[Offered]
) -> Iterator[Fault]:
    known = _known_arguments(rule, servers)
    if known is None:
        return
    looked_at: list[tuple[tuple[str | int, ...], str]] = [
        (("match", "arguments", place, "path"), name)
        for place, test in enumerate(rule.match.arguments)
        for name in _names(_ARGUMENT_OF_PATH, test.path)
    ]
    for clause in ("when", "unless"):
        for place, source in enumerate(getattr(rule, clause)):
            looked_at += [((clause, place), name) for name in dict.fromkeys(_names(_ARGUMENT_OF_CEL, source))]
    for loc, name in looked_at:
        if name not in known:
            text = f"nothing that the rule matches has an argument `{name}`{or_rather(name, sorted(known))}"
            yield placed.fault(text, "spec", "rules", index, *loc)


def _known_arguments(rule: RuleSpec, servers: Sequence[Offered]) -> frozenset[str] | None:
    """Return the arguments of all that a rule matches; `None` where that cannot be told."""
    known: set[str] = set()
    is_found = False
    for field_name in ("tools", "prompts"):
        kind = _FIELDS[field_name]
        patterns = getattr(rule.match, field_name)
        if patterns is None:
            continue
        matches = _matcher(patterns)
        for server in servers:
            for name in filter(matches, server.names[kind]):
                arguments = server.arguments.get(name)
                if arguments is None:
                    return None
                known |= arguments
                is_found = True
    return frozenset(known) if is_found else None


def _arguments(entry: Json) -> frozenset[str] | None:
    """Return the arguments that a definition declares; `None` where others are welcome, or none are declared."""
    if not isinstance(entry, dict):
        return None
    listed = entry.get("arguments")
    if isinstance(listed, list):
        return frozenset(str(one.get("name")) for one in listed if isinstance(one, dict))
    schema = entry.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(schema, dict) or not isinstance(properties, dict):
        return None
    is_open = schema.get("additionalProperties") not in (None, False) or "patternProperties" in schema
    return None if is_open or {"$ref", "allOf", "anyOf", "oneOf"} & set(schema) else frozenset(properties)


def _matcher(patterns: Sequence[Pattern]) -> Callable[[str], bool]:
    globs = [pattern for pattern in patterns if isinstance(pattern, str)]
    return compile_names(globs, [pattern.text for pattern in patterns if isinstance(pattern, Regex)])


def _names(pattern: re.Pattern[str], source: str) -> Iterator[str]:
    return (found[1] or found[2] for found in pattern.finditer(source))
