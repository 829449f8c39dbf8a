"""Faults of policies that need more than one field: references, conditions in CEL, what no part of this version can do.

Called by `config.check`; each fault is placed at the very condition or name.
"""

import re
from collections.abc import Iterator, Sequence
from typing import cast

from openmcp.config import later
from openmcp.config.documents import Placed
from openmcp.config.inventory import Inventory
from openmcp.config.resources import PolicyDocument
from openmcp.config.resources.policy import Rule
from openmcp.errors import Fault
from openmcp.language.expressions import compile_expression

_READ_HEADER = re.compile(r"""\brequest\.headers(?:\.\??|\[\??\s*["'])([A-Za-z0-9_-]+)""")


def rules(inventory: Inventory) -> Iterator[Fault]:
    """Yield what is wrong with rules by themselves."""
    headers = {name.lower() for name in inventory.gateway.spec.policy.headers}
    for placed in inventory.policies:
        seen: set[str] = set()
        for index, rule in enumerate(placed.document.spec.rules):
            if rule.id in seen:
                yield placed.fault(f"there are two rules `{rule.id}` in this policy", "spec", "rules", index, "id")
            seen.add(rule.id)
            yield from _conditions(placed, rule, index, headers=headers)


def not_yet(inventory: Inventory) -> Iterator[Fault]:
    """Yield what a rehearsal can do with policies and a running gateway cannot."""
    for resource in (*inventory.groups, *inventory.flows, *inventory.channels):
        kind = type(resource.document).__name__.removesuffix("Document")
        yield resource.fault(f"`{kind}` is not available in this version: {later.APPROVAL}", "kind")
    for placed in inventory.policies:
        for index, rule in enumerate(placed.document.spec.rules):
            if rule.effect == "require-approval":
                text = f"`require-approval` is not available in this version: {later.APPROVAL}"
                yield placed.fault(f"spec.rules[{index}].effect: {text}", "spec", "rules", index, "effect")


def headers(inventory: Inventory) -> Iterator[Fault]:
    """Yield headers that rules shall read and that carry credentials here."""
    taken = {
        name.lower(): placed.name
        for placed in inventory.sources
        for name in _headers_of(placed.document.spec.model_dump(by_alias=True))
    }
    for placed in inventory.gateways:
        for index, name in enumerate(placed.document.spec.policy.headers):
            if name.lower() in taken:
                text = f"`{name}` carries the credentials of source `{taken[name.lower()]}`: rules never see it"
                yield placed.fault(text, "spec", "policy", "headers", index)


def _headers_of(settings: object) -> Iterator[str]:
    """Yield the names of headers in an identity source's settings, however deep."""
    if isinstance(settings, dict):
        for key, value in cast("dict[str, object]", settings).items():
            if key in ("header", "headers"):
                yield from _names(value)
            else:
                yield from _headers_of(value)
    elif isinstance(settings, list | tuple):
        for value in cast("Sequence[object]", settings):
            yield from _headers_of(value)


def _names(value: object) -> Iterator[str]:
    listed = cast("Sequence[object]", value) if isinstance(value, list | tuple) else (value,)
    yield from (name for name in listed if isinstance(name, str))


def _conditions(placed: Placed[PolicyDocument], rule: Rule, index: int, *, headers: set[str]) -> Iterator[Fault]:
    for field, sources in (("when", rule.when), ("unless", rule.unless)):
        for term, source in enumerate(sources or ()):
            loc = ("spec", "rules", index, field, term)
            at = f"spec.rules[{index}].{field}[{term}]"
            try:
                compile_expression(source)
            except ValueError as fault:
                yield placed.fault(f"{at}: {fault}", *loc)
            for name in _READ_HEADER.findall(source):
                if name.lower() not in headers:
                    text = f"the header `{name}` is never there: name it in `policy.headers` of the GatewayConfig"
                    yield placed.fault(f"{at}: {text}", *loc)
                elif name != name.lower():
                    yield placed.fault(f"{at}: names of headers are in lower case here: `{name.lower()}`", *loc)
