"""Tables that repeat what the code says agree with it."""

import re
from collections.abc import Iterator

from openmcp.config.resources.gateway import Limits
from openmcp.errors import OpenMCPError
from tests.docs import pages

GUIDE = (pages.ROOT / "docs" / "guides" / "limits-and-errors.md").read_text()
INWARD = {"refused", "dropped", "misconfigured", "store-conflict", "vote-refused"}
"""Kinds that no agent ever sees."""

LATER = {"approval-pending", "approval-refused", "withheld"}


def family(root: type[OpenMCPError]) -> Iterator[type[OpenMCPError]]:
    yield root
    for each in root.__subclasses__():
        yield from family(each)


def test_kinds_of_refusals_are_all_there_and_right() -> None:
    written = {
        kind: (int(status), int(code))
        for kind, status, code in re.findall(r"^\| `([\w-]+)` \| (\d+) \| (-\d+) ", GUIDE, re.M)
    }
    house = {each for each in family(OpenMCPError) if each.__module__.startswith("openmcp.")}
    known = {each.kind: (each.status, each.code) for each in house if each.kind not in INWARD | LATER}
    assert written == known


def test_limits_have_the_defaults_that_the_guide_names() -> None:
    written = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` ", GUIDE, re.M))
    known = {field.alias or name: str(field.default) for name, field in Limits.model_fields.items()}
    assert written == known


def test_layers_of_the_architecture_are_those_that_are_checked() -> None:
    contract = (pages.ROOT / "pyproject.toml").read_text().split("layers = [", 1)[1].split("]", 1)[0]
    checked = re.findall(r"\w+", contract)
    shown = next(block.text for block in pages.blocks(pages.ROOT / "ARCHITECTURE.md") if block.text.startswith("cli\n"))
    assert re.findall(r"\w+", shown) == checked
