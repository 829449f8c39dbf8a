"""The reference of the audit log is what the code writes."""

from pathlib import Path

from openmcp.audit.reference import page


def test_the_reference_page_is_current(root: Path) -> None:
    assert (root / "docs" / "reference" / "audit-log.md").read_text(encoding="utf-8") == page()
