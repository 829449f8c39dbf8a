"""The door that built-ins and packages come in by."""

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from openmcp import plugins

BUILT_INS = [(kind, name) for kind, names in plugins.BUILT_IN.items() for name in names]


@pytest.mark.parametrize(("kind", "name"), BUILT_INS)
def test_every_built_in_is_where_the_table_says(kind: str, name: str) -> None:
    place, loaded = plugins.BUILT_IN[kind][name], plugins.load(kind, name)
    # A detector is a value that knows its name; all else is made of a class.
    if kind == "detector":
        assert getattr(loaded, "name", "") == name
    else:
        assert getattr(loaded, "__qualname__", "") == place.partition(":")[2]


def test_the_six_kinds_are_there() -> None:
    assert set(plugins.BUILT_IN) == {"identity_source", "config_source", "store", "channel", "detector", "audit_sink"}


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(plugins.UnknownPlugin, match="memory, sqlite"):
        plugins.load("store", "oracle")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(plugins.UnknownPlugin, match="audit_sink"):
        plugins.names("filter")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that brings a store of its own, and wants to replace one of ours."""
    (tmp_path / "oracle_store.py").write_text("class OracleStore: ...\n")
    info = tmp_path / "oracle_store-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: oracle-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[openmcp.store]\noracle = oracle_store:OracleStore\nmemory = oracle_store:OracleStore\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_package_brings_an_extension_by_its_entry_point(installed: Path) -> None:
    assert plugins.names("store") == ["memory", "oracle", "sqlite"]
    assert getattr(plugins.load("store", "oracle"), "__qualname__", "") == "OracleStore"


def test_a_package_cannot_replace_a_built_in(installed: Path) -> None:
    assert getattr(plugins.load("store", "memory"), "__module__", "") == "openmcp.state.memory"


def test_two_packages_with_one_name_are_refused(installed: Path) -> None:
    info = installed / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[openmcp.store]\noracle = somewhere:Else\n")
    assert EntryPoint("oracle", "somewhere:Else", "openmcp.store") in entry_points(group="openmcp.store")
    with pytest.raises(plugins.UnknownPlugin, match="somewhere:Else"):
        plugins.load("store", "oracle")
