"""Links between the documents lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.docs import pages

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """What headings can be linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", pages.outside_fences(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages.ALL, ids=pages.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(pages.outside_fences(page)):
        path, _, anchor = target.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} does not exist"
        assert linked.is_relative_to(pages.ROOT), f"{target} leaves the repository"
        assert not anchor or anchor in anchors(linked), f"there is no heading for {target}"


@pytest.mark.parametrize("page", sorted((pages.ROOT / "docs" / "guides").glob("*.md")), ids=pages.name)
def test_readme_names_every_guide(page: Path) -> None:
    assert f"({pages.name(page)})" in (pages.ROOT / "README.md").read_text()
