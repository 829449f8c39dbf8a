"""The header alone names the revision."""

import pytest

from openmcp.errors import UnsupportedVersion
from openmcp.mcp import revisions
from openmcp.mcp.revisions import Era


def test_versions_are_listed_newest_first() -> None:
    assert list(revisions.SUPPORTED) == sorted(revisions.SUPPORTED, reverse=True)
    assert (revisions.LATEST.version, revisions.LATEST_LEGACY.version) == ("2026-07-28", "2025-11-25")


def test_absent_header_means_the_revision_that_had_none() -> None:
    assert revisions.of(None).version == "2025-03-26"


@pytest.mark.parametrize("version", revisions.SUPPORTED)
def test_known_version_is_found(version: str) -> None:
    revision = revisions.of(version)
    assert revision.version == version
    assert revision.era is (Era.MODERN if version >= "2026-07-28" else Era.LEGACY)
    assert revision.has_sessions is revision.has_get is not revision.is_modern


@pytest.mark.parametrize("version", ["", "2024-11-05", "2026-07-28 ", "DRAFT-2026-v1", "2025-06-18, 2025-06-18"])
def test_other_versions_are_refused_with_the_list_of_ours(version: str) -> None:
    with pytest.raises(UnsupportedVersion) as refused:
        revisions.of(version)
    assert refused.value.data == {"supported": ["2026-07-28"], "requested": version}
